"""What tells a healthy embedding from a collapsed one: numbers to watch, computed in float64 and without gradient."""

import torch
from torch import Tensor

from ssl_music.errors import UserError
from ssl_music.losses.base import two_views


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
