"""Losses without negatives: two views shall be alike, and something other than negatives keeps them from collapse.

In BYOL it is the method (a predictor, a momentum encoder, a stop-gradient); in VICReg the loss's own second and third
term.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ssl_music.errors import UserError
from ssl_music.losses.base import at_least_float32, check_several, unit


def byol_regression(p: Tensor, z: Tensor) -> Tensor:
    """Squared distance of unit vectors, prediction p and target z: mean of 2 − 2 cos(p, z), from 0 to 4.

    BYOL (Grill et al. 2020, arXiv 2006.07733, equation 2). The target comes from the momentum encoder without
    gradient: see to it before. The method adds both directions. Collapsed embeddings cost 0, so this loss never
    tells of collapse; unrelated ones cost 2.

    Shape: p (B, D), z (B, D) → ().

    >>> byol_regression(torch.eye(3), 7 * torch.eye(3)), byol_regression(torch.eye(3), -torch.eye(3))
    (tensor(0.), tensor(4.))
    """
    if p.dim() != 2 or p.shape != z.shape or not len(p):
        came = f"{tuple(p.shape)} and {tuple(z.shape)}"
        raise UserError(f"byol_regression: predictions and targets of shape (B, D) are wanted; came {came}")
    p, z = (unit(rows) for rows in at_least_float32(p, z))
    return 2 - 2 * (p * z).sum(dim=1).mean()


class VicregTerms(NamedTuple):
    """What `vicreg` gives: the loss, which is minimised, and its three terms before their weights; each ()."""

    loss: Tensor
    invariance: Tensor
    variance: Tensor
    covariance: Tensor


def vicreg(
    a: Tensor,
    b: Tensor,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    epsilon: float = 1e-4,
) -> VicregTerms:
    """Variance-invariance-covariance regularisation (Bardes et al. 2022, arXiv 2105.04906, equations 1 to 6).

    Invariance is the mean squared difference of the views; variance, how far each dimension's standard deviation over
    the batch stays below 1; covariance, the squares off the diagonal of the covariance matrix over D; the latter two
    summed over both views. Weights and ε are the paper's (section 4.2). Where the paper and its code differ: equation
    5 sums the invariance over the dimensions, while its code, for which the weights were chosen, takes the mean, and
    so do we; its code halves the variance term, which equation 6 does not, and neither do we: `variance=12.5` is its
    code's 25. Where all embeddings are the same the loss is 2 · variance · (1 − √ε): 49.5.

    Batch and covariance matrix are held, (B, D) and (D, D), never their product.

    Shape: a (B, D), b (B, D) → () each.

    >>> same = torch.ones(4, 8)
    >>> [round(term.item(), 4) for term in vicreg(same, same)]
    [49.5, 0.0, 1.98, 0.0]
    >>> a = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    >>> [round(term.item(), 4) for term in vicreg(a, a)]
    [8.0, 0.0, 0.0, 8.0]
    """
    if a.dim() != 2 or a.shape != b.shape:
        raise UserError(f"vicreg: two views of shape (B, D) are wanted; came {tuple(a.shape)} and {tuple(b.shape)}")
    check_several(len(a), "vicreg")
    a, b = at_least_float32(a, b)
    alike = functional.mse_loss(a, b)
    spread, apart = _missing_spread(a, epsilon) + _missing_spread(b, epsilon), _covariances(a) + _covariances(b)
    return VicregTerms(invariance * alike + variance * spread + covariance * apart, alike, spread, apart)


def _missing_spread(z: Tensor, epsilon: float) -> Tensor:
    """Equations 1 and 2: the mean over dimensions of max(0, 1 − √(Var + ε)): ()."""
    return functional.relu(1 - (z.var(dim=0) + epsilon).sqrt()).mean()


def _covariances(z: Tensor) -> Tensor:
    """Equations 3 and 4: the squares off the diagonal of the covariance matrix, over D: ()."""
    centred = z - z.mean(dim=0)  # (B, D)
    with torch.autocast(z.device.type, enabled=False):
        matrix = centred.T @ centred / (len(z) - 1)  # (D, D)
    with torch.no_grad():  # 0² has no gradient: no copy of the matrix for it
        matrix.fill_diagonal_(0)
    return matrix.square().sum() / z.shape[1]
