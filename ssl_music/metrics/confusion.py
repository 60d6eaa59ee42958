"""Which tags are taken for which."""

import numpy as np

from ssl_music.errors import UserError
from ssl_music.metrics.base import class_numbers, targets_and_scores


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


def soft_confusion_matrix(targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """What share of all that is predicted for the items of tag j goes to tag i: M[i, j] = Σ_k y[k, i], normalised.

    The sum is over the items k labelled j, y[k, i] is the score of tag i for item k, and every column is divided by
    its sum. So, other than in `confusion_matrix`, a *column* is a true tag and a row a predicted one; an item with
    several tags counts in the column of each. A column is NaN where its tag has no item, or only items that score 0
    everywhere. Scores must not be negative: they are shared out. Shape: (N, K), (N, K) → (K, K).

    >>> soft_confusion_matrix(np.array([[1, 0], [1, 0], [0, 1]]), np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]]))
    array([[0.7, 0.2],
           [0.3, 0.8]])
    """
    targets, scores = targets_and_scores(targets, scores)
    if scores.min() < 0:
        raise UserError(f"scores below 0 came ({scores.min():.3g}): take a sigmoid or softmax of them first")
    together = scores.T @ targets
    with np.errstate(invalid="ignore"):  # 0/0 is meant: no items, no shares
        return together / together.sum(axis=0)
