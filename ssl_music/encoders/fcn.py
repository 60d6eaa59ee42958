"""The 2-D CNN on a log-mel image that so many papers begin from: Choi's FCN and k2c2, and three teaching networks."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_music.encoders.base import Encoder
from ssl_music.encoders.layers import ConvBlock, channels_last, norm_1d, norm_2d, smallest_image
from ssl_music.encoders.spectrogram import log_mel
from ssl_music.errors import UserError

#: the networks of the literature that are this one with other arguments: FCN(**FORMS["k2c2"])
FORMS: dict[str, dict[str, Any]] = {
    "choi2016": {},
    "k2c2": {
        "widths": [67, 135, 135, 203, 271],
        "activation": "elu",
        "sample_rate": 12000,
        "input_samples": 349440,
    },
    "homework_base": {
        "widths": [64, 128, 128, 64],
        "pools": [[4, 4], [3, 3], [3, 3], [2, 2]],
        "kernels": [3, 3, 3, 1],
        "pool_strides": [[4, 4], [3, 3], [3, 3], [5, 5]],
        "input_samples": 48000,
    },
    "homework_improved": {
        "pools": [[2, 2], [2, 2], [2, 2], [3, 4], [4, 3]],
        "input_samples": 48000,
    },
    "tutorial": {
        "widths": [16, 16, 32, 32, 64],
        "pools": [[2, 3], [3, 4], [2, 5], [3, 3], [3, 4]],
        "dense": 64,
        "dropout": 0.1,
        "bands": 128,
        "sample_rate": 22050,
        "input_samples": 639450,
        "n_fft": 1024,
        "hop": 512,
    },
}


class FCN(Encoder):
    """Blocks of convolution – norm – activation – max-pooling, until one cell of the image is left; mean of the rest.

    The defaults are the "fully convolutional network" FCN-5 of Choi et al. 2016 in the form of the 2020 comparison
    (Won et al., arXiv 2006.00751): 464,000 samples (29 s) at 16 kHz, 96 bands. `FORMS` holds the arguments of the
    other networks of this shape; counts are with a linear head of 50 tags.

    | form | from | embedding | parameters |
    |---|---|---|---|
    | choi2016 | Choi et al., ISMIR 2016; Won et al. 2020 | 64 | 447,732, published |
    | k2c2 | Choi et al., ICASSP 2017, at its size of 1 M; 29.12 s at 12 kHz, ELU | 271 | 1,003,830 |
    | homework_base, homework_improved | a course on music tagging; 3 s | 64 | 234,356 · 447,732 |
    | tutorial | Won, Spijkervet & Choi, ISMIR 2021 tutorial; 29 s at 22.05 kHz | 64 | 42,724; with 10 tags 40,124 |

    **The embedding is what is left after the last block, averaged over its cells** (at the published lengths there is
    one), or with `dense` > 0 the activation of a dense layer of that size after its norm, as in the tutorial. What
    follows in the papers, dropout .5 and a linear layer, is `Tagger(encoder, tags, dropout=0.5)`.

    `kernels` are the sides of the square kernels, 3 each by default; `pool_strides` are the sizes of the pools by
    default. `dropout` acts on the output of every block, training only. `mel` names further arguments of `LogMel`.

    Shape: wave (B, 1, T) → (B, dense or widths[-1]); T of at least one cell, 327,424 samples for the default.

    >>> encoder = FCN(widths=[4, 8], pools=[[8, 8], [12, 16]], input_samples=48000)
    >>> encoder.minimum_samples, encoder(torch.zeros(2, 1, 48000)).shape
    (32512, torch.Size([2, 8]))
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = (64, 128, 128, 128, 64),
        pools: Sequence[Sequence[int]] = ((2, 4), (2, 4), (2, 4), (3, 5), (4, 4)),
        kernels: Sequence[int] | None = None,
        pool_strides: Sequence[Sequence[int]] | None = None,
        activation: str = "relu",
        dense: int = 0,
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
        self.kernels = [3] * len(self.widths) if kernels is None else list(kernels)
        self.pool_strides = self.pools if pool_strides is None else [list(stride) for stride in pool_strides]
        self.activation = activation
        self.dense = dense
        self.dropout = dropout
        self.bands = bands
        self.sample_rate = sample_rate
        self.input_samples = input_samples
        self.n_fft = n_fft
        self.hop = hop
        self.norm = norm
        self.mel = mel
        depths = [len(self.widths), len(self.pools), len(self.kernels), len(self.pool_strides)]
        if not self.widths or len(set(depths)) > 1:
            raise UserError(
                "FCN wants as many widths as pools, kernels and pool_strides, one or more; "
                f"came {', '.join(map(str, depths))}"
            )
        if any(len(pair) != 2 for pair in self.pools + self.pool_strides):
            raise UserError(f"a pool is a pair, [bands, frames]; came {self.pools}, strides {self.pool_strides}")
        sides = [side for pair in self.pools + self.pool_strides for side in pair]
        if min([*self.widths, *self.kernels, *sides]) < 1 or dense < 0:
            raise UserError(
                "FCN wants widths, pools, kernels and pool_strides of at least 1, and dense of at least 0"
            )
        self.log_mel = log_mel(sample_rate, mel, n_fft=n_fft, hop=hop, bands=bands)
        self.input_norm = norm_2d(norm, 1)
        channels = [1, *self.widths]
        self.blocks = nn.ModuleList(
            ConvBlock(
                channels[i],
                channels[i + 1],
                pool=(self.pools[i][0], self.pools[i][1]),
                norm=norm,
                kernel=(self.kernels[i], self.kernels[i]),
                pool_stride=(self.pool_strides[i][0], self.pool_strides[i][1]),
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
        self.embedding_dim = dense or channels[-1]
        self.dense_layer = nn.Linear(channels[-1], dense) if dense else None
        self.dense_norm = norm_1d(norm, dense) if dense else None
        self.folds = [("dense_layer", "dense_norm")] if dense else []

    def forward(self, wave: Tensor) -> Tensor:
        image = channels_last(self.input_norm(self.log_mel(self.check(wave))))  # (B, 1, M, F)
        for block in self.blocks:
            image = F.dropout(block(image), self.dropout, self.training)
        embedding = image.mean((2, 3))  # (B, widths[-1])
        if self.dense_layer is None or self.dense_norm is None:
            return embedding
        embedding = self.dense_norm(self.dense_layer(embedding))  # (B, dense)
        return F.elu(embedding) if self.activation == "elu" else torch.relu(embedding)
