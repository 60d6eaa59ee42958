"""The parts that encoders share: the choice of norm, the plan of widths, and three kinds of 2-D block.

Blocks compute in channels-last order where their input is (`channels_last`): the convolutions and norms of the CPU
and of the GPU's tensor cores run fastest so. Weights keep torch's ordinary order, so checkpoints do not notice.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_music.errors import UserError, unknown_name

#: facts of the end-to-end experiments: "layer/group (8 groups)"
GROUPS = 8
NORMS = ["batch", "group", "layer", "none"]
ACTIVATIONS = ["relu", "elu"]


def norm_1d(kind: str, channels: int) -> nn.Module:
    """The norm called `kind` for (B, C) or (B, C, T).

    "batch"; "group" (8 groups, or the most out of 8 that divide the channels); "layer" (one group: over channels and
    time of each example alone); "none". Group and layer norm do not mix the examples of a batch.

    >>> norm_1d("group", 12).num_groups
    4
    """
    return nn.BatchNorm1d(channels) if kind == "batch" else _batchless_norm(kind, channels)


def norm_2d(kind: str, channels: int) -> nn.Module:
    """The norm called `kind` for (B, C, H, W); the kinds are those of `norm_1d`.

    >>> norm_2d("batch", 64).weight.shape
    torch.Size([64])
    """
    return nn.BatchNorm2d(channels) if kind == "batch" else _batchless_norm(kind, channels)


def _batchless_norm(kind: str, channels: int) -> nn.Module:
    if kind == "group":
        return nn.GroupNorm(math.gcd(GROUPS, channels), channels)
    if kind == "layer":
        return nn.GroupNorm(1, channels)
    if kind == "none":
        return nn.Identity()
    raise unknown_name("norm", kind, NORMS)


def widths(width: int, depth: int) -> list[int]:
    """Output channels of `depth` blocks: two of `width`, then twice that, the last four times.

    The plan of SampleCNN (depth 9) and of the short-chunk CNN (depth 7), both with width 128.

    >>> widths(128, 7)
    [128, 128, 256, 256, 256, 256, 512]
    """
    if width < 1 or depth < 3:
        raise UserError(f"an encoder wants width >= 1 and depth >= 3; came width {width}, depth {depth}")
    return [width] * 2 + [2 * width] * (depth - 3) + [4 * width]


def channels_last(image: Tensor) -> Tensor:
    """(B, C, H, W) in channels-last memory; also where C = 1, when torch cannot tell the two orders apart itself.

    >>> import torch
    >>> channels_last(torch.zeros(2, 1, 8, 9)).stride()
    (72, 1, 9, 1)
    """
    batch, channels, height, width = image.shape
    # through a flat view, because torch's own conversion leaves the strides of a one-channel image as they are
    return image.permute(0, 2, 3, 1).flatten(1).view(batch, height, width, channels).permute(0, 3, 1, 2)


def along_time(image: Tensor, conv: nn.Conv1d) -> Tensor:
    """`conv` on an image of height 1, whose width is time: only images have the fast channels-last order.

    >>> along_time(torch.zeros(2, 1, 1, 9), nn.Conv1d(1, 4, 3, stride=3)).shape
    torch.Size([2, 4, 1, 3])
    """
    stride, padding = (1, conv.stride[0]), (0, int(conv.padding[0]))
    return F.conv2d(image, conv.weight.unsqueeze(2), conv.bias, stride, padding)


def pooled_in_time(image: Tensor, pool: int) -> Tensor:
    """The largest of every `pool` cells of an image of height 1; what is left at the end is dropped.

    >>> pooled_in_time(torch.arange(8.0).view(1, 1, 1, 8), 3)
    tensor([[[[2., 5.]]]])
    """
    if pool == 1:
        return image
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return F.max_pool2d(image, (1, pool))
    cells = image.shape[3] // pool
    # where no gradient asks which one was the largest: a fifth of max_pool2d's time
    table = image.permute(0, 2, 3, 1)[:, :, : cells * pool].unflatten(2, (cells, pool))  # (B, 1, cells, pool, C)
    return table.amax(3).permute(0, 3, 1, 2)  # in channels-last order, as it came


def by_rows(network: Callable[[Tensor], Tensor], wave: Tensor, *, rows: int) -> Tensor:
    """`network(wave)`; on a CPU `rows` examples at a time where no gradient is wanted, so that they fit its cache.

    For networks whose examples do not depend on each other: none with batch norm in training.
    """
    whole = torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing()
    if whole or wave.device.type != "cpu":
        return network(wave)
    return torch.cat([network(part) for part in wave.split(rows)])


class ConvBlock(nn.Module):
    """Convolution 3 × 3 – norm – ReLU – max-pooling, the block of the VGG-ish networks; or another kernel, ELU.

    `padding` is "same", as many cells out of the convolution as went in, or "valid", none made up at the edges.
    `pool_stride=None` is the pooling's own size: no cell in two pools.

    Shape: (B, inputs, H, W) → (B, outputs, H // pool, W // pool), where padding and pool_stride are the defaults.

    >>> import torch
    >>> ConvBlock(1, 8, pool=(2, 2), norm="batch")(torch.zeros(2, 1, 16, 31)).shape
    torch.Size([2, 8, 8, 15])
    """

    folds = (("conv", "norm"),)  #: which norm follows which convolution at once: `folding.folded`

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        pool: tuple[int, int],
        norm: str,
        kernel: tuple[int, int] = (3, 3),
        padding: str = "same",
        pool_stride: tuple[int, int] | None = None,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise unknown_name("activation", activation, ACTIVATIONS)
        # "same" of an even length: the longer half follows; nn.Conv2d's own "same" does so too, but warns of it
        odd = padding == "same" and all(side % 2 for side in kernel)
        left, top = (kernel[1] - 1) // 2, (kernel[0] - 1) // 2
        self.edges = None if odd or padding == "valid" else (left, kernel[1] // 2, top, kernel[0] // 2)
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=(top, left) if odd else 0)
        self.norm = norm_2d(norm, outputs)
        self.padding = padding
        self.pool = pool
        self.pool_stride = pool_stride or pool
        self.activation = F.elu if activation == "elu" else F.relu

    def forward(self, image: Tensor) -> Tensor:
        image = self.norm(self.conv(image if self.edges is None else F.pad(image, self.edges)))
        if self.pool != (1, 1):
            # max and a rising activation commute, in value and in gradient: pooled first, that has less to do
            image = F.max_pool2d(image, self.pool, self.pool_stride)
        return self.activation(image, inplace=True)

    def wanted(self, cells: tuple[int, int]) -> tuple[int, int]:
        """The smallest height and width that `forward` makes at least `cells` out of.

        >>> ConvBlock(1, 8, pool=(2, 4), norm="none", kernel=(1, 4), padding="valid").wanted((1, 2))
        (2, 11)
        """
        height, width = (
            (cells[i] - 1) * self.pool_stride[i]
            + self.pool[i]
            + (self.conv.kernel_size[i] - 1 if self.padding == "valid" else 0)
            for i in (0, 1)
        )
        return height, width


def smallest_image(blocks: Iterable[nn.Module]) -> tuple[int, int]:
    """Height and width of the smallest image that a chain of `ConvBlock`s makes one cell or more of.

    >>> smallest_image([ConvBlock(1, 8, pool=(2, 4), norm="none"), ConvBlock(8, 8, pool=(3, 5), norm="none")])
    (6, 20)
    """
    cells = (1, 1)
    for block in reversed(list(blocks)):
        assert isinstance(block, ConvBlock)
        cells = block.wanted(cells)
    return cells


class ResidualBlock(nn.Module):
    """Two convolutions 3 × 3 with norms beside a third one with norm, added, then ReLU; the first steps by `stride`.

    Shape: (B, inputs, H, W) → (B, outputs, ⌈H / stride⌉, ⌈W / stride⌉).

    >>> import torch
    >>> ResidualBlock(1, 8, stride=(2, 2), norm="batch")(torch.zeros(2, 1, 16, 31)).shape
    torch.Size([2, 8, 8, 16])
    """

    folds = (("conv_1", "norm_1"), ("conv_2", "norm_2"), ("conv_3", "norm_3"))

    def __init__(self, inputs: int, outputs: int, *, stride: tuple[int, int], norm: str) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        self.norm_1 = norm_2d(norm, outputs)
        self.conv_2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm_2 = norm_2d(norm, outputs)
        # the shortcut is a 3 × 3 convolution as well, not the usual 1 × 1: so the published code, and its count
        self.conv_3 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        self.norm_3 = norm_2d(norm, outputs)

    def forward(self, image: Tensor) -> Tensor:
        inner = F.relu(self.norm_1(self.conv_1(image)), inplace=True)
        return F.relu(self.norm_2(self.conv_2(inner)) + self.norm_3(self.conv_3(image)), inplace=True)


class PooledResidualBlock(nn.Module):
    """Two convolutions 3 × 3 with norms, the input added, ReLU, then max-pooling.

    Where the width changes, the input goes through a third convolution 3 × 3 with norm; else it is added as it is.

    Shape: (B, inputs, H, W) → (B, outputs, H // pool[0], W // pool[1]).

    >>> import torch
    >>> PooledResidualBlock(4, 8, pool=(2, 3), norm="batch")(torch.zeros(2, 4, 16, 31)).shape
    torch.Size([2, 8, 8, 10])
    """

    folds = (("conv_1", "norm_1"), ("conv_2", "norm_2"), ("conv_3", "norm_3"))

    def __init__(self, inputs: int, outputs: int, *, pool: tuple[int, int], norm: str) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm_1 = norm_2d(norm, outputs)
        self.conv_2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm_2 = norm_2d(norm, outputs)
        self.conv_3 = nn.Conv2d(inputs, outputs, 3, padding=1) if inputs != outputs else nn.Identity()
        self.norm_3 = norm_2d(norm, outputs) if inputs != outputs else nn.Identity()
        self.pool = pool

    def forward(self, image: Tensor) -> Tensor:
        inner = F.relu(self.norm_1(self.conv_1(image)), inplace=True)
        image = self.norm_2(self.conv_2(inner)) + self.norm_3(self.conv_3(image))
        # max and ReLU commute: pooled first, it has less to do
        return F.relu(F.max_pool2d(image, self.pool), inplace=True)
