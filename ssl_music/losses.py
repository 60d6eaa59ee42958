"""Pure functions of embeddings: the contrastive loss, and what tells a healthy embedding from a collapsed one.

NT-Xent is the loss of SimCLR (Chen et al. 2020, arXiv 2002.05709, equation 1) and of CLMR (Spijkervet & Burgoyne
2021, arXiv 2103.09410). For the 2B views of B tracks, with s the cosine similarity and j(i) the other view of i,

    loss = mean over i of  −log( exp(s(i, j(i)) / τ) / Σ_{k ≠ i} exp(s(i, k) / τ) )

which is a cross-entropy over the rows of one (2B, 2B) matrix product: memory is linear in 2B × 2B, and nothing of
B × B × D is ever made.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from ssl_music.errors import UserError


def nt_xent(a: Tensor, b: Tensor, temperature: float = 0.5) -> Tensor:
    """How badly each view tells its own other view from all other tracks; row i of `a` and `b` is one track.

    The default temperature is CLMR's. Half precision is raised to float32 inside, under autocast too.

    Shape: a (B, D), b (B, D) → ().

    >>> a = torch.eye(3)
    >>> round(nt_xent(a, a, temperature=0.1).item(), 4)
    0.0002
    >>> round(nt_xent(torch.ones(3, 8), torch.ones(3, 8)).item() - trivial_loss(3), 6)
    0.0
    """
    if not temperature > 0:
        raise UserError(f"nt_xent: temperature {temperature}; it must be above 0 (the CLMR paper takes 0.5)")
    z = _unit_rows(a, b)  # (2B, D)
    with torch.autocast(z.device.type, enabled=False):
        logits = z @ z.T / temperature  # (2B, 2B)
    logits = logits.fill_diagonal_(-math.inf)  # k ≠ i
    return functional.cross_entropy(logits, _other_view(len(a), z.device))


def trivial_loss(pairs: int) -> float:
    """NT-Xent where every embedding is the same: ln(2B − 1), the loss of a guess among the 2B − 1 other views.

    >>> round(trivial_loss(48), 3)
    4.554
    """
    return math.log(2 * pairs - 1)


def similarity_statistics(a: Tensor, b: Tensor) -> tuple[float, float]:
    """Mean cosine similarity of two views of one track, and of views of different tracks; healthy when far apart.

    The mean over all pairs comes from |Σ z|² instead of the pairs: memory is linear in B.

    Shape: a (B, D), b (B, D) → two numbers.

    >>> similarity_statistics(torch.eye(4), torch.eye(4))
    (1.0, 0.0)
    """
    z = _unit_rows(a, b).double()  # (2B, D)
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


def _unit_rows(a: Tensor, b: Tensor) -> Tensor:
    """Both views under each other, every row of length 1, at least in float32: (2B, D)."""
    if a.dim() != 2 or a.shape != b.shape:
        raise UserError(f"two views of shape (B, D) are wanted; came {tuple(a.shape)} and {tuple(b.shape)}")
    if len(a) < 2:
        raise UserError("a contrastive loss compares tracks: it wants 2 or more in a batch, and 1 came")
    z = torch.cat([a, b])
    return functional.normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=1)


def _other_view(pairs: int, device: torch.device) -> Tensor:
    """Row i's other view stands B rows further, round the end: (2B,)."""
    return torch.arange(2 * pairs, device=device).roll(pairs)
