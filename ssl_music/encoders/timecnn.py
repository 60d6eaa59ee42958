"""CNNs whose kernels reach over time alone: k2c1 and k1c2 of the comparison by Choi et al. (ICASSP 2017)."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from ssl_music.encoders.base import Encoder
from ssl_music.encoders.layers import ConvBlock, channels_last, norm_2d, smallest_image
from ssl_music.encoders.spectrogram import log_mel
from ssl_music.errors import UserError

#: the two networks of the paper: TimeCNN(**FORMS["k1c2"])
FORMS: dict[str, dict[str, Any]] = {
    "k2c1": {},
    "k1c2": {"across_bands": False, "widths": [47, 47, 95, 95], "pools": [4, 5, 8, 8], "dense": [95, 95]},
}


class TimeCNN(Encoder):
    """Blocks of convolution over 4 frames – norm – activation – max-pooling over time, then dense layers.

    "Convolutional Recurrent Neural Networks for Music Classification" (Choi et al. 2017, arXiv 1609.04243) compares
    them at several sizes; these are the ones of about a million parameters, as in Wells 2018, for 29.12 s at 12 kHz,
    96 bands × 1,366 frames. `across_bands=True`, the default, is k2c1: the first kernel spans all bands, the
    convolutions are "valid". False is k1c2: each band goes the same way through kernels of one band, padded, and only
    the dense layers see all bands; its arguments are `FORMS["k1c2"]`. With 50 tags k2c1 has 1,001,580 parameters and
    k1c2 944,253. (k2c2, with 3 × 3 kernels, is a form of `FCN`.)

    Five times 4 does not fit the 1,366 frames of k2c1: the fifth convolution leaves one step, so nothing is pooled
    after it. **The embedding is the activation of the last dense layer**, 304 or 95. What follows, dropout .5 and a
    linear layer, is `Tagger(encoder, tags, dropout=0.5)`; `dropout` is that before each dense layer. In a longer
    clip the steps that remain are averaged before the first dense layer.

    `kernel_frames` is the length of every kernel, `pools` the frames of each pooling. `mel` names further arguments
    of `LogMel`.

    Shape: wave (B, 1, T) → (B, dense[-1]).

    >>> import torch
    >>> encoder = TimeCNN(widths=[4, 8], pools=[4, 4], dense=[16], input_samples=16000)
    >>> encoder.minimum_samples, encoder(torch.zeros(2, 1, 16000)).shape
    (7680, torch.Size([2, 16]))
    """

    def __init__(
        self,
        *,
        across_bands: bool = True,
        widths: Sequence[int] = (152, 152, 152, 304, 304),
        pools: Sequence[int] = (4, 4, 4, 4, 1),
        kernel_frames: int = 4,
        dense: Sequence[int] = (304, 304),
        activation: str = "elu",
        dropout: float = 0.0,
        bands: int = 96,
        sample_rate: int = 12000,
        input_samples: int = 349440,
        n_fft: int = 512,
        hop: int = 256,
        norm: str = "batch",
        mel: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.across_bands = across_bands
        self.widths = list(widths)
        self.pools = list(pools)
        self.kernel_frames = kernel_frames
        self.dense = list(dense)
        self.activation = activation
        self.dropout = dropout
        self.bands = bands
        self.sample_rate = sample_rate
        self.input_samples = input_samples
        self.n_fft = n_fft
        self.hop = hop
        self.norm = norm
        self.mel = mel
        if not self.widths or len(self.widths) != len(self.pools) or not self.dense:
            raise UserError(
                "TimeCNN wants as many widths as pools, one or more, and one dense layer or more; "
                f"came widths {self.widths}, pools {self.pools}, dense {self.dense}"
            )
        if min([*self.widths, *self.pools, *self.dense, kernel_frames]) < 1:
            raise UserError("TimeCNN wants widths, pools, dense layers and kernel_frames of at least 1")
        self.log_mel = log_mel(sample_rate, mel, n_fft=n_fft, hop=hop, bands=bands)
        self.input_norm = norm_2d(norm, 1)
        channels = [1, *self.widths]
        self.blocks = nn.ModuleList(
            ConvBlock(
                channels[i],
                channels[i + 1],
                pool=(1, self.pools[i]),
                norm=norm,
                kernel=(bands if across_bands and i == 0 else 1, kernel_frames),
                padding="valid" if across_bands else "same",
                activation=activation,
            )
            for i in range(len(self.widths))
        )
        _, frames = smallest_image(self.blocks)
        self.minimum_samples = max((frames - 1) * hop, self.log_mel.minimum_samples)
        if input_samples < self.minimum_samples:
            raise UserError(
                f"these pools and hop {hop} want {self.minimum_samples} input_samples or more; came {input_samples}"
            )
        sizes = [channels[-1] * (1 if across_bands else bands), *self.dense]
        self.dense_layers = nn.ModuleList(nn.Linear(sizes[i], sizes[i + 1]) for i in range(len(self.dense)))
        self.embedding_dim = sizes[-1]

    def forward(self, wave: Tensor) -> Tensor:
        image = channels_last(self.input_norm(self.log_mel(self.check(wave))))  # (B, 1, M, F)
        for block in self.blocks:
            image = block(image)
        embedding = image.mean(3).flatten(1)  # (B, widths[-1] · bands left)
        for layer in self.dense_layers:
            embedding = layer(F.dropout(embedding, self.dropout, self.training))
            embedding = F.elu(embedding) if self.activation == "elu" else F.relu(embedding)
        return embedding  # (B, D)
