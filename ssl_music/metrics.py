"""Scores as pure functions: NumPy arrays in, numbers out.

`targets` is (N, K), 1 where item n has tag k; `scores` is (N, K), higher where the tag is likelier. `weights` says
how often each item counts: (N,), or (R, N) for R weightings at once, which is what a bootstrap is: a draw with
replacement is a weighting by how often each item was drawn. Functions of tags answer one number a tag, NaN where the
tag has no positive or no negative item: such a tag has no score, and zero would be a lie. `macro` averages the rest
and names those left out.
"""

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


def roc_auc(targets: np.ndarray, scores: np.ndarray, *, weights: np.ndarray | None = None) -> np.ndarray:
    """Area under the ROC curve: how often a positive item scores above a negative one; a tie counts half.

    Shape: (N, K), (N, K) → (K,), or (R, K) with weights (R, N).

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
    targets, scores = _matrix("targets", targets), _matrix("scores", scores)
    if targets.shape != scores.shape:
        raise UserError(f"targets are {targets.shape} and scores {scores.shape}: one row an item, one column a tag")
    if not np.isin(targets, (0, 1)).all():
        raise UserError("targets must hold 0 and 1 only: 1 where the item has the tag")
    weighted = np.atleast_2d(_weights(weights, len(targets)))
    areas = np.empty((2, len(weighted), targets.shape[1]))
    orders = np.argsort(-scores, axis=0, kind="stable")
    block = max(1, BLOCK_NUMBERS // len(targets))
    for start in range(0, len(weighted), block):
        rows = slice(start, start + block)
        turned = np.ascontiguousarray(weighted[rows].T, dtype=np.float64)  # (N, R)
        for column, order in enumerate(orders.T):
            areas[:, rows, column] = _areas(targets[order, column] > 0, scores[order, column], order, turned)
    if weights is None or np.ndim(weights) == 1:
        areas = areas[:, 0]
    return areas[0], areas[1]


def accuracy(truth: np.ndarray, predicted: np.ndarray, *, weights: np.ndarray | None = None) -> np.ndarray:
    """Share of items whose predicted class number is the true one. Shape: (N,), (N,) → (), or (R,).

    >>> float(accuracy(np.array([0, 1, 1, 2]), np.array([0, 1, 0, 2])))
    0.75
    """
    truth, predicted = _classes(truth, predicted)
    weighted = _weights(weights, len(truth))
    return weighted @ (truth == predicted) / weighted.sum(axis=-1)


def recall(
    truth: np.ndarray, predicted: np.ndarray, classes: int, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Share of each class's items that are found; NaN: it has none. Shape: (N,), (N,) → (classes,), or (R, classes).

    >>> recall(np.array([0, 0, 1]), np.array([0, 1, 1]), 3)
    array([0.5, 1. , nan])
    """
    truth, predicted = _classes(truth, predicted)
    member = (truth[:, None] == np.arange(classes)).astype(np.float64)  # (N, classes)
    weighted = _weights(weights, len(truth))
    with np.errstate(invalid="ignore"):  # 0/0 is meant: no items, no share
        return weighted @ (member * (truth == predicted)[:, None]) / (weighted @ member)


