"""SampleCNN, a CNN on raw samples (Lee et al. 2017), in CLMR's form and in that of the 2020 comparison."""

from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from ssl_music.encoders.base import Encoder
from ssl_music.encoders.layers import along_time, by_rows, channels_last, norm_2d, pooled_in_time, widths
from ssl_music.encoders.streamed import CPU_ROWS, Layer, can_stream, rows_at_once, streamed
from ssl_music.errors import UserError

#: the arguments of the published forms
FORMS: dict[str, dict[str, Any]] = {
    "clmr": {},
    "2020": {"first_padding": 1, "last_kernel": 1, "sample_rate": 16000},
}


class SampleCNN(Encoder):
    """Convolutions of length 3 on the waveform itself, with max-pooling that divides the time by 3 each time.

    A strided convolution, `depth` blocks of convolution – norm – ReLU – max-pooling, and a last convolution – norm –
    ReLU: networks that "learn representations from very small grains of waveforms (e.g. 2 or 3 samples)" (Lee et
    al.). At CLMR's size, the defaults, 3^10 = 59,049 samples at 22.05 kHz become one step in time, and the network
    has 2,368,512 parameters. The 2020 comparison (Won et al., arXiv 2006.00751) hears 16 kHz, pads the strided
    convolution by a sample and ends in a convolution of length 1: `SampleCNN(**FORMS["2020"])`, with the tagger of 50
    tags 1,869,874 parameters.

    **The embedding is the 512 activations after the last convolution's ReLU**, which CLMR's projector and linear
    probes read. In both papers dropout of .5 stands between them and the classifier, in supervised training only:
    that is `Tagger(encoder, tags, dropout=0.5)`.

    Any T of at least one receptive field, 3^(depth + 1) samples, works: the last activations are averaged over the
    ⌊T / that⌋ steps there are. (The published network refuses a longer clip.)

    `checkpointing` keeps a tenth of the activations of a training step and computes the rest again in the backward
    pass, a few clips at a time (`streamed`): a third of the memory at the step's peak, for about 20 % more time.

    Shape: wave (B, 1, T) → (B, 4 · width).

    >>> import torch
    >>> encoder = SampleCNN(width=4, depth=5)
    >>> encoder(torch.zeros(2, 1, 1000)).shape
    torch.Size([2, 16])
    """

    later_arguments = frozenset({"first_padding", "last_kernel", "checkpointing"})

    def __init__(
        self,
        *,
        width: int = 128,
        depth: int = 9,
        norm: str = "batch",
        sample_rate: int = 22050,
        first_padding: int = 0,
        last_kernel: int = 3,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if first_padding not in (0, 1) or last_kernel not in (1, 3):
            raise UserError(f"first_padding is 0 or 1, last_kernel 1 or 3; came {first_padding} and {last_kernel}")
        self.width = width
        self.depth = depth
        self.norm = norm
        self.sample_rate = sample_rate
        self.first_padding = first_padding
        self.last_kernel = last_kernel
        self.checkpointing = checkpointing
        channels = [1, width, *widths(width, depth)]
        channels.append(channels[-1])
        self.embedding_dim = channels[-1]
        self.input_samples = 3 ** (depth + 1)
        self.minimum_samples = self.input_samples - 2 * first_padding
        first = _Block(1, width, norm=norm, stride=3, padding=first_padding)
        middle = [_Block(channels[i], channels[i + 1], norm=norm, pool=3) for i in range(1, depth + 1)]
        last = _Block(channels[-2], channels[-1], norm=norm, kernel=last_kernel, padding=last_kernel // 2)
        self.blocks = nn.ModuleList([first, *middle, last])

    def forward(self, wave: Tensor) -> Tensor:
        # time becomes the width of an image of height 1, because only images have the fast channels-last order:
        # a training step on one core, 8 clips: 3.8 clips/s as published, 6.5 so; under bf16 autocast 7.3 and 12.9
        image = channels_last(self.check(wave).unsqueeze(2))  # (B, 1, 1, T)
        if not self.training:
            return by_rows(self._embedded, image, rows=CPU_ROWS)
        blocks = [block for block in self.blocks if isinstance(block, _Block)]
        layers = [Layer(block.conv, block.norm, block.pool) for block in blocks if can_stream(block.norm)]
        if len(layers) == len(blocks) and (self.checkpointing or wave.device.type == "cpu"):
            return streamed(layers, image, keep=not self.checkpointing).mean((2, 3))
        if not self.checkpointing:
            return self._embedded(image)
        if any(isinstance(block.norm, _BatchNorm) for block in blocks):
            raise UserError(
                f"checkpointing knows batch norm of one device only; came {blocks[0].norm}: do without it"
            )
        # no other norm couples the clips
        return rows_at_once(partial(checkpoint, self._embedded, use_reentrant=False), image)

    def _embedded(self, image: Tensor) -> Tensor:
        for block in self.blocks:
            image = block(image)
        return image.mean((2, 3))  # (B, D)


class _Block(nn.Module):
    """Convolution – norm – ReLU – max-pooling."""

    folds = (("conv", "norm"),)

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        norm: str,
        kernel: int = 3,
        stride: int = 1,
        padding: int = 1,
        pool: int = 1,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride=stride, padding=padding)
        self.norm = norm_2d(norm, outputs)
        self.pool = pool

    def forward(self, image: Tensor) -> Tensor:
        # max and ReLU commute, in value and in gradient: pooled first, the ReLU has less to do
        return F.relu(pooled_in_time(self.norm(along_time(image, self.conv)), self.pool), inplace=True)
