"""How far vectors turn: the cosine between a track's vector and that of the same track, altered."""

import numpy as np

from ssl_music.errors import UserError
from ssl_music.metrics import Interval, percentile_interval
from ssl_music.vectors import centre_and_scale


class Around:
    """Cosines around a collection of vectors: each dimension less its mean there, over its deviation there.

    This is the similarity that the search index ranks by: 1 is the same, 0 what two unrelated tracks of the
    collection have. The plain cosine of embeddings behind a ReLU is near 1 for any two tracks, however little they
    have in common. Shape: vectors (N, D).

    >>> around = Around(np.array([[9.0, 1.0], [9.0, 3.0], [8.0, 2.0], [10.0, 2.0]]))
    >>> one, other = np.array([[9.0, 3.0]]), np.array([[10.0, 2.0]])
    >>> around.cosine(one, other), cosine(one, other)
    (array([0.]), array([0.9923]))
    """

    def __init__(self, vectors: np.ndarray) -> None:
        self.mean, self.scale = centre_and_scale(vectors)
        if not self.scale.any():
            raise UserError(
                f"all {len(vectors)} tracks have the same vector: the encoder has collapsed, or there is one track "
                "only, and no cosine says anything"
            )

    def cosine(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Shape: (N, D), (N, D) → (N,)."""
        return cosine((one - self.mean) * self.scale, (other - self.mean) * self.scale)


def cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Plain, row by row; NaN for a row of zeros, which points nowhere. Shape: (N, D), (N, D) → (N,).

    >>> cosine(np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[4.0, 3.0], [1.0, 0.0]]))
    array([0.96,  nan])
    """
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def mean_interval(values: np.ndarray, weights: np.ndarray) -> Interval:
    """The mean over tracks between the percentiles of its bootstrap draws; NaN has no part. Shape: (N,), (R, N)."""
    there = ~np.isnan(values)
    if not there.any():
        return Interval(float("nan"), float("nan"), float("nan"))
    held = weights[:, there].astype(np.float64)
    with np.errstate(invalid="ignore"):  # a draw of none of them has no mean
        draws = held @ values[there] / held.sum(axis=1)
    return percentile_interval(float(values[there].mean()), draws)
