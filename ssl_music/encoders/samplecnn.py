"""SampleCNN in the form of CLMR: a CNN on raw samples (Lee et al. 2017; Spijkervet & Burgoyne, ISMIR 2021)."""

from torch import Tensor, nn
from torch.nn import functional as F

from ssl_music.encoders.base import Encoder
from ssl_music.encoders.layers import channels_last, norm_2d, widths


class SampleCNN(Encoder):
    """Convolutions of length 3 on the waveform itself, with max-pooling that divides the time by 3 each time.

    A strided convolution, `depth` blocks of convolution – norm – ReLU – max-pooling, and a last convolution – norm –
    ReLU: networks that "learn representations from very small grains of waveforms (e.g. 2 or 3 samples)" (Lee et
    al.). At CLMR's size, the defaults, 3^10 = 59,049 samples at 22.05 kHz become one step in time, and the network
    has 2,368,512 parameters.

    **The embedding is the 512 activations after the last convolution's ReLU**, which CLMR's projector and linear
    probes read. Its dropout of .5 stands between them and the classifier, in supervised training only: that is
    `Tagger(encoder, tags, dropout=0.5)`.

    Any T of at least `input_samples` = 3^(depth + 1) works: the last activations are averaged over the ⌊T / that⌋
    steps there are. (The published network refuses a longer clip.)

    Shape: wave (B, 1, T) → (B, 4 · width).

    >>> import torch
    >>> encoder = SampleCNN(width=4, depth=5)
    >>> encoder(torch.zeros(2, 1, 1000)).shape
    torch.Size([2, 16])
    """

    def __init__(self, *, width: int = 128, depth: int = 9, norm: str = "batch", sample_rate: int = 22050) -> None:
        super().__init__()
        self.width = width
        self.depth = depth
        self.norm = norm
        self.sample_rate = sample_rate
        channels = [1, width, *widths(width, depth)]
        channels.append(channels[-1])
        self.embedding_dim = channels[-1]
        self.input_samples = self.minimum_samples = 3 ** (depth + 1)
        first = _Block(1, width, norm=norm, stride=3)
        middle = [_Block(channels[i], channels[i + 1], norm=norm, pool=3) for i in range(1, depth + 1)]
        last = _Block(channels[-2], channels[-1], norm=norm)
        self.blocks = nn.ModuleList([first, *middle, last])

    def forward(self, wave: Tensor) -> Tensor:
        # time becomes the width of an image of height 1, because only images have the fast channels-last order:
        # a training step on one core, 16 clips: 2.8 clips/s as published, 4.0 so; under bf16 autocast 6.1 and 10.8
        image = channels_last(self.check(wave).unsqueeze(2))  # (B, 1, 1, T)
        for block in self.blocks:
            image = block(image)
        return image.mean((2, 3))  # (B, D)


class _Block(nn.Module):
    """Convolution of length 3 – norm – ReLU – max-pooling; a stride stands in place of padding, as in the paper."""

    def __init__(self, inputs: int, outputs: int, *, norm: str, stride: int = 1, pool: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, 3, stride=stride, padding=1 if stride == 1 else 0)
        self.norm = norm_2d(norm, outputs)
        self.pool = pool

    def forward(self, image: Tensor) -> Tensor:
        conv = self.conv
        stride, padding = (1, conv.stride[0]), (0, int(conv.padding[0]))
        image = self.norm(F.conv2d(image, conv.weight.unsqueeze(2), conv.bias, stride, padding))
        if self.pool > 1:  # max and ReLU commute, in value and in gradient: pooled first, the ReLU has less to do
            image = F.max_pool2d(image, (1, self.pool))
        return F.relu(image, inplace=True)
