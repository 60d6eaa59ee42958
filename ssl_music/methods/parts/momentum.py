"""A second network that follows the first: the momentum encoder of MoCo, the target of BYOL, a mean of weights."""

import copy
import math

import torch
from torch import Tensor, nn

from ssl_music.methods.parts.chunks import in_chunks
from ssl_music.methods.parts.ranks import of_all_ranks


def momentum_copy(module: nn.Module) -> nn.Module:
    """The same weights again, without gradient: only `follow` moves them."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def follow(target: nn.Module, source: nn.Module, decay: float, *, buffers: bool = True) -> None:
    """Moves every weight of `target`, in place, to decay · itself + (1 − decay) · that of `source`.

    He et al. 2020, arXiv 1911.05722, equation 2. Buffers are copied; without `buffers` they are left alone: right for
    a network that runs in training mode, whose batch norms keep running statistics of their own activations. Weights
    in half precision (not: under autocast) lose steps of less than a part in 256, and stay behind.

    >>> target, source = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.constant_(target.weight, 1.0), nn.init.constant_(source.weight, 2.0)
    >>> follow(target, source, 0.9)
    >>> round(target.weight.item(), 6)
    1.1
    """
    for mine, theirs in zip(target.parameters(), source.parameters(), strict=True):
        mine.lerp_(theirs, 1 - decay)
    if buffers:
        for ours, given in zip(target.buffers(), source.buffers(), strict=True):
            ours.copy_(given)


@torch.no_grad()
def momentum_views(encoder: nn.Module, projector: nn.Module, waves: Tensor, rows: int) -> list[Tensor]:
    """What momentum copies of encoder and projector make of both views, `rows` at a time through the encoder.

    The projector sees the views one by one, each of the whole batch on all ranks, for its batch norms.

    Shape: waves (2B, 1, T) → two of (world size · B, P).
    """
    views = of_all_ranks(torch.stack(in_chunks(encoder, waves, rows).chunk(2)))  # (2, world size · B, D)
    return [projector(view) for view in views]


@torch.no_grad()
def drift(target: nn.Module, source: nn.Module) -> float:
    """How far the weights of the two lie apart, |target − source| / |source| over all of them together.

    >>> layer = nn.Linear(2, 2)
    >>> drift(momentum_copy(layer), layer)
    0.0
    """
    pairs = list(zip(target.parameters(), source.parameters(), strict=True))
    apart = torch.stack([(mine - theirs).double().square().sum() for mine, theirs in pairs]).sum()
    size = torch.stack([theirs.double().square().sum() for _, theirs in pairs]).sum()
    return (apart / size).sqrt().item()


def raised(decay: float, progress: float) -> float:
    """`decay` on its way to 1 along a cosine over the run: 1 − (1 − decay) · (cos(π · progress) + 1) / 2.

    BYOL (Grill et al. 2020, arXiv 2006.07733, section 3.3), and MoCo v3 after it. Progress goes from 0 to 1.

    >>> [round(raised(0.996, progress), 6) for progress in (0, 0.5, 1)]
    [0.996, 0.998, 1.0]
    """
    return 1 - (1 - decay) * (math.cos(math.pi * progress) + 1) / 2
