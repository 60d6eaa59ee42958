"""The items of a linear probe along the principal axes of their standardised features.

There the penalty |w|² is what it was, and the features are uncorrelated: the second derivatives of logistic
regression are about diagonal, which makes quick work of it, and those of ridge regression are so exactly, which
solves it for every strength of the penalty at once.
"""

from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np

from ssl_music.probe.blocks import summed
from ssl_music.probe.features import Scorer


class Axes(NamedTuple):
    """N items along R axes, R ≤ min(N, D): directions in which the items do not differ are left out.

    Shape: items (N, R + 1) float32, the last column is one, for the bias; variances (R + 1,), of the items along each
    axis, and one; directions (D, R), orthonormal.
    """

    items: np.ndarray
    variances: np.ndarray
    directions: np.ndarray


def principal_axes(features: np.ndarray, standardise: Scorer, pool: Executor | None = None) -> Axes:
    """The axes by one eigendecomposition, of D × D or N × N, in float64.

    Beside the result only some blocks are held; for N < D, all standardised features in float64. Shape: (N, D).

    >>> features = np.array([[1.0, 1.0, 5.0], [3.0, 3.0, 5.0]])
    >>> axes = principal_axes(features, lambda features: features - [2, 2, 5])
    >>> axes.items.shape, axes.variances
    ((2, 2), array([2., 1.]))
    """
    count, width = features.shape
    # N < D: in an orthonormal basis (D, N) of what the items span, or most of D × D would be zero
    basis = np.linalg.qr(standardise(features).T)[0] if count < width else None

    def products(rows: slice) -> tuple[np.ndarray]:
        block = standardise(features[rows])
        block = block if basis is None else block @ basis
        return (block.T @ block,)

    (spread,) = summed(products, count, pool)
    variances, vectors = np.linalg.eigh(spread / count)
    # below is what rounding makes of zero; without an axis a score changes by variance / l2 at most
    varied = variances > max(variances[-1], 0.0) * len(variances) * np.finfo(np.float64).eps
    directions = vectors[:, varied] if basis is None else basis @ vectors[:, varied]
    items = np.ones((count, directions.shape[1] + 1), np.float32)

    def turned(rows: slice) -> tuple[()]:
        items[rows, :-1] = standardise(features[rows]) @ directions
        return ()

    summed(turned, count, pool)
    return Axes(items, np.append(variances[varied], 1.0), directions)
