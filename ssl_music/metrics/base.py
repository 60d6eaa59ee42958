"""What every metric shares: the mean over tags, an interval, and the checks of what comes in."""

from typing import NamedTuple

import numpy as np

from ssl_music.errors import UserError

#: numbers that one intermediate array of a bootstrap may hold: 2 MB, so that it stays in a cache
BLOCK_NUMBERS = 1 << 18


class Macro(NamedTuple):
    """The mean over the tags that can be scored, and the columns of those that cannot."""

    value: float
    left_out: list[int]


class Interval(NamedTuple):
    """A score with its percentile interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def macro(per_tag: np.ndarray) -> Macro:
    """Unweighted mean over the tags that have a score.

    >>> macro(np.array([0.5, np.nan, 1.0]))
    Macro(value=0.75, left_out=[1])
    """
    left_out = np.isnan(per_tag)
    value = float(np.mean(per_tag[~left_out])) if not left_out.all() else float("nan")
    return Macro(value, np.flatnonzero(left_out).tolist())


def matrix(name: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or not len(values):
        raise UserError(f"{name} must be (N, K), one row an item and one column a tag; came {values.shape}")
    if not np.isfinite(values).all():
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        raise UserError(f"{name} hold NaN or Inf in {len(bad)} of {len(values)} rows, the first is row {bad[0]}")
    return values


def class_numbers(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.ndim != 1 or truth.shape != predicted.shape or not len(truth):
        raise UserError(f"truth and predicted must be (N,) class numbers; came {truth.shape} and {predicted.shape}")
    if truth.dtype.kind not in "iu" or predicted.dtype.kind not in "iu" or min(truth.min(), predicted.min()) < 0:
        raise UserError("truth and predicted must be class numbers: integers from 0; take argmax of scores first")
    return truth, predicted


def weighting(weights: np.ndarray | None, count: int) -> np.ndarray:
    if weights is None:
        return np.ones(count)
    weights = np.asarray(weights)
    if weights.ndim not in (1, 2) or weights.shape[-1] != count:
        raise UserError(f"weights must be ({count},) or (R, {count}), one number an item; came {weights.shape}")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise UserError("weights must be finite and not negative")
    return weights
