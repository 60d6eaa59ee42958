"""CRNN: convolutions hear, a recurrent network sums up over time (Choi et al., ICASSP 2017, arXiv 1609.04243)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_music.encoders.base import Encoder
from ssl_music.encoders.layers import ConvBlock, channels_last, norm_2d, smallest_image
from ssl_music.encoders.spectrogram import log_mel
from ssl_music.errors import UserError


class CRNN(Encoder):
    """Four blocks of convolution – norm – ReLU – max-pooling on a log-mel image, then a GRU over the steps left.

    The defaults are the form of the 2020 comparison (Won et al., arXiv 2006.00751) of "Convolutional Recurrent Neural
    Networks for Music Classification": 464,000 samples (29 s) at 16 kHz, 96 bands, blocks of 64, 128, 128, 128
    channels that leave one band and 18 steps, a GRU of two layers of 32. The authors' own code has ELU, dropout .1
    after each block and 12 kHz: `CRNN(activation="elu", dropout=0.1, sample_rate=12000, input_samples=349440)`; there
    the spectrogram is also padded by 37 frames at either end and normalised frame by frame, which we do not follow.

    **The embedding is the state of the last GRU layer after the last step**, 32 numbers. What follows in the 2020
    code, dropout .5 and a linear layer to 50 tags, is `Tagger(encoder, tags, dropout=0.5)`, with which the count is
    the paper's network's 394,100; the encoder's own is 392,450.

    In a longer clip the GRU goes on to its end. Where the pools leave several bands, their maximum is taken.
    `dropout` acts on the output of every block, training only. `mel` names further arguments of `LogMel`.

    Shape: wave (B, 1, T) → (B, gru_width), T of at least one step, 24,320 samples for the default.

    >>> encoder = CRNN(widths=[4, 8], pools=[[8, 8], [12, 16]], gru_width=6, input_samples=48000)
    >>> encoder.minimum_samples, encoder(torch.zeros(2, 1, 48000)).shape
    (32512, torch.Size([2, 6]))
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = (64, 128, 128, 128),
        pools: Sequence[Sequence[int]] = ((2, 2), (3, 3), (4, 4), (4, 4)),
        gru_width: int = 32,
        gru_layers: int = 2,
        activation: str = "relu",
        dropout: float = 0.0,
        bands: int = 96,
        sample_rate: int = 16000,
        input_samples: int = 464000,
        n_fft: int = 512,
        hop: int = 256,
        norm: str = "batch",
        mel: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.widths = list(widths)
        self.pools = [list(pool) for pool in pools]
        self.gru_width = gru_width
        self.gru_layers = gru_layers
        self.activation = activation
        self.dropout = dropout
        self.bands = bands
        self.sample_rate = sample_rate
        self.input_samples = input_samples
        self.n_fft = n_fft
        self.hop = hop
        self.norm = norm
        self.mel = mel
        if not self.widths or len(self.widths) != len(self.pools) or any(len(pool) != 2 for pool in self.pools):
            raise UserError(
                "CRNN wants as many widths as pools, one or more, each pool a pair, [bands, frames]; "
                f"came widths {self.widths}, pools {self.pools}"
            )
        if min([*self.widths, *(side for pool in self.pools for side in pool), gru_width, gru_layers]) < 1:
            raise UserError("CRNN wants widths, pools, gru_width and gru_layers of at least 1")
        self.log_mel = log_mel(sample_rate, mel, n_fft=n_fft, hop=hop, bands=bands)
        self.input_norm = norm_2d(norm, 1)
        channels = [1, *self.widths]
        self.blocks = nn.ModuleList(
            ConvBlock(
                channels[i],
                channels[i + 1],
                pool=(self.pools[i][0], self.pools[i][1]),
                norm=norm,
                activation=activation,
            )
            for i in range(len(self.widths))
        )
        height, frames = smallest_image(self.blocks)
        self.minimum_samples = max((frames - 1) * hop, self.log_mel.minimum_samples)
        if bands < height:
            raise UserError(
                f"these pools want {height} bands or more; came {bands}: give smaller pools or more bands"
            )
        if input_samples < self.minimum_samples:
            raise UserError(
                f"these pools and hop {hop} want {self.minimum_samples} input_samples or more; came {input_samples}"
            )
        self.gru = nn.GRU(channels[-1], gru_width, gru_layers, batch_first=True)
        self.embedding_dim = gru_width

    def forward(self, wave: Tensor) -> Tensor:
        image = channels_last(self.input_norm(self.log_mel(self.check(wave))))  # (B, 1, M, F)
        for block in self.blocks:
            image = F.dropout(block(image), self.dropout, self.training)
        steps = image.amax(2).mT  # (B, steps, widths[-1])
        # True in torch.export and in the ONNX exporter, whose own way with nn.GRU is one graph for each length
        exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)()
        states = scanned(self.gru, steps) if exporting else self.gru(steps)[0]  # (B, steps, gru_width)
        return states[:, -1]


def scanned(gru: nn.GRU, steps: Tensor) -> Tensor:
    """What `gru` makes of `steps`, step by step in a loop that an exported graph holds as a loop.

    r, z, n are the reset gate, the update gate and the new state of torch's documentation of `GRU`:
    h' = (1 - z) n + z h. Shape: (B, steps, C) → (B, steps, hidden).
    """
    from torch._higher_order_ops.scan import scan  # a prototype, so needed by nothing but an export

    for layer in range(gru.num_layers):
        into, back, into_bias, back_bias = (
            getattr(gru, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )

        def step(state: Tensor, seen: Tensor, back: Tensor = back, bias: Tensor = back_bias) -> tuple[Tensor, Tensor]:
            seen_r, seen_z, seen_n = seen.chunk(3, dim=1)
            kept_r, kept_z, kept_n = F.linear(state, back, bias).chunk(3, dim=1)
            reset, update = (seen_r + kept_r).sigmoid(), (seen_z + kept_z).sigmoid()
            new = (seen_n + reset * kept_n).tanh()
            state = new + update * (state - new)
            return state, state.clone()

        gates = F.linear(steps, into, into_bias).transpose(0, 1)  # (steps, B, 3 · hidden)
        _, states = scan(step, gates.new_zeros(gates.shape[1], gru.hidden_size), gates)
        steps = states.transpose(0, 1)
    return steps
