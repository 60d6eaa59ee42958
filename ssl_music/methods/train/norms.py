"""Batch norm over the batches of all processes: `trainer: {sync_batchnorm: true}`, on any device.

torch's own SyncBatchNorm runs on GPUs only, so that nothing of it could be tried without two of them; this one is
plain torch, and two processes on a CPU show that it is exact (tests/test_ranks.py).
"""

from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning.plugins.layer_sync import LayerSync
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_music.methods.parts.ranks import of_all_ranks


class SyncedNorms(LayerSync):
    """Lightning's plugin that puts a `SyncedNorm` in place of every batch norm while a training lasts."""

    def apply(self, model: nn.Module) -> nn.Module:
        """Every batch norm inside `model`, exchanged in place; weights and running averages stay the same tensors."""
        return _exchanged(model, lambda norm: SyncedNorm(norm) if type(norm) is not SyncedNorm else norm)

    def revert(self, model: nn.Module) -> nn.Module:
        """The norms of before, with what was learnt."""
        return _exchanged(model, lambda norm: norm.reverted() if isinstance(norm, SyncedNorm) else norm)


class SyncedNorm(_BatchNorm):
    """Batch norm with the mean and the variance of the whole batch, wherever its rows are.

    Each process sends its own mean and sum of squared deviations; put together they are those of all rows (Chan,
    Golub & LeVeque 1983, "Algorithms for computing the sample variance", equation 2.1), without the cancellation of
    a difference of squares. The gradient goes the same way back: see `of_all_ranks`.

    Shape: (B, C), (B, C, T) or (B, C, H, W) → the same.

    >>> norm = nn.BatchNorm1d(3)
    >>> wave = torch.randn(5, 3)
    >>> bool(torch.allclose(SyncedNorm(norm)(wave), norm(wave)))  # one process
    True
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        _hand_over(norm, self)
        self._before = [norm]  # in a list it is no submodule: its weights are ours

    def reverted(self) -> _BatchNorm:
        """The norm that this one stands for."""
        _hand_over(self, self._before[0])
        return self._before[0]

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions: the norm of before has been given the same."""

    def forward(self, input: Tensor) -> Tensor:
        together = distributed.is_available() and distributed.is_initialized()
        if not (self.training and together):
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            rows = input.to(torch.promote_types(input.dtype, torch.float32))
            mean, variance, count = self._of_all(rows)
            self._track(mean.detach(), variance.detach() * count / (count - 1))
            shape = (1, -1, *[1] * (rows.dim() - 2))
            scale = (variance + self.eps).rsqrt() * (self.weight if self.affine else 1.0)
            shift = (self.bias if self.affine else 0.0) - mean * scale
            return torch.addcmul(shift.view(shape), rows, scale.view(shape)).to(input.dtype)

    def _of_all(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean (C,), variance (C,) and number of values a channel, over all processes."""
        over = [0, *range(2, rows.dim())]
        own_mean = rows.mean(over)  # (C,)
        deviation = (rows - own_mean.view(1, -1, *[1] * (rows.dim() - 2))).square().sum(over)  # (C,)
        count = rows.new_full((1,), rows.numel() / self.num_features)
        means, deviations, counts = of_all_ranks(torch.cat([own_mean, deviation, count])[None, None])[0].split(
            [self.num_features, self.num_features, 1], dim=1
        )  # (world size, C), the same, (world size, 1)
        total = counts.sum()
        mean = (counts * means).sum(0) / total
        variance = (deviations + counts * (means - mean).square()).sum(0) / total
        return mean, variance, total.detach()

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


def _hand_over(giver: _BatchNorm, taker: _BatchNorm) -> None:
    """Weights and running averages, as the same tensors."""
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        setattr(taker, name, getattr(giver, name))
    taker.train(giver.training)


def _exchanged(module: nn.Module, exchange: Callable[[Any], nn.Module]) -> nn.Module:
    for name, child in list(module.named_children()):
        setattr(module, name, exchange(child) if isinstance(child, _BatchNorm) else _exchanged(child, exchange))
    return module
