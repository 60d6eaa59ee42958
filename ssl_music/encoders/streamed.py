"""Convolution – batch norm – ReLU – max-pooling, a few clips at a time: training without keeping the activations.

Batch norm couples the clips of a batch by two numbers a channel only, mean and variance. So a block can be computed
for a few clips at a time where these two are *results* of it, beside the pooled output of the convolution:

    x = convolution(image),  pooled = maximum of x,  mean and variance of x       only these three are kept
    image of the next block = relu(scale · pooled + shift),  scale = γ / √(variance + ε),  shift = β - scale · mean

(Norm and ReLU are monotonous, so the maximum may come first; where γ < 0 the minimum does.) autograd differentiates
the second line. For the first, the backward pass computes x anew, clips by clips, and adds what arrives for mean and
variance to its gradient: ∂mean/∂x = 1/N, ∂variance/∂x = 2 (x - mean)/N. The results, running statistics included,
are those of the plain blocks but for rounding.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ssl_music.encoders.layers import pooled_in_time
from ssl_music.errors import UserError

#: clips at a time: what fits the cache of a CPU; elsewhere the batch in so many parts
CPU_ROWS, PARTS = 2, 8


class Layer(NamedTuple):
    """A convolution, the norm after it and the length of the max-pooling, all along time."""

    conv: nn.Conv1d
    norm: nn.Module
    pool: int


def streamed(layers: list[Layer], wave: Tensor) -> Tensor:
    """What `layers` make of `wave` in training mode, no activation kept but the pooled ones.

    Those of the first layer are not kept either, if it does not pool: long as they are, they are computed quickly.

    Shape: wave (B, 1, 1, T) → (B, C, 1, T').

    >>> layers = [Layer(nn.Conv1d(1, 4, 3), nn.BatchNorm2d(4), 1), Layer(nn.Conv1d(4, 8, 3), nn.BatchNorm2d(8), 5)]
    >>> streamed(layers, torch.randn(3, 1, 1, 24)).shape
    torch.Size([3, 8, 1, 4])
    """
    image, pending, tensors = wave, list[Layer](), list[Tensor | None]()
    affine: tuple[Tensor | None, Tensor | None] = (None, None)
    for layer in layers:
        norm = layer.norm
        if type(norm) is not nn.BatchNorm2d or norm.momentum is None:
            raise UserError(
                f"checkpointing knows batch norm of one device with a momentum; came {norm}: leave checkpointing away"
            )
        pending.append(layer)
        tensors += [*affine, layer.conv.weight.unsqueeze(2), layer.conv.bias]
        pooled, mean, variance = _Streamed.apply(pending, image, *tensors)
        scale = norm.weight * (variance + norm.eps).rsqrt()
        affine = (scale, norm.bias - scale * mean)
        if layer is not layers[0] or layer.pool > 1 or len(layers) == 1:
            image, pending, tensors = pooled, [], []
    return F.relu(_affine(image, *affine), inplace=True)


def rows_at_once(network: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """`network(image)`, computed for as many rows at a time as `streamed` takes."""
    return torch.cat([network(part) for part in image.split(_rows(image))])


class _Streamed(torch.autograd.Function):
    """(layers, image, then scale, shift, weight, bias of every layer) → pooled, mean and variance of the last one."""

    @staticmethod
    def forward(ctx: Any, layers: list[Layer], image: Tensor, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        norm, kept, count = layers[-1].norm, [], 0
        mean = square = zero = torch.zeros_like(norm.weight)
        for part in image.split(_rows(image)):
            x, pooled = _computed(layers, part, tensors)
            kept.append(pooled)
            part_mean, part_variance = torch.batch_norm_update_stats(x, zero, zero.clone(), 0.0)
            # Chan's formula: the squares of deviations from the common mean
            added = x.numel() // x.shape[1]
            step, share = part_mean - mean, added / (count + added)
            square = square + added * part_variance + count * share * step.square()
            mean, count = mean + share * step, count + added
        variance = square / count
        if norm.track_running_stats:
            norm.num_batches_tracked += 1
            norm.running_mean.lerp_(mean, norm.momentum)
            norm.running_var.lerp_(variance * (count / max(1, count - 1)), norm.momentum)
        device = image.device.type
        ctx.layers, ctx.count = list(layers), count
        ctx.autocast = (device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device))
        ctx.save_for_backward(image, mean, *tensors)
        return torch.cat(kept), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, for_pooled: Tensor, for_mean: Tensor, for_variance: Tensor) -> tuple[Any, ...]:
        image, mean, *tensors = ctx.saved_tensors
        slope = 2 * for_variance / ctx.count
        offset = for_mean / ctx.count - slope * mean
        leaves = [None if tensor is None else tensor.detach().requires_grad_() for tensor in tensors]
        known = [leaf for leaf in leaves if leaf is not None]
        totals = [torch.zeros_like(leaf) for leaf in known]
        for_image = torch.empty_like(image) if ctx.needs_input_grad[1] else None
        first = 0
        for rows, arrived in zip(image.split(_rows(image)), for_pooled.split(_rows(image)), strict=True):
            part = rows.detach().requires_grad_(for_image is not None)
            with torch.enable_grad(), torch.autocast(*ctx.autocast, cache_enabled=False):
                x, pooled = _computed(ctx.layers, part, leaves)
            grads = torch.autograd.grad(
                [pooled, x],
                [*known, part] if for_image is not None else known,
                [arrived, _affine(x.detach(), slope, offset)],
            )
            for total, grad in zip(totals, grads, strict=False):
                total.add_(grad)
            if for_image is not None:
                for_image[first : first + len(part)] = grads[-1]
                first += len(part)
        found = iter(totals)
        return None, for_image, *(None if leaf is None else next(found) for leaf in leaves)


def _computed(layers: list[Layer], image: Tensor, tensors: Any) -> tuple[Tensor, Tensor]:
    """Output of the last convolution, as it is and pooled."""
    for number, (conv, norm, pool) in enumerate(layers):
        scale, shift, weight, bias = tensors[4 * number : 4 * number + 4]
        if scale is not None:
            image = F.relu(_affine(image, scale, shift), inplace=True)
        x = F.conv2d(image, weight, bias, (1, conv.stride[0]), (0, int(conv.padding[0])))
        image = x if pool == 1 else _pooled(x, norm, pool)
    return x, image


def _pooled(x: Tensor, norm: nn.Module, pool: int) -> Tensor:
    sign = torch.where(norm.weight.detach() < 0, -1.0, 1.0).to(x.dtype).view(1, -1, 1, 1)
    return pooled_in_time(x * sign, pool) * sign if (sign < 0).any() else pooled_in_time(x, pool)


def _affine(image: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """scale · image + shift a channel, in the type of `image`: evaluating batch norm is the quick way to it."""
    zero, one = torch.zeros_like(scale), torch.ones_like(scale)
    return F.batch_norm(image, zero, one, scale, shift, training=False, eps=0.0)


def _rows(image: Tensor) -> int:
    return CPU_ROWS if image.device.type == "cpu" else -(-len(image) // PARTS)
