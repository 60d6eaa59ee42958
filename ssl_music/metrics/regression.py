"""How near predicted numbers come: arousal, valence, tempo. One column a number that is predicted."""

import numpy as np

from ssl_music.errors import UserError
from ssl_music.metrics.base import matrix, weighted_sums, weighting


def r2(targets: np.ndarray, predictions: np.ndarray, *, weights: np.ndarray | None = None) -> np.ndarray:
    """Coefficient of determination: 1 − Σ (t − p)² / Σ (t − mean t)². Shape: (N, C), (N, C) → (C,), or (R, C).

    1 is perfect, 0 is as good as always saying the mean of these very targets, below 0 is worse. The mean is weighted
    as the sums are. NaN for a column whose targets are all alike.

    >>> r2(np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [2.0], [2.0]]))
    array([0.5])
    """
    targets, predictions, weights = _columns(targets, predictions, weights)
    centred = targets - targets.mean(axis=0)  # so that the two sums below do not cancel
    columns = targets.shape[1]
    sums = weighted_sums(weights, np.concatenate([(targets - predictions) ** 2, centred, centred**2], axis=1))
    residual, first, second = (sums[..., start : start + columns] for start in range(0, 3 * columns, columns))
    total = weights.sum(axis=-1, keepdims=weights.ndim == 2, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = second - first**2 / total
        # what is left of equal targets is the rounding of sums of `second`, and of the mean that was taken off
        varied = (spread > 1e-12 * second) & (np.ptp(targets, axis=0) > 0)
        return np.where(varied, 1 - residual / spread, np.nan)


def mean_absolute_error(
    targets: np.ndarray, predictions: np.ndarray, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Mean of |t − p|, in the unit of the targets. Shape: (N, C), (N, C) → (C,), or (R, C) with weights (R, N).

    >>> mean_absolute_error(np.array([[1.0], [2.0]]), np.array([[1.5], [2.0]]))
    array([0.25])
    """
    targets, predictions, weights = _columns(targets, predictions, weights)
    total = weights.sum(axis=-1, keepdims=weights.ndim == 2, dtype=np.float64)
    return weighted_sums(weights, np.abs(targets - predictions)) / total


def _columns(
    targets: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    targets, predictions = matrix("targets", targets), matrix("predictions", predictions)
    if targets.shape != predictions.shape:
        raise UserError(f"targets are {targets.shape} and predictions {predictions.shape}: one row an item")
    return targets, predictions, weighting(weights, len(targets))
