"""How well scores rank: the areas under the ROC and the precision-recall curve, per tag and over all pairs."""

import numpy as np
from scipy.sparse import csr_array

from ssl_music.metrics import base
from ssl_music.metrics.base import targets_and_scores, weighting


def roc_auc(targets: np.ndarray, scores: np.ndarray, *, weights: np.ndarray | None = None) -> np.ndarray:
    """Area under the ROC curve: how often a positive item scores above a negative one; a tie counts half.

    That is the Mann-Whitney statistic: Hanley & McNeil, Radiology 143, 1982. Shape: (N, K), (N, K) → (K,), or (R, K)
    with weights (R, N).

    >>> roc_auc(np.array([[0], [0], [1], [1]]), np.array([[0.1], [0.4], [0.35], [0.8]]))
    array([0.75])
    """
    return ranking_scores(targets, scores, weights=weights)[0]


def average_precision(targets: np.ndarray, scores: np.ndarray, *, weights: np.ndarray | None = None) -> np.ndarray:
    """PR-AUC as average precision: the sum over thresholds of precision times the recall gained there.

    Not interpolated (trapezoids under a precision-recall curve are too optimistic: Davis & Goadrich, ICML 2006);
    items of equal score share one threshold. Shape: (N, K), (N, K) → (K,), or (R, K) with weights (R, N).

    >>> average_precision(np.array([[0], [0], [1], [1]]), np.array([[0.1], [0.4], [0.35], [0.8]]))
    array([0.8333])
    """
    return ranking_scores(targets, scores, weights=weights)[1]


def ranking_scores(
    targets: np.ndarray, scores: np.ndarray, *, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """`roc_auc` and `average_precision` from one sorting, for bootstraps that want both."""
    targets, scores = targets_and_scores(targets, scores)
    weights = weighting(weights, len(targets))
    orders = np.argsort(-scores, axis=0, kind="stable")
    rankings = [(targets[o, tag] > 0, scores[o, tag], o) for tag, o in enumerate(orders.T)]
    areas = _areas_of(rankings, weights)
    return areas[0], areas[1]


def micro_ranking_scores(
    targets: np.ndarray, scores: np.ndarray, *, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """ROC-AUC and average precision of all pairs of an item and a tag in one ranking.

    It wants scores that are comparable from tag to tag. A weight counts for all pairs of its item; a column without
    positives takes part, as so many negative pairs. Shape: (N, K), (N, K) → two (), or two (R,) with weights (R, N).

    >>> [float(area) for area in micro_ranking_scores(np.eye(2), np.array([[0.9, 0.4], [0.6, 0.5]]))]
    [0.75, 0.8333]
    """
    targets, scores = targets_and_scores(targets, scores)
    weights = weighting(weights, len(targets))
    order = np.argsort(-scores, axis=None, kind="stable")
    ranking = (targets.ravel()[order] > 0, scores.ravel()[order], order // targets.shape[1])
    areas = _areas_of([ranking], weights)[..., 0]
    return areas[0], areas[1]


def micro_roc_auc(targets: np.ndarray, scores: np.ndarray, *, weights: np.ndarray | None = None) -> np.ndarray:
    """The first of `micro_ranking_scores`. Shape: (N, K), (N, K) → (), or (R,) with weights (R, N).

    >>> float(micro_roc_auc(np.eye(2), np.array([[0.9, 0.4], [0.6, 0.5]])))
    0.75
    """
    return micro_ranking_scores(targets, scores, weights=weights)[0]


def micro_average_precision(
    targets: np.ndarray, scores: np.ndarray, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """The second of `micro_ranking_scores`. Shape: (N, K), (N, K) → (), or (R,) with weights (R, N).

    >>> float(micro_average_precision(np.eye(2), np.array([[0.9, 0.4], [0.6, 0.5]])))
    0.8333
    """
    return micro_ranking_scores(targets, scores, weights=weights)[1]


def _areas_of(rankings: list[tuple[np.ndarray, np.ndarray, np.ndarray]], weights: np.ndarray) -> np.ndarray:
    """Both areas of each ranking, a block of draws at a time. Shape: weights (N,) or (R, N) → (2, K) or (2, R, K)."""
    weighted = np.atleast_2d(weights)
    areas = np.empty((2, len(weighted), len(rankings)))
    block = max(1, base.BLOCK_NUMBERS // weighted.shape[1])
    for start in range(0, len(weighted), block):
        rows = slice(start, start + block)
        turned = np.ascontiguousarray(weighted[rows].T, dtype=np.float64)  # (N, R)
        for column, (positive, scores, items) in enumerate(rankings):
            areas[:, rows, column] = _areas(positive, scores, items, turned)
    return areas if weights.ndim == 2 else areas[:, 0]


def _areas(
    positive: np.ndarray, scores: np.ndarray, items: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """ROC and PR areas for each column of `weights` (N, R); `items` are its rows in the order of falling scores.

    With A the weight of everything at or above a threshold and P that of the positives among it, both areas are sums
    over positive items only: precision is P/A at the end of the item's ties, and the negatives it beats are all
    negatives less those above its ties less half of those within. So A is wanted at the bounds of ties with a
    positive only, and the sums between these are one product with a sparse matrix: no sorting of weights.
    """
    places = np.flatnonzero(positive)
    run = np.concatenate([[0], np.flatnonzero(np.diff(scores)) + 1, [len(scores)]])  # bounds of runs of ties
    mine = np.searchsorted(run, places, side="right")
    above, end = run[mine - 1], run[mine]  # items before the ties, items up to and with them
    bounds = np.unique(np.concatenate([[0, len(scores)], above, end]))
    between = csr_array((np.ones(len(items)), items, bounds), shape=(len(bounds) - 1, len(weights))) @ weights
    everything = np.concatenate([np.zeros((1, weights.shape[1])), np.cumsum(between, axis=0)])
    everything_above = everything[np.searchsorted(bounds, above)]
    everything_end = everything[np.searchsorted(bounds, end)]
    own = weights[items[places]]
    positives = np.concatenate([np.zeros((1, weights.shape[1])), np.cumsum(own, axis=0)])
    positives_above = positives[np.searchsorted(places, above)]
    positives_end = positives[np.searchsorted(places, end)]
    held, total = positives[-1], everything[-1]
    missing = np.where(total - held > 1e-12 * total, total - held, 0.0)  # fractional weights leave a rounding error
    # 0/0 is meant: a tag without a positive, or without a negative, has no area
    with np.errstate(invalid="ignore", divide="ignore"):
        above_or_tied = (everything_above - positives_above + everything_end - positives_end) / 2
        area = (own * (missing - above_or_tied)).sum(axis=0) / (held * missing)
        average = (own * np.where(own > 0, positives_end / everything_end, 0.0)).sum(axis=0) / held
    return area, np.where(missing > 0, average, np.nan)
