"""The short-chunk CNN, VGG-ish and residual: convolutions on a log-mel image (Won et al. 2020, arXiv 2006.00751)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_music.encoders.base import Encoder
from ssl_music.encoders.layers import ConvBlock, ResidualBlock, channels_last, norm_1d, norm_2d, widths
from ssl_music.encoders.spectrogram import log_mel
from ssl_music.errors import UserError


class ShortChunk(Encoder):
    """3 × 3 convolutions that halve a log-mel image `depth` times, the largest value over time, one dense layer.

    `residual=False` is the paper's "Short-chunk CNN", VGG-ish; `residual=True` its "Short-chunk CNN + Res", the best
    of that comparison. The defaults are the published size: 59,049 samples (3.69 s) at 16 kHz, 128 bands.

    **The embedding is the 512-d activation of the dense layer, after its norm and ReLU**; what follows in the paper,
    dropout .5 and a linear layer to 50 tags, is `Tagger(encoder, tags, dropout=0.5)`. With it the counts are the
    paper's networks' 3,687,348 and, residual, 12,104,244: the encoder's own are 3,661,698 and 12,078,594.

    Any T works that leaves one frame after the halvings, (2^depth - 1) · hop samples; the maximum is taken over what
    remains of time (and of frequency, where bands > 2^depth). `dropout` acts on the output of every block, training
    only. `mel` names further arguments of the front end, `LogMel`.

    Shape: wave (B, 1, T) → (B, 4 · width).

    >>> encoder = ShortChunk(width=4)
    >>> encoder(torch.zeros(2, 1, encoder.input_samples)).shape
    torch.Size([2, 16])
    """

    later_arguments = frozenset({"mel"})
    folds = (("dense", "dense_norm"),)

    def __init__(
        self,
        *,
        residual: bool = False,
        width: int = 128,
        depth: int = 7,
        bands: int = 128,
        sample_rate: int = 16000,
        input_samples: int = 59049,
        n_fft: int = 512,
        hop: int = 256,
        dropout: float = 0.0,
        norm: str = "batch",
        mel: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if bands < 2**depth:
            raise UserError(
                f"depth {depth} halves the bands {depth} times and wants {2**depth} of them; came {bands}"
            )
        self.residual = residual
        self.width = width
        self.depth = depth
        self.bands = bands
        self.sample_rate = sample_rate
        self.input_samples = input_samples
        self.n_fft = n_fft
        self.hop = hop
        self.dropout = dropout
        self.norm = norm
        self.mel = mel
        self.log_mel = log_mel(sample_rate, mel, n_fft=n_fft, hop=hop, bands=bands)
        self.minimum_samples = max((2**depth - 1) * hop, self.log_mel.minimum_samples)
        if input_samples < self.minimum_samples:
            raise UserError(
                f"ShortChunk of depth {depth} and hop {hop} wants input_samples of at least {self.minimum_samples}; "
                f"came {input_samples}"
            )
        channels = [1, *widths(width, depth)]
        self.embedding_dim = channels[-1]
        self.input_norm = norm_2d(norm, 1)
        self.blocks = nn.ModuleList(
            ResidualBlock(channels[i], channels[i + 1], stride=(2, 2), norm=norm)
            if residual
            else ConvBlock(channels[i], channels[i + 1], pool=(2, 2), norm=norm)
            for i in range(depth)
        )
        self.dense = nn.Linear(self.embedding_dim, self.embedding_dim)
        self.dense_norm = norm_1d(norm, self.embedding_dim)

    def forward(self, wave: Tensor) -> Tensor:
        image = channels_last(self.input_norm(self.log_mel(self.check(wave))))  # (B, 1, M, F)
        for block in self.blocks:
            image = F.dropout(block(image), self.dropout, self.training)
        peak = image.amax((2, 3))  # (B, D)
        return torch.relu(self.dense_norm(self.dense(peak)))
