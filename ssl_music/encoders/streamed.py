"""Convolution – batch norm – ReLU – max-pooling along time, a few clips at a time: training from the cache.

Batch norm couples the clips of a batch by two numbers a channel only, mean and variance. So a block can be computed
for a few clips at a time where these two are *results* of it, beside the pooled output of the convolution:

    x = convolution(image),  pooled = maximum of x,  mean and variance of x
    image of the next block = relu(scale · pooled + shift),  scale = γ / √(variance + ε),  shift = β - scale · mean

(Norm and ReLU are monotonous, so the maximum may come first; where γ < 0 the minimum does.) autograd differentiates
the second line. The first is differentiated clips by clips, what arrives for mean and variance added to the gradient
of x: ∂mean/∂x = 1/N, ∂variance/∂x = 2 (x - mean)/N. For that, x is kept, or computed anew in the backward pass.

Sums over clips and time are taken piece by piece: torch's own batch norm adds them up one by one in channels-last
order on a CPU, and loses three digits by it (variance wrong by 1e-4, gradients of SampleCNN by 20 %).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import partial
from typing import Any, ClassVar, NamedTuple, TypeGuard

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ssl_music.encoders.layers import pooled_in_time

#: clips at a time: what fits the cache of a CPU; elsewhere the batch in so many parts
CPU_ROWS, PARTS = 2, 8
#: positions whose sums are taken at once on a CPU
PIECE = 2048


class Layer(NamedTuple):
    """A convolution, the batch norm after it and the length of the max-pooling, all along time."""

    conv: nn.Conv1d
    norm: nn.BatchNorm2d
    pool: int


def can_stream(norm: nn.Module) -> TypeGuard[nn.BatchNorm2d]:
    """Whether `norm` is batch norm over the clips of one device, with running averages of fixed weight."""
    return type(norm) is nn.BatchNorm2d and norm.momentum is not None


class NothingKept(AbstractContextManager):
    """Inside, `streamed` keeps no activations beside the pooled ones: for who computes the whole network twice.

    Activations that a function of ours keeps are hidden from `torch.utils.checkpoint`, which could not free them.
    """

    inside: ClassVar[ContextVar[int]] = ContextVar("inside", default=0)

    def __enter__(self) -> None:
        self.inside.set(self.inside.get() + 1)

    def __exit__(self, *_: object) -> None:
        self.inside.set(self.inside.get() - 1)


def streamed(layers: list[Layer], wave: Tensor, *, keep: bool) -> Tensor:
    """What `layers` make of `wave` in training mode; of the activations, `keep=False` keeps the pooled ones only.

    The first layer, if it does not pool, is computed again by the second: that is quick, and its output long.

    Shape: wave (B, 1, 1, T) → (B, C, 1, T').

    >>> layers = [Layer(nn.Conv1d(1, 4, 3), nn.BatchNorm2d(4), 1), Layer(nn.Conv1d(4, 8, 3), nn.BatchNorm2d(8), 5)]
    >>> streamed(layers, torch.randn(3, 1, 1, 24), keep=False).shape
    torch.Size([3, 8, 1, 4])
    """
    keep = keep and not NothingKept.inside.get()
    image, pending, tensors = wave, list[Layer](), list[Tensor | None]()
    affine: tuple[Tensor | None, Tensor | None] = (None, None)
    for layer in layers:
        pending.append(layer)
        tensors += [*affine, layer.conv.weight.unsqueeze(2), layer.conv.bias]
        alone = layer is layers[0] and layer.pool == 1 and len(layers) > 1
        pooled, mean, variance = _Streamed.apply(list(pending), keep and not alone, alone, image, *tensors)
        scale = layer.norm.weight * (variance + layer.norm.eps).rsqrt()
        affine = (scale, layer.norm.bias - scale * mean)
        if not alone:
            image, pending, tensors = pooled, [], []
    return _AffineReLU.apply(image, *affine)


def rows_at_once(network: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """`network(image)`, computed for as many rows at a time as `streamed` takes."""
    return torch.cat([network(part) for part in image.split(_rows(image))])


class _Streamed(torch.autograd.Function):
    """Pooled output, mean and variance of the last of `layers`, whose scale, shift, weight and bias are `tensors`.

    With `alone` only mean and variance are wanted, and the pooled output is empty.
    """

    @staticmethod
    def forward(
        ctx: Any, layers: list[Layer], keep: bool, alone: bool, image: Tensor, *tensors: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.layers, ctx.keep, ctx.alone = layers, keep, alone
        ctx.set_materialize_grads(False)
        device = image.device.type
        ctx.autocast = partial(
            torch.autocast,
            device,
            dtype=torch.get_autocast_dtype(device),
            enabled=torch.is_autocast_enabled(device),
            cache_enabled=False,
        )
        ctx.for_image = image.requires_grad
        ctx.leaves = [None if tensor is None else tensor.detach().requires_grad_() for tensor in tensors]
        ctx.parts, results, moments = [], [], []
        for rows in image.split(_rows(image)):
            with torch.set_grad_enabled(keep):
                part, x, pooled = _computed(ctx, rows)
            results.append(pooled.detach()[:0] if alone else pooled.detach())
            moments += _moments(x.detach(), layers[-1].norm.weight)
            if keep:
                ctx.parts.append((part, x, pooled))
        norm = layers[-1].norm
        mean, variance, ctx.count = _merged(moments, norm.weight)
        _track(norm, mean, variance * (ctx.count / max(1, ctx.count - 1)))
        ctx.save_for_backward(image, mean)
        return torch.cat(results), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, for_pooled: Tensor | None, for_mean: Tensor, for_variance: Tensor) -> tuple[Any, ...]:
        image, mean = ctx.saved_tensors
        slope = 2 * for_variance / ctx.count
        offset = for_mean / ctx.count - slope * mean
        leaves = [leaf for leaf in ctx.leaves if leaf is not None]
        totals = [torch.zeros_like(leaf) for leaf in leaves]
        for_image = torch.empty_like(image) if ctx.for_image else None
        rows = _rows(image)
        for first in range(0, len(image), rows):
            if ctx.keep:
                part, x, pooled = ctx.parts.pop(0)
            else:
                with torch.enable_grad(), ctx.autocast():
                    part, x, pooled = _computed(ctx, image[first : first + rows])
            ends, arrived = [x], [_affine(x.detach(), slope, offset)]
            if for_pooled is not None and not ctx.alone:
                ends, arrived = [*ends, pooled], [*arrived, for_pooled[first : first + rows]]
            grads = torch.autograd.grad(ends, [*leaves, part] if ctx.for_image else leaves, arrived)
            for total, grad in zip(totals, grads, strict=False):
                total.add_(grad)
            if for_image is not None:
                for_image[first : first + rows] = grads[-1]
        found = iter(totals)
        return None, None, None, for_image, *(None if leaf is None else next(found) for leaf in ctx.leaves)


def _computed(ctx: Any, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A leaf of the clips that come in; the output of the last convolution for them, as it is and pooled."""
    image = part = rows.detach().requires_grad_(ctx.for_image)
    for number, (conv, norm, pool) in enumerate(ctx.layers):
        scale, shift, weight, bias = ctx.leaves[4 * number : 4 * number + 4]
        if scale is not None:
            image = _AffineReLU.apply(image, scale, shift)
        x = F.conv2d(image, weight, bias, (1, conv.stride[0]), (0, int(conv.padding[0])))
        sign = torch.where(norm.weight.detach() < 0, -1.0, 1.0).to(x.dtype).view(1, -1, 1, 1)
        falling = pool > 1 and bool((sign < 0).any())
        image = pooled_in_time(x * sign, pool) * sign if falling else pooled_in_time(x, pool)
    return part, x, image


class _AffineReLU(torch.autograd.Function):
    """relu(scale · image + shift) a channel, in the type of `image`."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        out = _affine(image, scale, shift).relu_()
        ctx.save_for_backward(image, out, scale)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, arrived: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        image, out, scale = ctx.saved_tensors
        slope = torch.ops.aten.threshold_backward(arrived, out, 0)
        zero, one = torch.zeros_like(scale), torch.ones_like(scale)
        for_scale, for_shift = zero.clone(), zero.clone()
        for piece, values in zip(_pieces(slope), _pieces(image), strict=True):
            # the gradients of `_affine`, that of the image left out
            sums = torch.ops.aten.native_batch_norm_backward(
                piece, values, one, zero, one, None, None, False, 0.0, [False, True, True]
            )
            for_scale += sums[1]
            for_shift += sums[2]
        return _affine(slope, scale, zero), for_scale, for_shift


def _track(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """The running averages take a step, as `norm` itself would have had them do."""
    if norm.track_running_stats and norm.momentum is not None:
        for average, now in ((norm.running_mean, mean), (norm.running_var, variance)):
            if average is not None:
                average.lerp_(now, norm.momentum)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)


def _affine(image: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """scale · image + shift: evaluating batch norm is the quick way to it."""
    zero, one = torch.zeros_like(scale), torch.ones_like(scale)
    return F.batch_norm(image, zero, one, scale, shift, training=False, eps=0.0)


def _pieces(image: Tensor) -> list[Tensor]:
    """Images (1, C, 1, n) that make up (B, C, 1, T), short enough to add up their positions one by one."""
    if image.device.type != "cpu":
        return [image]
    return [piece for one in image.split(1) for piece in one.split(PIECE, dim=3)]


def _moments(x: Tensor, like: Tensor) -> list[tuple[int, Tensor, Tensor]]:
    """How many positions each piece of x has, their mean and variance."""
    zero, one = torch.zeros_like(like), torch.ones_like(like)
    # the statistics of batch norm alone: of its running averages nothing is taken over
    return [
        (piece.numel() // piece.shape[1], *torch.batch_norm_update_stats(piece, zero, one, 0.0))
        for piece in _pieces(x)
    ]


def _merged(moments: list[tuple[int, Tensor, Tensor]], like: Tensor) -> tuple[Tensor, Tensor, int]:
    """Mean and variance over all pieces (Chan, Golub & LeVeque 1979), and the number of their positions."""
    counts, means, variances = zip(*moments, strict=True)
    count = sum(counts)
    weights = (torch.tensor(counts, dtype=torch.float64, device=like.device) / count).unsqueeze(1)
    table = torch.stack(means).double()
    mean = (weights * table).sum(0)
    variance = (weights * (torch.stack(variances).double() + (table - mean).square())).sum(0)
    return mean.to(like.dtype), variance.to(like.dtype), count


def _rows(image: Tensor) -> int:
    return CPU_ROWS if image.device.type == "cpu" else -(-len(image) // PARTS)
