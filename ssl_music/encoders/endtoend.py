"""The end-to-end network of Dieleman & Schrauwen ("End-to-end learning for music audio", ICASSP 2014)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_music.encoders.base import Encoder
from ssl_music.encoders.layers import norm_1d
from ssl_music.errors import UserError, unknown_name

INPUTS = ["raw", "min_max", "standard"]
#: both convolutions over frames: length 8, then max-pooling by 4
KERNEL, POOL = 8, 4


class EndToEnd(Encoder):
    """A strided convolution in place of a spectrogram, two convolutions over its frames, a dense layer.

    Every layer: convolution of 32 channels – norm – ReLU, after the second and the third max-pooling by 4; then the
    mean over the frames left, and a dense layer of 100 – norm – ReLU – dropout. The strided convolution is
    `window_samples` long and steps by `stride_samples`: the paper compares lengths and strides of 256, 512 and 1024.
    The defaults are its best on raw audio, 256 by 256, on clips of 34,950 samples at 12 kHz (2.9 s), of which ten
    make a song and are averaged: that is what embedding and tagging do with a longer file.

    `norm="none"` is the paper's (it is older than batch norm); later experiments on this network found group norm of
    8 groups the best at small batches, with `dropout=0.2`. `normalise_input`: "raw", the wave as it is; "min_max",
    each clip brought to 0 … 1; "standard", each clip to mean 0 and deviation 1; silence stays zero.

    **The embedding is the 100-d activation of the dense layer, after dropout**; a linear layer on top,
    `Tagger(encoder, tags)`, makes the paper's classifier: with 50 tags 33,022 parameters. (The paper's dense layer
    reads all frames, so that its size hangs on the clip's length; this one reads their mean and takes any T of at
    least 16 frames, 15 · stride_samples + window_samples.)

    Shape: wave (B, 1, T) → (B, dense).

    >>> EndToEnd()(torch.zeros(2, 1, 34950)).shape
    torch.Size([2, 100])
    """

    folds = (("frames", "frames_norm"), ("conv_1", "norm_1"), ("conv_2", "norm_2"), ("dense_layer", "dense_norm"))

    def __init__(
        self,
        *,
        window_samples: int = 256,
        stride_samples: int = 256,
        width: int = 32,
        dense: int = 100,
        norm: str = "none",
        dropout: float = 0.0,
        normalise_input: str = "raw",
        sample_rate: int = 12000,
        input_samples: int = 34950,
    ) -> None:
        super().__init__()
        if min(window_samples, stride_samples, width, dense) < 1:
            raise UserError(
                "window_samples, stride_samples, width and dense are at least 1; "
                f"came {window_samples}, {stride_samples}, {width}, {dense}"
            )
        if normalise_input not in INPUTS:
            raise unknown_name("normalise_input", normalise_input, INPUTS)
        self.window_samples = window_samples
        self.stride_samples = stride_samples
        self.width = width
        self.dense = dense
        self.norm = norm
        self.dropout = dropout
        self.normalise_input = normalise_input
        self.sample_rate = sample_rate
        self.input_samples = input_samples
        self.embedding_dim = dense
        self.minimum_samples = (POOL * POOL - 1) * stride_samples + window_samples
        if input_samples < self.minimum_samples:
            raise UserError(
                f"windows of {window_samples} samples every {stride_samples} want input_samples of at least "
                f"{self.minimum_samples}, 16 frames; came {input_samples}"
            )
        self.frames = nn.Conv1d(1, width, window_samples, stride=stride_samples)
        self.frames_norm = norm_1d(norm, width)
        self.conv_1 = nn.Conv1d(width, width, KERNEL)
        self.norm_1 = norm_1d(norm, width)
        self.conv_2 = nn.Conv1d(width, width, KERNEL)
        self.norm_2 = norm_1d(norm, width)
        self.dense_layer = nn.Linear(width, dense)
        self.dense_norm = norm_1d(norm, dense)

    def forward(self, wave: Tensor) -> Tensor:
        frames = F.relu(self.frames_norm(self.frames(self._normalised(self.check(wave)))))  # (B, C, F)
        for conv, norm in ((self.conv_1, self.norm_1), (self.conv_2, self.norm_2)):
            # as many frames out as in: 3 zeros before, 4 after; max_pool1d would export for one length only
            frames = F.pad(frames, ((KERNEL - 1) // 2, KERNEL // 2))
            frames = F.relu(F.max_pool2d(norm(conv(frames)).unsqueeze(2), (1, POOL)).squeeze(2))
        embedding = F.relu(self.dense_norm(self.dense_layer(frames.mean(2))))
        return F.dropout(embedding, self.dropout, self.training)  # (B, D)

    def _normalised(self, wave: Tensor) -> Tensor:
        if self.normalise_input == "raw":
            return wave
        if self.normalise_input == "min_max":
            low, high = wave.aminmax(dim=2, keepdim=True)
            return (wave - low) / (high - low).clamp(min=1e-8)
        deviation, mean = torch.std_mean(wave, dim=2, keepdim=True, correction=0)
        return (wave - mean) / deviation.clamp(min=1e-8)
