"""The objective of logistic regression over a tag column, its gradient, and products with its second derivatives."""

from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ssl_music.probe.axes import Axes
from ssl_music.probe.blocks import summed


class Point(NamedTuple):
    """Where a search stands: some weights, and what a pass over the items tells of them, for any penalty.

    Shape: weights (R + 1, K); cross_entropy (K,), terms of the mean; slope (R + 1, K), its derivatives; probabilities
    (N, K) float32; bend (K,), the mean of p(1 - p) over the items.
    """

    weights: np.ndarray
    cross_entropy: np.ndarray
    slope: np.ndarray
    probabilities: np.ndarray
    bend: np.ndarray

    def only(self, tags: np.ndarray) -> "Point":
        return Point(*(array[..., tags] for array in self))

    def put(self, tags: np.ndarray, point: "Point") -> None:
        """Writes what is at the point in place of what is here of these tags."""
        for own, other in zip(self, point, strict=True):
            own[..., tags] = other


@dataclass(frozen=True)
class Logistic:
    """The mean cross-entropy of the items + l2/2 · |weights|², the bias left out; weights are those along the axes.

    `joint`: softmax over the tags, one objective; otherwise one a tag, which share only the time. The gradient is in
    float64: it decides where the minimum is. Products with the second derivatives only decide how soon it is found,
    and are in float32, which is half the work.

    Shape: targets (N, K) and item_weights (N, 1), float32; the weights have a mean of one.
    """

    axes: Axes
    targets: np.ndarray
    item_weights: np.ndarray
    l2: float
    joint: bool
    pool: Executor | None = None

    def only(self, tags: np.ndarray) -> "Logistic":
        return replace(self, targets=self.targets[:, tags])

    @property
    def penalties(self) -> np.ndarray:
        """The second derivatives of the penalty: l2 along each axis, none of the bias. Shape: (R + 1, 1)."""
        return np.append(np.full(len(self.axes.variances) - 1, self.l2), 0.0)[:, None]

    def inner(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """An inner product for each objective. Shape: (R + 1, K) twice → (K,) or (1,)."""
        return self._gathered(np.einsum("rk,rk->k", a, b))

    def objective(self, point: Point) -> np.ndarray:
        """Shape: (K,) or (1,)."""
        return self._gathered(point.cross_entropy + (self.penalties * point.weights**2).sum(axis=0) / 2)

    def gradient(self, point: Point) -> np.ndarray:
        """Shape: (R + 1, K)."""
        return point.slope + self.penalties * point.weights

    def at(self, weights: np.ndarray) -> Point:
        count = len(self.targets)
        kept = np.empty((count, weights.shape[1]), np.float32)
        loss = _softmax if self.joint else _independent

        def part(rows: slice) -> tuple[np.ndarray, ...]:
            items = self.axes.items[rows].astype(np.float64)
            values, probabilities = loss(items @ weights, self.targets[rows])
            kept[rows] = probabilities
            item_weights = self.item_weights[rows]
            values *= item_weights
            bend = (item_weights * probabilities * (1 - probabilities)).sum(axis=0)
            probabilities -= self.targets[rows]
            probabilities *= item_weights
            return values.sum(axis=0), items.T @ probabilities, bend

        cross_entropy, slope, bend = (total / count for total in summed(part, count, self.pool))
        return Point(weights, cross_entropy, slope, kept, bend)

    def curved(self, point: Point, direction: np.ndarray) -> np.ndarray:
        """The second derivatives at a point, times a direction. Shape: (R + 1, K) → (R + 1, K)."""
        narrow = direction.astype(np.float32)

        def part(rows: slice) -> tuple[np.ndarray]:
            items, probabilities = self.axes.items[rows], point.probabilities[rows]
            change = items @ narrow  # of the logits
            change *= probabilities
            change -= probabilities * (change.sum(axis=1, keepdims=True) if self.joint else change)
            change *= self.item_weights[rows]
            return (items.T @ change,)

        (product,) = summed(part, len(self.targets), self.pool)
        return product / len(self.targets) + self.penalties * direction

    def _gathered(self, terms: np.ndarray) -> np.ndarray:
        return terms.sum(keepdims=True) if self.joint else terms


def _independent(logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Binary cross-entropies (N, K), log(1 + e^z) - y·z without overflow, and probabilities (N, K)."""
    small = np.exp(-np.abs(logits))
    values = np.maximum(logits, 0)
    values += np.log1p(small)
    values -= targets * logits
    probabilities = np.where(logits >= 0, 1.0, small)
    probabilities /= 1 + small
    return values, probabilities


def _softmax(logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cross-entropies, one term a tag (N, K), and probabilities (N, K)."""
    logits -= logits.max(axis=1, keepdims=True)
    probabilities = np.exp(logits)
    total = probabilities.sum(axis=1, keepdims=True)
    probabilities /= total
    return targets * (np.log(total) - logits), probabilities
