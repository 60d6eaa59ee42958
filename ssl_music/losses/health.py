"""What tells a healthy embedding from a collapsed one: numbers to watch, computed in float64 and without gradient."""

import math

import torch
from torch import Tensor

from ssl_music.errors import UserError
from ssl_music.losses.base import check_several, sum_over_rows, two_views, unit


def similarity_statistics(a: Tensor, b: Tensor) -> tuple[float, float]:
    """Mean cosine similarity of two views of one track, and of views of different tracks; healthy when far apart.

    The mean over all pairs comes from |Σ z|² instead of the pairs: memory is linear in B.

    Shape: a (B, D), b (B, D) → two numbers.

    >>> similarity_statistics(torch.eye(4), torch.eye(4))
    (1.0, 0.0)
    """
    z = two_views(a.detach(), b.detach()).double()  # (2B, D)
    own = (z[: len(a)] * z[len(a) :]).sum().item()
    total = z.sum(dim=0).square().sum().item()
    itself = z.square().sum().item()
    return own / len(a), (total - itself - 2 * own) / (2 * len(a) * (2 * len(a) - 2))


def effective_rank(z: Tensor) -> float:
    """How many dimensions the rows of `z` fill: exp of the entropy of the normalised singular values.

    Roy & Vetterli 2007, "The effective rank: a measure of effective dimensionality". Between 1 (all rows parallel)
    and min(N, D) (all directions equally strong); 0 where every row is zero.

    Shape: z (N, D) → a number.

    >>> round(effective_rank(torch.eye(5)), 6)
    5.0
    >>> round(effective_rank(torch.ones(5, 3)), 6)
    1.0
    """
    if z.dim() != 2:
        raise UserError(f"effective_rank wants embeddings of shape (N, D); came {tuple(z.shape)}")
    values = torch.linalg.svdvals(z.detach().double())  # (min(N, D),)
    total = values.sum()
    if total == 0:
        return 0.0
    return torch.special.entr(values / total).sum().exp().item()


def alignment(a: Tensor, b: Tensor) -> float:
    """Mean squared distance of two views of one track on the unit sphere: 0 where they are the same, 2 if unrelated.

    Wang & Isola 2020, "Understanding contrastive representation learning through alignment and uniformity on the
    hypersphere", arXiv 2005.10242, section 4.1, with α = 2.

    Shape: a (B, D), b (B, D) → a number.

    >>> alignment(torch.eye(4), 3 * torch.eye(4)), alignment(torch.eye(4), torch.eye(4).roll(1, 0))
    (0.0, 2.0)
    """
    first, second = two_views(a.detach().double(), b.detach().double()).chunk(2)
    return (first - second).square().sum(dim=1).mean().item()


def uniformity(z: Tensor) -> float:
    """How evenly tracks lie on the unit sphere: log of the mean of exp(−2 ‖x − y‖²) over pairs; lower is more even.

    Wang & Isola 2020, arXiv 2005.10242, section 4.1, with t = 2. 0 where all are the same, all zeros too; near
    −4 + 8 / D for many directions drawn at random, whose squared distances have mean 2 and variance 4 / D. Made in
    blocks of rows: memory is linear in N.

    Shape: z (N, D) → a number.

    >>> uniformity(torch.ones(5, 3)), uniformity(torch.eye(5))
    (0.0, -4.0)
    """
    if z.dim() != 2:
        raise UserError(f"uniformity wants embeddings of shape (N, D); came {tuple(z.shape)}")
    check_several(len(z), "uniformity")

    def of_block(rows: Tensor, z: Tensor, first: int) -> Tensor:
        lengths = z.square().sum(dim=1)  # (N,), 1 but for rows of zeros
        squared = lengths[first : first + len(rows), None] + lengths - 2 * rows @ z.T  # (R, N)
        near = squared.clamp_(min=0).mul_(-2).exp_()
        return near.sum() - near.diagonal(first).sum()

    with torch.no_grad():
        z = unit(z.double())
        return math.log(sum_over_rows(of_block, z, z).item() / (len(z) * (len(z) - 1)))
