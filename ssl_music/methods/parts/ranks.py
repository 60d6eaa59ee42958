"""The whole batch on every process, with the gradient of one process."""

from typing import Any

import torch
from torch import Tensor, distributed


def of_all_ranks(rows: Tensor) -> Tensor:
    """The rows of every process beside each other, with the gradient that one process would have had.

    Each rank computes the loss of the whole batch from this. The backward pass adds up what every rank wants of a
    row, which is world size times the gradient of that row, and DDP's mean over ranks takes that factor away again.
    So nothing is rescaled by the world size, here or in the loss.

    A method with batch norms behind its encoder gathers the embeddings, and lets every rank run projector and loss on
    the whole batch: then those norms see what they would see in one process.

    Shape: rows (V, B, D) → (V, world size · B, D).

    >>> of_all_ranks(torch.ones(2, 3, 4)).shape  # one process
    torch.Size([2, 3, 4])
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return rows
    return _AllGather.apply(rows)


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        everyone = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
        distributed.all_gather(everyone, rows.contiguous())
        return torch.cat(everyone, dim=1)  # (V, world size · B, D)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total.chunk(distributed.get_world_size(), dim=1)[distributed.get_rank()]
