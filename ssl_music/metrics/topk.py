"""Whether the true tags of an item are among its K best scored ones.

Tags of equal score at the edge of the top K are taken in a random order, and the share of orders that hit counts: so
neither the order of the columns nor a prediction that is the same for all tags earns anything but chance. Items
without a tag are left out; an item with more than K tags cannot have all of them in the top K.
"""

import numpy as np
from scipy.special import gammaln

from ssl_music.errors import UserError
from ssl_music.metrics.base import targets_and_scores, weighted_mean, weighting


def multi_tag_accuracy(
    targets: np.ndarray, scores: np.ndarray, k: int, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """MTA_K: the share of items that have *all* their tags among their k best scored. Shape: (N, K) → (), or (R,).

    >>> float(multi_tag_accuracy(np.array([[1, 1, 0], [1, 0, 1]]), np.array([[0.9, 0.8, 0.1], [0.9, 0.8, 0.1]]), 2))
    0.5
    """
    targets, scores = targets_and_scores(targets, scores)
    above, tied, slots, ties = _top(scores, k)
    below = (targets * ~(above | tied)).sum(axis=1)
    edge = (targets * tied).sum(axis=1)
    hit = np.where(below == 0, np.exp(_log_ways(ties - edge, slots - edge) - _log_ways(ties, slots)), 0.0)
    return weighted_mean(np.where(targets.any(axis=1), hit, np.nan), weighting(weights, len(targets)))


def soft_multi_tag_accuracy(
    targets: np.ndarray, scores: np.ndarray, k: int, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """MSTA_K: the share of items that have *at least one* of their tags there. Shape: (N, K) → (), or (R,).

    >>> scores = np.array([[0.9, 0.8, 0.1], [0.9, 0.8, 0.1]])
    >>> float(soft_multi_tag_accuracy(np.array([[1, 1, 0], [0, 0, 1]]), scores, 2))
    0.5
    """
    targets, scores = targets_and_scores(targets, scores)
    above, tied, slots, ties = _top(scores, k)
    edge = (targets * tied).sum(axis=1)
    missed = np.exp(_log_ways(ties - edge, slots) - _log_ways(ties, slots))
    hit = np.where((targets * above).any(axis=1), 1.0, 1.0 - missed)
    return weighted_mean(np.where(targets.any(axis=1), hit, np.nan), weighting(weights, len(targets)))


def _top(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Surely in the top k, at its edge, (N, K); places left at the edge, tags that contend for them, (N,)."""
    tags = scores.shape[1]
    if not 1 <= k <= tags:
        raise UserError(f"k must be from 1 to the {tags} tags there are; came {k}")
    edge = np.partition(scores, tags - k, axis=1)[:, tags - k, None]
    above, tied = scores > edge, scores == edge
    return above, tied, k - above.sum(axis=1), tied.sum(axis=1)


def _log_ways(of: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Logarithm of the binomial coefficient: of hundreds of tied tags it would overflow. −∞ where there is no way."""
    possible = (chosen >= 0) & (chosen <= of)
    chosen = np.where(possible, chosen, 0)
    return np.where(possible, gammaln(of + 1.0) - gammaln(chosen + 1.0) - gammaln(of - chosen + 1.0), -np.inf)
