"""What the losses share: their checks, at least float32, and sums over rows that hold one block of rows at a time.

A loss of N rows against M columns needs N × M similarities and as many for each step of their softmax. Made in blocks
of rows, each under a gradient checkpoint (Chen et al. 2016, "Training deep nets with sublinear memory cost", arXiv
1604.06174), the forward and the backward pass hold one block: the similarities of a block are made once more where
their gradient is wanted, for a third more arithmetic, and memory is linear in N + M.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ssl_music.errors import UserError

BLOCK_NUMBERS = 2**24
"""Similarities in one block: 64 MiB in float32. Up to 4096 × 4096 of them are one block, without a checkpoint.

Not fewer: blocks below 32 MiB come from malloc's heap and not from pages of their own, and 32,768 rows in blocks of
16 MiB were seen to fragment it to 8 GiB, where blocks of 64 MiB take 0.35 GiB."""


def sum_over_rows(of_block: Callable[[Tensor, Tensor, int], Tensor], rows: Tensor, columns: Tensor) -> Tensor:
    """Σ of_block(some rows, all columns, number of the first of these rows), one block of rows at a time.

    `of_block` draws nothing at random and is run twice for each block where gradients flow.

    Shape: rows (N, D), columns (M, D), of_block → () ⇒ ().

    >>> z = torch.ones(5, 2)
    >>> sum_over_rows(lambda block, columns, first: (block @ columns.T).sum(), z, z)
    tensor(50.)
    """
    size = max(1, BLOCK_NUMBERS // max(1, len(columns)))
    if len(rows) <= size:
        return of_block(rows, columns, 0)
    sums = [
        checkpoint(of_block, block, columns, number * size, use_reentrant=False, preserve_rng_state=False)
        for number, block in enumerate(rows.split(size))
    ]
    return torch.stack(sums).sum()


def at_least_float32(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All in one type: the widest of them, and float32 where that is half precision.

    >>> at_least_float32(torch.ones(2).half(), torch.ones(2).bfloat16())[0].dtype
    torch.float32
    """
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return tuple(tensor.to(dtype) for tensor in tensors)


def unit(rows: Tensor) -> Tensor:
    """Every row at length 1; a row of zeros stays zero."""
    return functional.normalize(rows, dim=-1)


def two_views(a: Tensor, b: Tensor) -> Tensor:
    """Both views under each other, every row of length 1, at least in float32: (2B, D)."""
    if a.dim() != 2 or a.shape != b.shape:
        raise UserError(f"two views of shape (B, D) are wanted; came {tuple(a.shape)} and {tuple(b.shape)}")
    check_several(len(a), "a contrastive loss")
    return unit(torch.cat(at_least_float32(a, b)))


def check_several(tracks: int, who: str) -> None:
    if tracks < 2:
        raise UserError(f"{who} compares tracks: it wants 2 or more in a batch, and {tracks} came")


def check_temperature(temperature: float, who: str, usual: str) -> None:
    if not temperature > 0:
        raise UserError(f"{who}: temperature {temperature}; it must be above 0 ({usual})")
