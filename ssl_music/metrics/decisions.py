"""How often decisions are right: over all items, and per class."""

import numpy as np

from ssl_music.errors import UserError
from ssl_music.metrics.base import class_numbers, weighting


def accuracy(truth: np.ndarray, predicted: np.ndarray, *, weights: np.ndarray | None = None) -> np.ndarray:
    """Share of items whose predicted class number is the true one. Shape: (N,), (N,) → (), or (R,).

    >>> float(accuracy(np.array([0, 1, 1, 2]), np.array([0, 1, 0, 2])))
    0.75
    """
    truth, predicted = class_numbers(truth, predicted)
    weighted = weighting(weights, len(truth))
    return weighted @ (truth == predicted) / weighted.sum(axis=-1)


def recall(
    truth: np.ndarray, predicted: np.ndarray, classes: int, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Share of each class's items that are found; NaN: it has none. Shape: (N,), (N,) → (classes,), or (R, classes).

    >>> recall(np.array([0, 0, 1]), np.array([0, 1, 1]), 3)
    array([0.5, 1. , nan])
    """
    truth, predicted = class_numbers(truth, predicted)
    member = (truth[:, None] == np.arange(classes)).astype(np.float64)  # (N, classes)
    weighted = weighting(weights, len(truth))
    with np.errstate(invalid="ignore"):  # 0/0 is meant: no items, no share
        return weighted @ (member * (truth == predicted)[:, None]) / (weighted @ member)


def balanced_accuracy(truth: np.ndarray, predicted: np.ndarray, *, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean over the classes that occur in `truth` of the share of their items found. Shape: (N,), (N,) → (), or (R,).

    >>> float(balanced_accuracy(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0])))
    0.5
    """
    truth, predicted = class_numbers(truth, predicted)
    return np.nanmean(recall(truth, predicted, int(truth.max()) + 1, weights=weights), axis=-1)


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """How many items of true class i (row) were called class j (column). Shape: (N,), (N,) → (classes, classes).

    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    array([[1, 1],
           [0, 1]])
    """
    truth, predicted = class_numbers(truth, predicted)
    highest = int(max(truth.max(), predicted.max()))
    if highest >= classes:
        raise UserError(f"class number {highest} came, but there are {classes} classes, numbered from 0")
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)
