"""The points of the curves whose areas `ranking` computes, for one tag."""

from typing import NamedTuple

import numpy as np

from ssl_music.errors import UserError
from ssl_music.metrics.base import targets_and_scores, weighting


class RocCurve(NamedTuple):
    """(P,) each, by falling threshold, from (0, 0) at an infinite one to (1, 1)."""

    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    thresholds: np.ndarray


class PrecisionRecallCurve(NamedTuple):
    """(P,) each, by falling threshold, so by rising recall."""

    precision: np.ndarray
    recall: np.ndarray
    thresholds: np.ndarray


def roc_curve(truth: np.ndarray, scores: np.ndarray, *, weights: np.ndarray | None = None) -> RocCurve:
    """Share of the negatives and of the positives that score at or above each threshold. Shape: (N,), (N,) → (P,).

    Points on a straight line between their neighbours are left out: the trapezoids under the rest are `roc_auc`.
    Without a positive or without a negative both rates are NaN. For the micro average, give all pairs, raveled.

    >>> roc_curve(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))[:2]
    (array([0. , 0. , 0.5, 0.5, 1. ]), array([0. , 0.5, 0.5, 1. , 1. ]))
    """
    positives, negatives, thresholds = _at_thresholds(truth, scores, weights)
    positives, negatives = np.insert(positives, 0, 0.0), np.insert(negatives, 0, 0.0)
    thresholds = np.insert(thresholds, 0, np.inf)
    turns = np.diff(positives[:-1]) * np.diff(negatives[1:]) != np.diff(positives[1:]) * np.diff(negatives[:-1])
    kept = np.concatenate([[True], turns, [True]])
    true_rate, false_rate = _share(positives[kept]), _share(negatives[kept])
    gap = true_rate + false_rate  # NaN in either: there is no curve
    return RocCurve(
        np.where(np.isnan(gap), gap, false_rate), np.where(np.isnan(gap), gap, true_rate), thresholds[kept]
    )


def precision_recall_curve(
    truth: np.ndarray, scores: np.ndarray, *, weights: np.ndarray | None = None
) -> PrecisionRecallCurve:
    """Precision and recall of what scores at or above each threshold. Shape: (N,), (N,) → (P,).

    Draw it as steps: precision times the recall gained, summed, is `average_precision`. There is no made-up point at
    recall 0. Without a positive or without a negative both are NaN.

    >>> curve = precision_recall_curve(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
    >>> curve.precision, curve.recall
    (array([1. , 0.5 , 0.6667, 0.5 ]), array([0.5, 0.5, 1. , 1. ]))
    """
    positives, negatives, thresholds = _at_thresholds(truth, scores, weights)
    recall = _share(positives)
    precision = positives / (positives + negatives)
    gap = recall + _share(negatives)
    return PrecisionRecallCurve(
        np.where(np.isnan(gap), gap, precision), np.where(np.isnan(gap), gap, recall), thresholds
    )


def _at_thresholds(
    truth: np.ndarray, scores: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weight of the positives and of the negatives at or above each score that occurs, and these scores, falling."""
    if np.ndim(truth) != 1 or np.ndim(scores) != 1:
        raise UserError(f"a curve is of one tag: (N,) and (N,); came {np.shape(truth)} and {np.shape(scores)}")
    column, ranked = targets_and_scores(np.asarray(truth)[:, None], np.asarray(scores)[:, None])
    weights = weighting(weights, len(column))
    if weights.ndim != 1:
        raise UserError(f"a curve takes weights ({len(column)},); came {weights.shape}")
    there = weights > 0
    thresholds, place = np.unique(-ranked[there, 0], return_inverse=True)
    positives = np.bincount(place, weights=(weights * column[:, 0])[there])
    negatives = np.bincount(place, weights=(weights * (1 - column[:, 0]))[there])
    return np.cumsum(positives), np.cumsum(negatives), -thresholds


def _share(cumulated: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # 0/0 is meant: none there, no rate
        return cumulated / cumulated[-1]
