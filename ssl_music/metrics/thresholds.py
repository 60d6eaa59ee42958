"""From scores to decisions: a threshold per tag, chosen on scores of the validation split.

Never choose them on the split that is then scored. Every threshold is a score that occurred, and at or above it is
called the tag. It is infinite where the tag had better never be called, and NaN where it cannot be chosen, because
the tag has no positive or no negative item.
"""

import numpy as np

from ssl_music.errors import UserError
from ssl_music.metrics.base import matrix, targets_and_scores
from ssl_music.metrics.decisions import check_beta


def thresholds_for_f_beta(targets: np.ndarray, scores: np.ndarray, *, beta: float = 1.0) -> np.ndarray:
    """The threshold of each tag with the greatest `f_beta`; of equals, the highest. Shape: (N, K), (N, K) → (K,).

    >>> thresholds_for_f_beta(np.array([[0], [0], [1], [1]]), np.array([[0.1], [0.4], [0.35], [0.8]]))
    array([0.35])
    """
    check_beta(beta)
    ranked, hits, called, last = _scan(*targets_and_scores(targets, scores))
    reached = (1 + beta**2) * hits / (beta**2 * hits[-1] + called)
    best = np.where(last, reached, -1.0).argmax(axis=0)
    return _known(hits, np.take_along_axis(ranked, best[None], axis=0)[0])


def thresholds_for_precision(targets: np.ndarray, scores: np.ndarray, *, precision: float) -> np.ndarray:
    """The lowest threshold of each tag, so that with most recall, whose precision is `precision` or better.

    Infinite where none has it. Shape: (N, K), (N, K) → (K,).

    >>> targets, scores = np.array([[0], [0], [1], [1]]), np.array([[0.1], [0.4], [0.35], [0.8]])
    >>> thresholds_for_precision(targets, scores, precision=0.6)
    array([0.35])
    """
    if not 0 < precision <= 1:
        raise UserError(f"precision must be above 0 and at most 1; came {precision}")
    ranked, hits, called, last = _scan(*targets_and_scores(targets, scores))
    enough = last & (hits / called >= precision)
    lowest = len(ranked) - 1 - enough[::-1].argmax(axis=0)
    found = np.take_along_axis(ranked, lowest[None], axis=0)[0]
    return _known(hits, np.where(enough.any(axis=0), found, np.inf))


def decide(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """1 where an item scores at or above the tag's threshold, 0 elsewhere; NaN for tags whose threshold is NaN.

    Shape: (N, K), (K,) → (N, K).

    >>> decide(np.array([[0.5, 0.5, 0.5], [0.6, 0.4, 0.5]]), np.array([0.6, 0.4, np.nan]))
    array([[ 0.,  1., nan],
           [ 1.,  1., nan]])
    """
    scores, thresholds = matrix("scores", scores), np.asarray(thresholds, dtype=np.float64)
    if thresholds.shape != scores.shape[1:]:
        raise UserError(f"thresholds must be ({scores.shape[1]},), one a column of scores; came {thresholds.shape}")
    return np.where(np.isnan(thresholds), np.nan, scores >= thresholds)


def _scan(targets: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The scores of each tag falling, positives and items down to each, and whether it is the last of its ties."""
    order = np.argsort(-scores, axis=0, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=0)
    hits = np.cumsum(np.take_along_axis(targets, order, axis=0), axis=0)
    last = np.concatenate([ranked[1:] < ranked[:-1], np.ones((1, ranked.shape[1]), bool)])
    return ranked, hits, np.arange(1.0, len(ranked) + 1)[:, None], last


def _known(hits: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return np.where((hits[-1] > 0) & (hits[-1] < len(hits)), thresholds, np.nan)
