"""MusiCNN: filters shaped by what music is made of (Pons et al., ISMIR 2018; Pons & Serra 2019)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_music.encoders.base import Encoder
from ssl_music.encoders.layers import channels_last, norm_1d, norm_2d
from ssl_music.encoders.spectrogram import log_mel
from ssl_music.errors import UserError, unknown_name

EMBEDDINGS = ["dense", "pooled"]
OVER_FREQUENCY = ["mean", "max"]


class MusiCNN(Encoder):
    """Tall filters for timbre and long filters for rhythm on a log-mel image, three residual layers, two poolings.

    "End-to-end learning for music audio tagging at scale" (Pons et al. 2018): vertical filters over .7 and .4 of the
    bands and 7 frames, the largest value over frequency; horizontal filters over 129, 65 and 33 frames; three
    convolutions of length 7 and `width` channels, the second and third added to what they see; the inputs and outputs
    of all three, maximum and mean over time; a dense layer. The defaults are the 2020 comparison's (Won et al., arXiv
    2006.00751) for MagnaTagATune: 3 s at 16 kHz. Its form for the Million Song Dataset ("musicnn_big") is
    `MusiCNN(width=512, dense=500)`.

    **The embedding is the activation of the dense layer after its norm and ReLU**, 200 (or 500); what follows in the
    2020 code, dropout .5 and a linear layer to 50 tags, is `Tagger(encoder, tags, dropout=0.5)`, with which the
    counts are 784,300 and 7,972,000. `embedding="pooled"` stops before the dense layer: maximum, then mean over
    time, 2 · (561 + 3 · width) = 1,506 (or 4,194) numbers, and the dense layer does not exist.

    `over_frequency` is where the horizontal filters look: at the "mean" of the bands (2020), or at each band, and
    the largest over the bands is taken ("max", as in the original code). The original's spectrogram is
    `mel={"scale": "log1p10k", "mel_scale": "slaney", "mel_norm": "slaney"}` (librosa's defaults). It differs
    further in what we do not follow: ReLU before each norm, even filter lengths 128, 64 and 32, and one more norm,
    with dropout, before the dense layer.

    Every convolution is padded over time, so any T of more than half a window works.

    Shape: wave (B, 1, T) → (B, dense), or (B, 2 · (front + 3 · width)).

    >>> encoder = MusiCNN(vertical_width=8, horizontal_width=4, width=6, dense=10)
    >>> encoder(torch.zeros(2, 1, encoder.input_samples)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        *,
        width: int = 64,
        dense: int = 200,
        embedding: str = "dense",
        over_frequency: str = "mean",
        vertical_width: int = 204,
        horizontal_width: int = 51,
        horizontal_frames: Sequence[int] = (129, 65, 33),
        bands: int = 96,
        sample_rate: int = 16000,
        input_samples: int = 48000,
        n_fft: int = 512,
        hop: int = 256,
        norm: str = "batch",
        mel: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.width = width
        self.dense = dense
        self.embedding = embedding
        self.over_frequency = over_frequency
        self.vertical_width = vertical_width
        self.horizontal_width = horizontal_width
        self.horizontal_frames = list(horizontal_frames)
        self.bands = bands
        self.sample_rate = sample_rate
        self.input_samples = input_samples
        self.n_fft = n_fft
        self.hop = hop
        self.norm = norm
        self.mel = mel
        if embedding not in EMBEDDINGS:
            raise unknown_name("embedding of MusiCNN", embedding, EMBEDDINGS)
        if over_frequency not in OVER_FREQUENCY:
            raise unknown_name("way over frequency", over_frequency, OVER_FREQUENCY)
        if bands < 3 or min([width, dense, vertical_width, horizontal_width, *self.horizontal_frames]) < 1:
            raise UserError(
                "MusiCNN wants widths, dense and horizontal_frames of at least 1, and bands of at least 3"
            )
        self.log_mel = log_mel(sample_rate, mel, n_fft=n_fft, hop=hop, bands=bands)
        self.minimum_samples = self.log_mel.minimum_samples
        if input_samples < self.minimum_samples:
            raise UserError(f"MusiCNN wants input_samples of at least {self.minimum_samples}; came {input_samples}")
        self.input_norm = norm_2d(norm, 1)
        heights = [int(0.7 * bands), int(0.4 * bands)]
        self.vertical = nn.ModuleList(_Block(1, vertical_width, (height, 7), norm=norm) for height in heights)
        self.horizontal = nn.ModuleList(
            _Block(1, horizontal_width, (1, frames), norm=norm) for frames in self.horizontal_frames
        )
        front = vertical_width * len(heights) + horizontal_width * len(self.horizontal_frames)
        self.middle = nn.ModuleList(_Block(front if i == 0 else width, width, (1, 7), norm=norm) for i in range(3))
        pooled = 2 * (front + 3 * width)
        self.embedding_dim = pooled if embedding == "pooled" else dense
        if embedding == "dense":
            self.dense_layer = nn.Linear(pooled, dense)
            self.dense_norm = norm_1d(norm, dense)
            self.folds = [("dense_layer", "dense_norm")]

    def forward(self, wave: Tensor) -> Tensor:
        image = channels_last(self.input_norm(self.log_mel(self.check(wave))))  # (B, 1, M, F)
        bands = image.mean(2, keepdim=True) if self.over_frequency == "mean" else image
        front = torch.cat(
            [block(image) for block in self.vertical] + [block(bands) for block in self.horizontal], dim=1
        )  # (B, 561, 1, F)
        layers = [front, self.middle[0](front)]
        for block in list(self.middle)[1:]:
            layers.append(block(layers[-1]) + layers[-1])
        series = torch.cat(layers, dim=1)  # (B, 561 + 3 · width, 1, F)
        pooled = torch.cat([series.amax((2, 3)), series.mean((2, 3))], dim=1)
        if self.embedding == "pooled":
            return pooled
        return F.relu(self.dense_norm(self.dense_layer(pooled)))


class _Block(nn.Module):
    """Convolution – norm – largest over frequency – ReLU; padded over time, not over frequency."""

    folds = (("conv", "norm"),)

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int], *, norm: str) -> None:
        super().__init__()
        # one band high: a Conv1d's weights, as published, used as an image's for the sake of channels-last order
        self.conv = nn.Conv2d(inputs, outputs, kernel) if kernel[0] > 1 else nn.Conv1d(inputs, outputs, kernel[1])
        self.norm = norm_2d(norm, outputs)
        self.padding = ((kernel[1] - 1) // 2, kernel[1] // 2)  # of an even length the longer half follows

    def forward(self, image: Tensor) -> Tensor:
        weight = self.conv.weight if self.conv.weight.dim() == 4 else self.conv.weight.unsqueeze(2)
        image = F.pad(image, self.padding)
        if self.training and weight.shape[1] == 1:
            # the bands under a tall kernel as its channels: a training step on a CPU takes a quarter of the time
            image = image[:, 0].unfold(1, weight.shape[2], 1).contiguous().permute(0, 3, 1, 2)  # (B, height, M', F)
            weight = weight.transpose(1, 2)
        image = self.norm(F.conv2d(image, weight, self.conv.bias))  # (B, C, M', F)
        # max before ReLU: they commute, and a 30th of the values is left; a step with amax takes 1.6 times as long
        return F.relu(F.max_pool2d(image, (image.shape[2], 1)), inplace=True)  # (B, C, 1, F)
