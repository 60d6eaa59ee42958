"""What every metric shares: the mean over tags, an interval, units, weighted sums, the checks of what comes in."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from ssl_music.errors import UserError

#: numbers that one intermediate array of a bootstrap may hold: 2 MB, so that it stays in a cache
BLOCK_NUMBERS = 1 << 18


class Macro(NamedTuple):
    """The mean over the tags that can be scored, and the columns of those that cannot."""

    value: float
    left_out: list[int]


class Interval(NamedTuple):
    """A score between the bounds of its interval; formatted, each number is.

    >>> f"{Interval(0.5, 0.4, 0.6)}, a difference {Interval(0.05, -0.01, 0.1):+}, {Interval(0.5, 0.4, 0.6):.1f}"
    '0.500 [0.400, 0.600], a difference +0.050 [-0.010, +0.100], 0.5 [0.4, 0.6]'
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return format(self)

    def __format__(self, form: str) -> str:
        value, low, high = (format(number, form if "." in form else f"{form}.3f") for number in self)
        return f"{value} [{low}, {high}]"


def macro(per_tag: np.ndarray) -> Macro:
    """Unweighted mean over the tags that have a score. Shape: (K,).

    >>> macro(np.array([0.5, np.nan, 1.0]))
    Macro(value=0.75, left_out=[1])
    """
    if np.ndim(per_tag) != 1:
        raise UserError(f"macro wants (K,), one score a tag; came {np.shape(per_tag)}: macro_draws takes (R, K)")
    return Macro(float(macro_draws(per_tag)), np.flatnonzero(np.isnan(per_tag)).tolist())


def macro_draws(per_tag: np.ndarray) -> np.ndarray:
    """`macro` of every draw of a bootstrap: over the tags that have a score in it. Shape: (R, K) → (R,).

    >>> macro_draws(np.array([[0.5, np.nan], [0.5, 1.0], [np.nan, np.nan]]))
    array([0.5 , 0.75, nan])
    """
    scored = ~np.isnan(per_tag)
    with np.errstate(invalid="ignore"):  # 0/0 is meant: no tag with a score, no mean
        return np.where(scored, per_tag, 0.0).sum(axis=-1) / scored.sum(axis=-1)


def units_of(groups: Sequence[str]) -> np.ndarray:
    """The number of the unit that each item belongs to: its group, or itself where that has no name. Shape: (N,).

    >>> units_of(["b", "", "b", ""])
    array([2, 0, 2, 1])
    """
    return np.unique([name or f"\0{row}" for row, name in enumerate(groups)], return_inverse=True)[1]


def matrix(name: str, values: np.ndarray) -> np.ndarray:
    """`values` as float64, or a UserError that says what is not (N, K) numbers about them."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or not values.size:
        raise UserError(f"{name} must be (N, K), one row an item and one column a tag; came {values.shape}")
    if not np.isfinite(values).all():
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        raise UserError(f"{name} hold NaN or Inf in {len(bad)} of {len(values)} rows, the first is row {bad[0]}")
    return values


def binary(name: str, values: np.ndarray) -> np.ndarray:
    """`matrix` of nothing but 0 and 1."""
    values = matrix(name, values)
    if not ((values == 0) | (values == 1)).all():
        raise UserError(f"{name} must hold 0 and 1 only: 1 where the item has the tag")
    return values


def targets_and_scores(targets: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 of one shape (N, K), the targets of 0 and 1."""
    targets, scores = matrix("targets", targets), matrix("scores", scores)
    if targets.shape != scores.shape:
        raise UserError(f"targets are {targets.shape} and scores {scores.shape}: one row an item, one column a tag")
    return binary("targets", targets), scores


def probabilities(scores: np.ndarray) -> np.ndarray:
    """`scores`, none below 0 or above 1 by more than the rounding of a float32 mean."""
    if scores.min() < -1e-6 or scores.max() > 1 + 1e-6:
        came = f"from {scores.min():.3g} to {scores.max():.3g}"
        raise UserError(f"scores must be probabilities, from 0 to 1; came {came}: take a sigmoid or softmax first")
    return scores


def class_numbers(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as (N,) integers from 0."""
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.ndim != 1 or truth.shape != predicted.shape or not len(truth):
        raise UserError(f"truth and predicted must be (N,) class numbers; came {truth.shape} and {predicted.shape}")
    if truth.dtype.kind not in "iu" or predicted.dtype.kind not in "iu" or min(truth.min(), predicted.min()) < 0:
        raise UserError("truth and predicted must be class numbers: integers from 0; take argmax of scores first")
    return truth, predicted


def weighting(weights: np.ndarray | None, count: int) -> np.ndarray:
    """`weights` as they came, (N,) or (R, N), or ones where none did."""
    if weights is None:
        return np.ones(count)
    weights = np.asarray(weights)
    if weights.ndim not in (1, 2) or weights.shape[-1] != count or not weights.size:
        raise UserError(f"weights must be ({count},) or (R, {count}), one number an item; came {weights.shape}")
    if weights.dtype.kind not in "biuf" or not np.isfinite(weights).all() or (weights < 0).any():
        raise UserError("weights must be finite and not negative")
    if not weights.any(axis=-1).all():
        raise UserError("weights are 0 for every item of a draw; each must count one item or more")
    return weights


def weighted_sums(weights: np.ndarray, columns: np.ndarray | csr_array) -> np.ndarray:
    """Sums over the items, in float64, a block of draws at a time. Shape: (N,) or (R, N), (N, M) → (M,) or (R, M)."""
    rows = np.atleast_2d(weights)
    block = max(1, BLOCK_NUMBERS // rows.shape[1])
    parts = [rows[start : start + block].astype(np.float64) @ columns for start in range(0, len(rows), block)]
    sums = np.concatenate(parts)
    return sums if weights.ndim == 2 else sums[0]


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over the items that have a value (not NaN). Shape: (N,), (N,) or (R, N) → () or (R,)."""
    there = ~np.isnan(values)
    sums = weighted_sums(weights, np.stack([np.where(there, values, 0.0), there], axis=1))
    with np.errstate(invalid="ignore"):  # 0/0 is meant: nothing has a value
        return sums[..., 0] / sums[..., 1]
