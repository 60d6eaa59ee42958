"""How often decisions are right: over all items, and per tag.

`truth` and `predicted` are class numbers, (N,), of which there are `classes`; or 0/1 decisions, (N, K), where an item
may have several tags or none. In decisions a column of nothing but NaN is a tag that could not be decided (see
`thresholds.decide`): it has no score.
"""

from typing import NamedTuple

import numpy as np

from ssl_music.errors import UserError
from ssl_music.metrics.base import binary, class_numbers, macro_draws, weighted_mean, weighted_sums, weighting


def accuracy(truth: np.ndarray, predicted: np.ndarray, *, weights: np.ndarray | None = None) -> np.ndarray:
    """Share of items whose predicted class number is the true one. Shape: (N,), (N,) → (), or (R,).

    >>> float(accuracy(np.array([0, 1, 1, 2]), np.array([0, 1, 0, 2])))
    0.75
    """
    truth, predicted = class_numbers(truth, predicted)
    return weighted_mean((truth == predicted).astype(np.float64), weighting(weights, len(truth)))


def balanced_accuracy(truth: np.ndarray, predicted: np.ndarray, *, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean over the classes that occur in `truth` of the share of their items found. Shape: (N,), (N,) → (), or (R,).

    >>> float(balanced_accuracy(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0])))
    0.5
    """
    truth, predicted = class_numbers(truth, predicted)
    found = _counts(truth, predicted, int(truth.max()) + 1, weights)
    with np.errstate(invalid="ignore"):  # 0/0 is meant: a draw may lack a class
        return macro_draws(found.hits / found.true)


def precision(
    truth: np.ndarray, predicted: np.ndarray, classes: int | None = None, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Share of what was called a tag that has it. Shape: (N,), (N,) or (N, K), (N, K) → (K,), or (R, K).

    NaN for a tag without a positive or without a negative item, and for one that nothing was called: 0/0.

    >>> precision(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1]), 3)
    array([1. , 0.3333, nan])
    """
    found = _counts(truth, predicted, classes, weights)
    return found.scored(found.hits, found.called)


def recall(
    truth: np.ndarray, predicted: np.ndarray, classes: int | None = None, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Share of a tag's items that are found. Shape: (N,), (N,) or (N, K), (N, K) → (K,), or (R, K).

    NaN for a tag without a positive or without a negative item.

    >>> recall(np.array([0, 0, 1]), np.array([0, 1, 1]), 3)
    array([0.5, 1. , nan])
    """
    found = _counts(truth, predicted, classes, weights)
    return found.scored(found.hits, found.true)


def f_beta(
    truth: np.ndarray,
    predicted: np.ndarray,
    classes: int | None = None,
    *,
    beta: float = 1.0,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """(1 + β²) P R / (β² P + R) of precision P and recall R: β times as much is made of recall as of precision.

    Van Rijsbergen, Information Retrieval, 1979, ch. 7. Computed as (1 + β²) hits / (β² true + called), so a tag that
    has items and that nothing was called gets 0. NaN for a tag without a positive or without a negative item.
    Shape: (N,), (N,) or (N, K), (N, K) → (K,), or (R, K).

    >>> f_beta(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    array([0.6667, 0.6667])
    """
    check_beta(beta)
    found = _counts(truth, predicted, classes, weights)
    return found.scored((1 + beta**2) * found.hits, beta**2 * found.true + found.called)


def tag_accuracy(
    truth: np.ndarray, predicted: np.ndarray, classes: int | None = None, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Share of items for which it is rightly said whether they have the tag. Shape: as `recall`.

    A rare tag that is never called has a high one: see `tag_balanced_accuracy`. NaN for a tag without a positive or
    without a negative item.

    >>> tag_accuracy(np.array([[1, 0], [0, 0], [0, 1]]), np.array([[1, 1], [1, 0], [0, 1]]))
    array([0.6667, 0.6667])
    """
    found = _counts(truth, predicted, classes, weights)
    return found.scored(found.total - found.true - found.called + 2 * found.hits, found.total)


def tag_balanced_accuracy(
    truth: np.ndarray, predicted: np.ndarray, classes: int | None = None, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Mean of the share of a tag's items found and of the share of all others left alone. Shape: as `recall`.

    >>> tag_balanced_accuracy(np.array([[1], [0], [0]]), np.array([[1], [1], [0]]))
    array([0.75])
    """
    found = _counts(truth, predicted, classes, weights)
    others = found.total - found.true
    return (found.scored(found.hits, found.true) + found.scored(others - found.called + found.hits, others)) / 2


def check_beta(beta: float) -> None:
    """A UserError where `beta` weighs nothing."""
    if not 0 < beta < float("inf"):
        raise UserError(f"beta must be above 0 and finite: 1 weighs precision and recall alike; came {beta}")


class _Counts(NamedTuple):
    """Weights of items: called a tag that they have, having it, called it, (K,) or (R, K); of all, () or (R, 1)."""

    hits: np.ndarray
    true: np.ndarray
    called: np.ndarray
    total: np.ndarray

    def scored(self, part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        """`part` of `whole`, NaN for tags that all items have or none."""
        missing = self.total - self.true > 1e-12 * self.total  # fractional weights leave a rounding error
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where((self.true > 0) & missing, part / whole, np.nan)


def _counts(truth: np.ndarray, predicted: np.ndarray, classes: int | None, weights: np.ndarray | None) -> _Counts:
    if np.ndim(truth) == 1 and np.ndim(predicted) == 1:
        truth, predicted = class_numbers(truth, predicted)
        if classes is None or classes <= truth.max():
            came = "no number of classes" if classes is None else f"classes={classes}"
            raise UserError(f"{came} came with class numbers up to {truth.max()}: give how many classes there are")
        true, called = (numbers[:, None] == np.arange(classes) for numbers in (truth, predicted))
    else:
        true, called = binary("truth", truth), np.asarray(predicted, dtype=np.float64)
        if true.shape != called.shape:
            raise UserError(f"truth is {true.shape} and predicted {called.shape}: one row an item, one column a tag")
        if classes not in (None, true.shape[1]):
            raise UserError(f"classes={classes} came with decisions on {true.shape[1]} tags; leave it out")
        undecided = np.isnan(called).all(axis=0)
        binary("predicted", np.where(undecided, 0.0, called))
    weights = weighting(weights, len(true))
    tags = true.shape[1]
    sums = weighted_sums(weights, np.concatenate([true * called, true, called], axis=1, dtype=np.float64))
    total = weights.sum(axis=-1, keepdims=weights.ndim == 2, dtype=np.float64)
    return _Counts(sums[..., :tags], sums[..., tags : 2 * tags], sums[..., 2 * tags :], total)
