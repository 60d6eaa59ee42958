"""CNN-SA: a residual CNN and self-attention over what it hears (Won et al. 2019, arXiv 1906.04972)."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_music.encoders.attention import TransformerLayer, with_class_token
from ssl_music.encoders.base import Encoder
from ssl_music.encoders.layers import ResidualBlock, channels_last, norm_2d
from ssl_music.encoders.spectrogram import log_mel
from ssl_music.errors import UserError


class CNNSA(Encoder):
    """Residual blocks that halve the bands until one is left, then a BERT-like Transformer over the steps of time.

    "Toward Interpretable Music Tagging with Self-Attention" (Won, Chun & Serra 2019) in the form of the 2020
    comparison (Won et al., arXiv 2006.00751): 240,000 samples (15 s) at 16 kHz, 128 bands; seven blocks, of which
    three also halve the frames, make 118 tokens of 256 numbers; two layers of 8 heads with a hidden layer of 1,024,
    dropout .4, on the attention .5. Tokens bear no position: only the convolutions know what follows what.

    As in BERT the norms come after the sums, their ε is 1e-12, GELU is the exact one, and a first token is put before
    the others. It is a constant: the published code draws it from NumPy's `random.random((1, 256))` with seed 0, does
    not train it and does not store it; nor does a checkpoint of ours.

    **The embedding is the pooler's output, tanh of a dense layer on the first token**, 256. What follows in the 2020
    code, dropout .5 and a linear layer to 50 tags, is `Tagger(encoder, tags, dropout=0.5)`, with which the count is
    the paper's network's 10,521,652; the encoder's own is 10,508,802.

    A longer clip is more tokens, and all of them see each other. Where the blocks leave several bands, their maximum
    is taken. `dropout` and `attention_dropout` are the Transformer's, `conv_dropout` acts on the output of every
    block; training only. `mel` names further arguments of `LogMel`.

    Shape: wave (B, 1, T) → (B, widths[-1]), T of at least one step of the blocks, 1,792 samples for the default.

    >>> encoder = CNNSA(widths=[4, 8], time_strides=[2, 2], heads=2, layers=1, input_samples=16000)
    >>> encoder.minimum_samples, encoder(torch.zeros(2, 1, 16000)).shape
    (768, torch.Size([2, 8]))
    """

    class_token: Tensor

    def __init__(
        self,
        *,
        widths: Sequence[int] = (128, 128, 256, 256, 256, 256, 256),
        time_strides: Sequence[int] = (2, 2, 2, 1, 1, 1, 1),
        layers: int = 2,
        heads: int = 8,
        dropout: float = 0.4,
        attention_dropout: float = 0.5,
        conv_dropout: float = 0.0,
        bands: int = 128,
        sample_rate: int = 16000,
        input_samples: int = 240000,
        n_fft: int = 512,
        hop: int = 256,
        norm: str = "batch",
        mel: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.widths = list(widths)
        self.time_strides = list(time_strides)
        self.layers = layers
        self.heads = heads
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.conv_dropout = conv_dropout
        self.bands = bands
        self.sample_rate = sample_rate
        self.input_samples = input_samples
        self.n_fft = n_fft
        self.hop = hop
        self.norm = norm
        self.mel = mel
        depth = len(self.widths)
        if not depth or depth != len(self.time_strides) or min([*self.widths, *self.time_strides, layers]) < 1:
            raise UserError(
                "CNNSA wants as many widths as time_strides, one or more, and all of them and layers at least 1; "
                f"came widths {self.widths}, time_strides {self.time_strides}, layers {layers}"
            )
        if bands < 2**depth:
            raise UserError(f"{depth} blocks halve the bands {depth} times and want {2**depth} of them; came {bands}")
        self.log_mel = log_mel(sample_rate, mel, n_fft=n_fft, hop=hop, bands=bands)
        self.minimum_samples = max((math.prod(self.time_strides) - 1) * hop, self.log_mel.minimum_samples)
        if input_samples < self.minimum_samples:
            raise UserError(
                f"these strides and hop {hop} want {self.minimum_samples} input_samples or more; came {input_samples}"
            )
        self.input_norm = norm_2d(norm, 1)
        channels = [1, *self.widths]
        self.blocks = nn.ModuleList(
            ResidualBlock(channels[i], channels[i + 1], stride=(2, self.time_strides[i]), norm=norm)
            for i in range(depth)
        )
        self.embedding_dim = channels[-1]
        self.transformer = nn.ModuleList(
            TransformerLayer(
                self.embedding_dim,
                heads=heads,
                norm_first=False,
                qkv_bias=True,
                epsilon=1e-12,
                dropout=dropout,
                attention_dropout=attention_dropout,
            )
            for _ in range(layers)
        )
        constant = torch.from_numpy(np.random.RandomState(0).random_sample(self.embedding_dim)).float()
        self.register_buffer("class_token", constant, persistent=False)
        self.pooler = nn.Linear(self.embedding_dim, self.embedding_dim)

    def forward(self, wave: Tensor) -> Tensor:
        image = channels_last(self.input_norm(self.log_mel(self.check(wave))))  # (B, 1, M, F)
        for block in self.blocks:
            image = F.dropout(block(image), self.conv_dropout, self.training)
        tokens = with_class_token(self.class_token, image.amax(2).mT)  # (B, 1 + N, widths[-1])
        for layer in self.transformer:
            tokens = layer(tokens)
        return self.pooler(tokens[:, 0]).tanh()
