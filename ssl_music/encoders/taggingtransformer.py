"""The Music Tagging Transformer, teacher and compact (Won, Choi & Serra, ISMIR 2021, arXiv 2111.13457)."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_music.encoders.attention import TransformerLayer, with_class_token
from ssl_music.encoders.base import Encoder
from ssl_music.encoders.layers import PooledResidualBlock, channels_last, norm_2d
from ssl_music.encoders.spectrogram import log_mel
from ssl_music.errors import UserError


class MusicTaggingTransformer(Encoder):
    """Three residual blocks on a log-mel image, a dense layer that makes tokens of its columns, a Transformer.

    "Semi-supervised Music Tagging Transformer": 220,500 samples (10 s) at 22.05 kHz, 128 bands; blocks of 128
    channels pooled (2, 2), (2, 2), (2, 1), so that 107 columns of 128 · 16 numbers are left, each a token after a
    dense layer; learned positions and a learned class token; four layers of 8 heads with a hidden layer of four times
    `width`, norms first; dropout .1 on the tokens, behind GELU and on all that is added, none on the attention.
    `width=256` is the paper's teacher, `width=64` its compact student.

    **The embedding is the class token after the last layer and the norm of the published head**, 256 or 64. What
    follows, a linear layer to 50 tags without dropout, is `Tagger(encoder, tags)`, with which the counts are the
    published 4,567,732 and 1,108,852; the encoder's own are 4,554,882 and 1,105,602.

    The published files hold 512 `positions` beside the class token's, of which a network trained with 10 s has only
    met the first 107. So **a longer clip is cut, behind the convolutions, into the fewest windows of `input_samples`
    that cover it, evenly spaced, and their embeddings are averaged**, as the paper's code averages the
    predictions of a song's chunks. A shorter clip is one shorter window.

    `dropout` acts in training only. `mel` names further arguments of `LogMel`.

    Shape: wave (B, 1, T) → (B, width), T of at least one token, 1,536 samples for the default.

    >>> encoder = MusicTaggingTransformer(conv_width=4, width=8, heads=2, layers=1, input_samples=22050)
    >>> encoder.minimum_samples, encoder(torch.zeros(2, 1, 22050)).shape
    (1536, torch.Size([2, 8]))
    """

    def __init__(
        self,
        *,
        width: int = 256,
        layers: int = 4,
        heads: int = 8,
        conv_width: int = 128,
        pools: Sequence[Sequence[int]] = ((2, 2), (2, 2), (2, 1)),
        positions: int = 512,
        dropout: float = 0.1,
        bands: int = 128,
        sample_rate: int = 22050,
        input_samples: int = 220500,
        n_fft: int = 1024,
        hop: int = 512,
        norm: str = "batch",
        mel: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.width = width
        self.layers = layers
        self.heads = heads
        self.conv_width = conv_width
        self.pools = [list(pool) for pool in pools]
        self.positions = positions
        self.dropout = dropout
        self.bands = bands
        self.sample_rate = sample_rate
        self.input_samples = input_samples
        self.n_fft = n_fft
        self.hop = hop
        self.norm = norm
        self.mel = mel
        if not self.pools or any(len(pool) != 2 for pool in self.pools):
            raise UserError(f"MusicTaggingTransformer wants pools, each a pair, [bands, frames]; came {self.pools}")
        if min([width, layers, conv_width, positions, *(side for pool in self.pools for side in pool)]) < 1:
            raise UserError(
                "MusicTaggingTransformer wants width, layers, conv_width, positions and pools of at least 1"
            )
        bands_left, step = bands, math.prod(pool[1] for pool in self.pools)
        for pool in self.pools:
            bands_left //= pool[0]
        if not bands_left:
            raise UserError(f"these pools leave none of {bands} bands: give smaller pools or more bands")
        self.log_mel = log_mel(sample_rate, mel, n_fft=n_fft, hop=hop, bands=bands)
        self.minimum_samples = max((step - 1) * hop, self.log_mel.minimum_samples)
        if input_samples < self.minimum_samples:
            raise UserError(
                f"these pools and hop {hop} want {self.minimum_samples} input_samples or more; came {input_samples}"
            )
        self.window_tokens = (input_samples // hop + 1) // step
        if self.window_tokens > positions:
            raise UserError(
                f"{input_samples} input_samples are {self.window_tokens} tokens; came positions for {positions}: "
                "give more positions or fewer input_samples"
            )
        self.input_norm = norm_2d(norm, 1)
        self.blocks = nn.ModuleList(
            PooledResidualBlock(conv_width if i else 1, conv_width, pool=(pool[0], pool[1]), norm=norm)
            for i, pool in enumerate(self.pools)
        )
        self.dense = nn.Linear(conv_width * bands_left, width)
        self.position_embedding = nn.Parameter(torch.randn(1, 1 + positions, width))
        self.class_token = nn.Parameter(torch.randn(width))
        self.transformer = nn.ModuleList(
            TransformerLayer(
                width, heads=heads, norm_first=True, qkv_bias=False, dropout=dropout, hidden_dropout=dropout
            )
            for _ in range(layers)
        )
        self.output_norm = nn.LayerNorm(width)
        self.embedding_dim = width

    def forward(self, wave: Tensor) -> Tensor:
        image = channels_last(self.input_norm(self.log_mel(self.check(wave))))  # (B, 1, M, F)
        for block in self.blocks:
            image = block(image)
        tokens = self.dense(image.permute(0, 3, 1, 2).flatten(2))  # (B, N, width)
        index = windows(tokens.shape[1], self.window_tokens, device=wave.device)  # (n, tokens of a window)
        tokens = with_class_token(self.class_token, tokens[:, index].flatten(0, 1))  # (B · n, 1 + …, width)
        tokens = F.dropout(tokens + self.position_embedding[:, : tokens.shape[1]], self.dropout, self.training)
        for layer in self.transformer:
            tokens = layer(tokens)
        return self.output_norm(tokens[:, 0]).unflatten(0, (-1, index.shape[0])).mean(1)


def windows(tokens: int, size: int, *, device: torch.device | None = None) -> Tensor:
    """Which tokens each window takes: the fewest windows of `size` that cover all, evenly spaced; or one shorter one.

    Written without a branch, so that an exported graph is one for every length. Shape: (n, min(size, tokens)).

    >>> windows(7, 3).tolist()
    [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
    >>> windows(2, 3).tolist()
    [[0, 1]]
    """
    count, size = (tokens + size - 1) // size, torch.sym_min(tokens, size)
    first = torch.arange(count, device=device) * (tokens - size) // torch.sym_max(count - 1, 1)
    return first[:, None] + torch.arange(size, device=device)
