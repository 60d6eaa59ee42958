"""Contrastive losses: tell the row that belongs to you from all others. Each is a cross-entropy over similarities.

NT-Xent is the loss of SimCLR (Chen et al. 2020, arXiv 2002.05709, equation 1) and of CLMR (Spijkervet & Burgoyne
2021, arXiv 2103.09410). For the 2B views of B tracks, with s the cosine similarity and j(i) the other view of i,

    loss = mean over i of  −log( exp(s(i, j(i)) / τ) / Σ_{k ≠ i} exp(s(i, k) / τ) )

which is a cross-entropy over the rows of a (2B, 2B) matrix product. Beyond `base.BLOCK_NUMBERS` similarities it is
made in blocks of rows, so that memory is linear in B; nothing of B × B × D is ever made.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from ssl_music.errors import UserError
from ssl_music.losses.base import (
    at_least_float32,
    check_several,
    check_temperature,
    sum_over_rows,
    two_views,
    unit,
)


def nt_xent(a: Tensor, b: Tensor, temperature: float = 0.5, *, decoupled: bool = False) -> Tensor:
    """How badly each view tells its own other view from all other tracks; row i of `a` and `b` is one track.

    The default temperature is CLMR's. `decoupled` leaves the positive out of the denominator, which then runs over
    the 2B − 2 views of other tracks (Yeh et al. 2022, "Decoupled contrastive learning", arXiv 2110.06848): the
    gradient does not fade where the positive is already found, which helps small batches. Decoupled, the loss goes
    below 0.

    Shape: a (B, D), b (B, D) → ().

    >>> a = torch.eye(3)
    >>> round(nt_xent(a, a, temperature=0.1).item(), 4)
    0.0002
    >>> round(nt_xent(torch.ones(3, 8), torch.ones(3, 8)).item() - trivial_loss(3), 6)
    0.0
    """
    check_temperature(temperature, "nt_xent", "the CLMR paper takes 0.5")
    z = two_views(a, b)  # (2B, D)

    def of_block(rows: Tensor, z: Tensor, first: int) -> Tensor:
        own = torch.arange(first, first + len(rows), device=z.device)  # (R,)
        other = (own + len(z) // 2) % len(z)  # the other view stands B rows further, round the end
        logits = (rows @ z.T).div_(temperature)  # (R, 2B)
        with torch.no_grad():  # exp(−∞) has no gradient: not told to autograd, which would copy the block for it
            logits.scatter_(1, own[:, None], -math.inf)  # k ≠ i
            if decoupled:
                logits.scatter_(1, other[:, None], -math.inf)
        if decoupled:
            positive = (rows * z[other]).sum(dim=1) / temperature  # (R,)
            return (logits.logsumexp(dim=1) - positive).sum()
        return functional.cross_entropy(logits, other, reduction="sum")

    with torch.autocast(z.device.type, enabled=False):
        return sum_over_rows(of_block, z, z) / len(z)


def trivial_loss(pairs: int, *, decoupled: bool = False) -> float:
    """NT-Xent where every embedding is the same: ln(2B − 1), the loss of a guess among the 2B − 1 other views.

    Decoupled it is ln(2B − 2), for the positive is not among those counted.

    >>> round(trivial_loss(48), 3)
    4.554
    """
    check_several(pairs, "trivial_loss")
    return math.log(2 * pairs - 2 if decoupled else 2 * pairs - 1)


def info_nce(query: Tensor, key: Tensor, queue: Tensor, temperature: float = 0.2) -> Tensor:
    """How badly query i tells its own key i from all K keys of the queue; the other keys of the batch do not count.

    Equation 1 of MoCo (He et al. 2020, arXiv 1911.05722), over cosine similarities; the default temperature is MoCo
    v2's (Chen et al. 2020, arXiv 2003.04297, section 3). A guess costs ln(K + 1). Keys and queue come from the
    momentum encoder without gradient: see to it before.

    Shape: query (B, D), key (B, D), queue (K, D) → ().

    >>> axes = torch.eye(4)
    >>> round(info_nce(axes[:2], axes[:2], axes[2:]).item(), 4)
    0.0134
    >>> same = torch.ones(2, 4)
    >>> round(info_nce(same, same, torch.ones(9, 4)).item() - math.log(10), 6)
    0.0
    """
    check_temperature(temperature, "info_nce", "MoCo v2 takes 0.2")
    _check_pairs("info_nce", query, key)
    if queue.dim() != 2 or not len(queue) or queue.shape[1] != query.shape[1]:
        raise UserError(f"info_nce: a queue of shape (K, {query.shape[1]}) is wanted; came {tuple(queue.shape)}")
    query, key, queue = (unit(rows) for rows in at_least_float32(query, key, queue))
    with torch.autocast(query.device.type, enabled=False):
        own = (query * key).sum(dim=1, keepdim=True)  # (B, 1)
        logits = torch.cat([own, query @ queue.T], dim=1) / temperature  # (B, 1 + K)
    return functional.cross_entropy(logits, torch.zeros(len(query), dtype=torch.long, device=query.device))


def row_info_nce(query: Tensor, key: Tensor, temperature: float) -> Tensor:
    """How badly query i tells key i from the other keys of the batch, times 2τ.

    Function `ctr` in Algorithm 1 of MoCo v3 (Chen, Xie & He 2021, arXiv 2104.02057), over cosine similarities: logits
    q kᵀ / τ, their rows' cross-entropy against the diagonal, times 2τ. The method adds both directions:
    row_info_nce(q₁, k₂) + row_info_nce(q₂, k₁). Its published code takes τ = 1 for ResNet-50 and 0.2 for vision
    transformers. A guess costs 2τ ln B. Keys come from the momentum encoder without gradient: see to it before.

    Shape: query (B, D), key (B, D) → ().

    >>> same = torch.ones(8, 4)
    >>> round(row_info_nce(same, same, temperature=0.5).item() - math.log(8), 6)
    0.0
    """
    check_temperature(temperature, "row_info_nce", "MoCo v3 takes 1 for a ResNet")
    _check_pairs("row_info_nce", query, key)
    check_several(len(query), "row_info_nce")
    query, key = (unit(rows) for rows in at_least_float32(query, key))
    return _diagonal_cross_entropy(query / temperature, key) * (2 * temperature)


def bilinear_cross_entropy(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """How badly anchor i tells its own positive i from the other positives, by the similarity a W bᵀ.

    COLA (Saeed et al. 2021, arXiv 2010.10915, equations 1 and 2): W is learned and may turn one space into the other;
    lengths count, rows are not normalised. A guess costs ln B.

    Shape: a (B, D), b (B, E), weight (D, E) → ().

    >>> a, b = torch.eye(3), 5 * torch.eye(3)
    >>> round(bilinear_cross_entropy(a, b, torch.eye(3)).item(), 4)
    0.0134
    >>> round(bilinear_cross_entropy(a, b, torch.zeros(3, 3)).item() - math.log(3), 6)
    0.0
    """
    if a.dim() != 2 or b.dim() != 2 or len(a) != len(b) or weight.shape != (a.shape[1], b.shape[1]):
        came = f"{tuple(a.shape)}, {tuple(b.shape)} and {tuple(weight.shape)}"
        raise UserError(f"bilinear_cross_entropy: (B, D), (B, E) and a weight (D, E) are wanted; came {came}")
    check_several(len(a), "bilinear_cross_entropy")
    a, b, weight = at_least_float32(a, b, weight)
    with torch.autocast(a.device.type, enabled=False):
        turned = a @ weight  # (B, E)
    return _diagonal_cross_entropy(turned, b)


def latent_info_nce(predicted: Tensor, actual: Tensor) -> Tensor:
    """How badly the prediction of a latent tells it from every other latent of the batch.

    Contrastive predictive coding (van den Oord et al. 2018, arXiv 1807.03748, equation 4) for one distance k into the
    future: `predicted[b, s]` is W_k c of clip b at its s-th place, `actual[b, s]` the latent z that came k steps
    later, and the score is exp(zᵀ W_k c) (equation 3), neither normalised nor with a temperature. The negatives,
    which the paper draws from the proposal distribution p(x), are here all B·S − 1 other latents, of the same clip
    and of the others: its "mixed speaker" sampling, with nothing drawn. A guess costs ln(B·S).

    Shape: predicted (B, S, D), actual (B, S, D) → ().

    >>> latents = torch.eye(6).view(2, 3, 6)
    >>> round(latent_info_nce(5 * latents, latents).item(), 4)
    0.0331
    >>> round(latent_info_nce(torch.zeros(2, 3, 6), latents).item() - math.log(6), 6)
    0.0
    """
    if predicted.dim() != 3 or predicted.shape != actual.shape:
        came = f"{tuple(predicted.shape)} and {tuple(actual.shape)}"
        raise UserError(f"latent_info_nce: predicted and actual latents of shape (B, S, D) are wanted; came {came}")
    if predicted.shape[0] * predicted.shape[1] < 2:
        raise UserError("latent_info_nce compares latents: it wants 2 or more, in clips or in steps")
    predicted, actual = at_least_float32(predicted.flatten(0, 1), actual.flatten(0, 1))  # (B·S, D)
    return _diagonal_cross_entropy(predicted, actual)


def _diagonal_cross_entropy(rows: Tensor, columns: Tensor) -> Tensor:
    """Cross-entropy of the logits rows · columnsᵀ, where row i's class is column i: ()."""

    def of_block(block: Tensor, columns: Tensor, first: int) -> Tensor:
        own = torch.arange(first, first + len(block), device=columns.device)
        return functional.cross_entropy(block @ columns.T, own, reduction="sum")

    with torch.autocast(rows.device.type, enabled=False):
        return sum_over_rows(of_block, rows, columns) / len(rows)


def _check_pairs(who: str, query: Tensor, key: Tensor) -> None:
    if query.dim() != 2 or query.shape != key.shape or not len(query):
        came = f"{tuple(query.shape)} and {tuple(key.shape)}"
        raise UserError(f"{who}: queries and keys of shape (B, D) are wanted; came {came}")
