"""What every classifier of a probe shares: the task kinds, standardised features, probabilities."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy.special import expit, log_softmax

from ssl_music.probe.blocks import summed

#: one tag a track, several tags a track, or numbers (regression)
TaskKind = Literal["single", "multi", "numbers"]
#: features (M, D) → scores (M, K): probabilities of tags, or the numbers themselves
Scorer = Callable[[np.ndarray], np.ndarray]


def standardiser(features: np.ndarray) -> Scorer:
    """Features less their mean over their deviation, both of `features`; a constant one is only centred.

    >>> standardiser(np.array([[1.0, 5.0], [3.0, 5.0]]))(np.array([[5.0, 6.0]]))
    array([[3., 1.]])
    """
    count = len(features)
    mean = summed(lambda rows: (features[rows].sum(axis=0, dtype=np.float64),), count)[0] / count
    deviation = np.sqrt(summed(lambda rows: (((features[rows] - mean) ** 2).sum(axis=0),), count)[0] / count)
    # a constant column of float32 has a deviation of rounding size, not of zero
    constant = deviation <= 1e-6 * np.abs(mean)
    scale = np.where(constant, 1.0, deviation)
    return lambda features: (features - mean) / scale


def probabilities(logits: np.ndarray, kind: TaskKind) -> np.ndarray:
    """Of each tag by itself where tags may go together, of one distribution over single-label tags; numbers stay.

    >>> probabilities(np.zeros((1, 2)), "single")
    array([[0.5, 0.5]])
    """
    if kind == "numbers":
        return logits
    return expit(logits) if kind == "multi" else np.exp(log_softmax(logits, axis=1))


def tag_weights(targets: np.ndarray) -> np.ndarray:
    """What one item of each tag counts, so that all tags count the same. Shape: (N, K) → (K,).

    >>> tag_weights(np.array([[1, 0], [1, 0], [1, 0], [0, 1]]))
    array([0.6667, 2.    ])
    """
    return len(targets) / (targets.shape[1] * targets.sum(axis=0))
