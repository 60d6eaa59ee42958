"""Centre and scale of a collection of vectors: what all of its tracks have in common."""

import numpy as np


def centre_and_scale(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each dimension, and one over its deviation: 0 where all agree, which tells nothing of any track.

    Shape: (N, D) → (D,), (D,) float64.

    >>> centre_and_scale(np.array([[9.0, 1.0], [9.0, 3.0]]))
    (array([9., 2.]), array([0., 1.]))
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    deviation = vectors.std(axis=0, dtype=np.float64)
    # that of equal numbers in float32 is of rounding size, not 0
    told = deviation > 1e-6 * np.abs(mean).max(initial=1e-6)
    return mean, np.where(told, 1 / np.maximum(deviation, 1e-12), 0.0)
