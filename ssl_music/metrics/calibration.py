"""Whether probabilities mean what they say: of all items given 0.8, eight in ten should have the tag."""

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from ssl_music.errors import UserError
from ssl_music.metrics.base import probabilities, targets_and_scores, weighted_sums, weighting

#: M of Guo et al. 2017, table 1: "M = 15 bins"
BINS = 15


class Reliability(NamedTuple):
    """The points of a reliability diagram, (bins,) each: mean score and share of positives of a bin, and its items.

    NaN where a bin is empty. A well calibrated one has `positive` equal to `confidence`.
    """

    confidence: np.ndarray
    positive: np.ndarray
    items: np.ndarray


def expected_calibration_error(
    targets: np.ndarray, scores: np.ndarray, *, bins: int = BINS, weights: np.ndarray | None = None
) -> np.ndarray:
    """Σ_m |B_m| / N · |share of positives in B_m − mean score in B_m|, for each tag as a yes-or-no question.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017 (arXiv 1706.04599), eq. 3; B_m are the items whose
    score is in ((m − 1)/bins, m/bins], and 0 is in the first. NaN for tags without a positive or without a negative.
    Shape: (N, K), (N, K) → (K,), or (R, K) with weights (R, N).

    >>> expected_calibration_error(np.array([[0], [1], [1], [1]]), np.array([[0.5], [0.5], [0.9], [0.7]]), bins=2)
    array([0.1])
    """
    targets, scores = targets_and_scores(targets, scores)
    weights = weighting(weights, len(targets))
    error = _error(targets, scores, bins, weights)
    positive, total = weighted_sums(weights, targets), weights.sum(axis=-1, keepdims=True, dtype=np.float64)
    return np.where((positive > 0) & (total - positive > 1e-12 * total), error, np.nan)


def top_label_calibration_error(
    targets: np.ndarray, scores: np.ndarray, *, bins: int = BINS, weights: np.ndarray | None = None
) -> np.ndarray:
    """The same sum for the best scored tag of each item, which is how Guo et al. define it for single labels.

    Shape: (N, K), (N, K) → (), or (R,) with weights (R, N).

    >>> float(top_label_calibration_error(np.eye(2), np.array([[0.8, 0.2], [0.6, 0.4]])))
    0.4
    """
    correct, confidence = top_label(targets, scores)
    weights = weighting(weights, len(correct))
    return _error(correct[:, None], confidence[:, None], bins, weights)[..., 0]


def top_label(targets: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether each item has its best scored tag, and that score; of equals, the first column. Shape: (N, K) → (N,).

    >>> top_label(np.eye(2), np.array([[0.8, 0.2], [0.6, 0.4]]))
    (array([1., 0.]), array([0.8, 0.6]))
    """
    targets, scores = targets_and_scores(targets, scores)
    best = probabilities(scores).argmax(axis=1)
    rows = np.arange(len(scores))
    return targets[rows, best], scores[rows, best]


def reliability_diagram(truth: np.ndarray, scores: np.ndarray, *, bins: int = BINS) -> Reliability:
    """The bins of `expected_calibration_error`, of one tag or of `top_label`. Shape: (N,), (N,) → (bins,).

    >>> reliability_diagram(np.array([0, 1, 1, 1]), np.array([0.5, 0.5, 0.9, 0.7]), bins=2)
    Reliability(confidence=array([0.5, 0.8]), positive=array([0.5, 1. ]), items=array([2, 2]))
    """
    if np.ndim(truth) != 1 or np.ndim(scores) != 1:
        raise UserError(f"a diagram is of one tag: (N,) and (N,); came {np.shape(truth)} and {np.shape(scores)}")
    column, ranked = targets_and_scores(np.asarray(truth)[:, None], np.asarray(scores)[:, None])
    mine = _bin(ranked, bins)[:, 0]
    items = np.bincount(mine, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0/0 is meant: an empty bin
        confidence, positive = (
            np.bincount(mine, weights=values[:, 0], minlength=bins) / items for values in (ranked, column)
        )
    return Reliability(confidence, positive, items)


def _error(targets: np.ndarray, scores: np.ndarray, bins: int, weights: np.ndarray) -> np.ndarray:
    """Eq. 3 as Σ_m |Σ_{n in B_m} w_n (target − score)| / Σ w: the bins' sizes cancel. Shape: → (K,) or (R, K)."""
    items, tags = targets.shape
    column = _bin(scores, bins) + np.arange(tags) * bins
    gaps = csr_array(
        ((targets - scores).ravel(), column.ravel(), np.arange(0, items * tags + 1, tags)), shape=(items, tags * bins)
    )
    sums = weighted_sums(weights, gaps)
    total = weights.sum(axis=-1, keepdims=True, dtype=np.float64)
    return np.abs(sums.reshape(*sums.shape[:-1], tags, bins)).sum(axis=-1) / total


def _bin(scores: np.ndarray, bins: int) -> np.ndarray:
    """The number of each score's bin, from 0."""
    if bins < 1:
        raise UserError(f"bins must be 1 or more; came {bins}")
    return np.searchsorted(np.arange(1, bins) / bins, probabilities(scores), side="left")
