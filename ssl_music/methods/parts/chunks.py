"""Gradient caching: the embeddings of a large batch at the memory of a chunk, with the same gradient.

GradCache (Gao et al. 2021, "Scaling deep contrastive learning batch size under memory limited setup", arXiv
2101.06983, section 3): embeddings of all chunks first, without their activations; then the loss of the whole batch
and its gradient with respect to the embeddings; then chunk by chunk forward again, and backward from there. That is
what activation checkpointing does where a chunk is one checkpointed piece, so torch's is what runs here.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from ssl_music.encoders.streamed import NothingKept

Contexts = tuple[AbstractContextManager, AbstractContextManager]


def in_chunks(encoder: nn.Module, wave: Tensor, rows: int) -> Tensor:
    """What `encoder` makes of `wave`, `rows` rows at a time; the backward pass holds one chunk's activations.

    It costs a second forward pass. Random numbers (dropout) are the same in both. Batch norm sees one chunk at a
    time, so its statistics, and with them the gradients, are those of chunks; with other norms they are the batch's.

    Shape: wave (B, 1, T) → (B, D).

    >>> encoder = nn.Sequential(nn.Flatten(), nn.Linear(5, 3))
    >>> in_chunks(encoder, torch.zeros(7, 1, 5), 2).shape
    torch.Size([7, 3])
    """
    if len(wave) <= rows:
        return encoder(wave)
    if not torch.is_grad_enabled():
        return torch.cat([encoder(chunk) for chunk in wave.split(rows)])
    contexts = partial(_contexts, encoder)
    return torch.cat([_cached(encoder, chunk, contexts) for chunk in wave.split(rows)])  # (B, D)


def has_batch_norm(module: nn.Module) -> bool:
    """Whether what a row becomes hangs on the rows that go through `module` with it.

    >>> has_batch_norm(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    True
    """
    return any(isinstance(part, _BatchNorm) for part in module.modules())


def _cached(encoder: nn.Module, chunk: Tensor, contexts: Callable[[], Contexts]) -> Tensor:
    return checkpoint(encoder, chunk, use_reentrant=False, context_fn=contexts)


def _contexts(encoder: nn.Module) -> Contexts:
    """Around the first pass of a chunk, whose activations are let go, and around the second."""
    return NothingKept(), _Untracked(encoder)


class _Untracked(NothingKept):
    """Around the second pass: running averages stay as they are, since the first pass has moved them already.

    They move by nothing, in place of not being tracked: untracked, a norm keeps fewer tensors for its backward pass
    than it did the first time, and torch's checkpoint counts them.
    """

    def __init__(self, encoder: nn.Module) -> None:
        self.norms = [norm for norm in encoder.modules() if isinstance(norm, _BatchNorm) and norm.track_running_stats]
        self.momenta = [norm.momentum for norm in self.norms]
        self.counts: list[Tensor | None] = []

    def __enter__(self) -> None:
        super().__enter__()
        counts = [norm.num_batches_tracked for norm in self.norms]
        self.counts = [None if count is None else count.clone() for count in counts]
        for norm in self.norms:
            norm.momentum = 0.0

    def __exit__(self, *_: object) -> None:
        for norm, momentum, count in zip(self.norms, self.momenta, self.counts, strict=True):
            norm.momentum = momentum
            if norm.num_batches_tracked is not None and count is not None:
                norm.num_batches_tracked.copy_(count)
        super().__exit__()