def balanced_accuracy(truth: np.ndarray, predicted: np.ndarray, *, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean over the classes that occur in `truth` of the share of their items found. Shape: (N,), (N,) → (), or (R,).

    >>> float(balanced_accuracy(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0])))
    0.5
    """
    truth, predicted = _classes(truth, predicted)
    return np.nanmean(recall(truth, predicted, int(truth.max()) + 1, weights=weights), axis=-1)


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """How many items of true class i (row) were called class j (column). Shape: (N,), (N,) → (classes, classes).

    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    array([[1, 1],
           [0, 1]])
    """
    truth, predicted = _classes(truth, predicted)
    highest = int(max(truth.max(), predicted.max()))
    if highest >= classes:
        raise UserError(f"class number {highest} came, but there are {classes} classes, numbered from 0")
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def precision_at_k(targets: np.ndarray, queries: np.ndarray, neighbours: np.ndarray) -> float:
    """Mean over queries of the share of their neighbours that have a tag in common with them.

    `neighbours` are row numbers into `targets`, (Q, k); −1 stands where a filter left fewer than k, and is not
    counted; a query with no neighbour at all is left out.

    >>> precision_at_k(np.array([[1, 0], [1, 0], [0, 1]]), np.array([0, 1]), np.array([[1, 2], [0, -1]]))
    0.75
    """
    queries, neighbours = np.asarray(queries), np.asarray(neighbours)
    targets = _matrix("targets", targets)
    if neighbours.ndim != 2 or len(neighbours) != len(queries):
        raise UserError(f"neighbours must be ({len(queries)}, k), one row a query; came {neighbours.shape}")
    there = neighbours >= 0
    alike = np.einsum("qk,qnk->qn", targets[queries], targets[neighbours]) > 0
    asked = there.any(axis=1)
    if not asked.any():
        return float("nan")
    return float(np.mean((alike & there).sum(axis=1)[asked] / there.sum(axis=1)[asked]))


def precision_chance(targets: np.ndarray, queries: np.ndarray, *, excluded: Sequence[str] | None = None) -> float:
    """`precision_at_k` of neighbours drawn at random from all items but the query.

    `excluded` names a group per item (an artist, a composition): items of the query's own group are no candidates,
    as in a search that leaves them out; an empty name excludes only the query itself.

    >>> precision_chance(np.array([[1, 0], [1, 0], [0, 1]]), np.array([0, 1]))
    0.5
    """
    targets = _matrix("targets", targets)
    names = np.array([""] * len(targets) if excluded is None else list(excluded), dtype=object)
    if len(names) != len(targets):
        raise UserError(f"excluded must name a group for each of the {len(targets)} items; came {len(names)}")
    shares = []
    for query in np.asarray(queries):
        candidate = names != names[query] if names[query] else np.ones(len(targets), bool)
        candidate[query] = False
        if candidate.any():
            shares.append(np.mean(targets[candidate] @ targets[query] > 0))
    return float(np.mean(shares)) if shares else float("nan")


def bootstrap_weights(groups: Sequence[str], *, draws: int, seed: int) -> np.ndarray:
    """How often each item occurs in each of `draws` drawings with replacement of whole groups. Shape: (draws, N).

    Clips of one composition are no independent witnesses, so items of one group are drawn together; an item with an
    empty name is its own group.

    >>> bootstrap_weights(["a", "a", "", ""], draws=2, seed=0).shape
    (2, 4)
    """
    if draws < 1 or not len(groups):
        raise UserError(f"a bootstrap wants one draw or more of one item or more; came {draws} of {len(groups)}")
    names = [name or f"\0{row}" for row, name in enumerate(groups)]
    _, member = np.unique(names, return_inverse=True)
    count = int(member.max()) + 1
    drawn = np.random.default_rng(seed).integers(count, size=(draws, count))
    drawn += np.arange(draws)[:, None] * count
    times = np.bincount(drawn.ravel(), minlength=draws * count).reshape(draws, count)
    return times[:, member].astype(np.float32)  # small counts: exact


def percentile_interval(value: float, drawn: np.ndarray, *, coverage: float = 0.95) -> Interval:
    """`value` between the percentiles of its bootstrap draws; draws without a score (NaN) are left out.

    >>> percentile_interval(0.5, np.linspace(0, 1, 1001))
    Interval(value=0.5, low=0.025, high=0.975)
    """
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return Interval(float(value), float("nan"), float("nan"))
    low, high = np.quantile(drawn, [(1 - coverage) / 2, (1 + coverage) / 2])
    return Interval(float(value), float(low), float(high))


def _areas(
    positive: np.ndarray, scores: np.ndarray, order: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """ROC and PR areas for each column of `weights` (N, R), of items that `order` sorts by falling score.

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
    between = csr_array((np.ones(len(order)), order, bounds), shape=(len(bounds) - 1, len(order))) @ weights
    everything = np.concatenate([np.zeros((1, weights.shape[1])), np.cumsum(between, axis=0)])
    everything_above = everything[np.searchsorted(bounds, above)]
    everything_end = everything[np.searchsorted(bounds, end)]
    own = weights[order[places]]
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


def _matrix(name: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or not len(values):
        raise UserError(f"{name} must be (N, K), one row an item and one column a tag; came {values.shape}")
    if not np.isfinite(values).all():
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        raise UserError(f"{name} hold NaN or Inf in {len(bad)} of {len(values)} rows, the first is row {bad[0]}")
    return values


def _classes(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.ndim != 1 or truth.shape != predicted.shape or not len(truth):
        raise UserError(f"truth and predicted must be (N,) class numbers; came {truth.shape} and {predicted.shape}")
    if truth.dtype.kind not in "iu" or predicted.dtype.kind not in "iu" or min(truth.min(), predicted.min()) < 0:
        raise UserError("truth and predicted must be class numbers: integers from 0; take argmax of scores first")
    return truth, predicted


def _weights(weights: np.ndarray | None, count: int) -> np.ndarray:
    if weights is None:
        return np.ones(count)
    weights = np.asarray(weights)
    if weights.ndim not in (1, 2) or weights.shape[-1] != count:
        raise UserError(f"weights must be ({count},) or (R, {count}), one number an item; came {weights.shape}")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise UserError("weights must be finite and not negative")
    return weights
