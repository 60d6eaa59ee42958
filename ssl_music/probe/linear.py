"""The linear classifier of a probe, for each strength of its penalty: logistic regression, or ridge for numbers.

Features are standardised by the mean and deviation of the items fitted on. Single-label tags weigh the same however
many items they have, as they do in balanced accuracy: an item of a tag with n of the N items counts N / (K · n).
"""

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from ssl_music.probe.axes import Axes, principal_axes
from ssl_music.probe.blocks import blocks, summed
from ssl_music.probe.features import Scorer, TaskKind, probabilities, standardiser, tag_weights
from ssl_music.probe.logistic import Logistic
from ssl_music.probe.newton import NEWTON_STEPS, minimise

#: N · D · K from which threads are used; they cost more than they save below
WORTH_THREADS = 50_000_000


def linear_path(
    features: np.ndarray, targets: np.ndarray, *, kind: TaskKind, l2_strengths: Sequence[float]
) -> Iterator[Scorer]:
    """The linear classifier for each L2 strength in turn, each found from the one before.

    Minimises the mean loss of the items + l2/2 · |weights|², the bias left out: for single-label tags the
    cross-entropy of softmax regression, for multi-label tags those of one logistic regression a tag, for numbers half
    the squared error. `l2` does not change its meaning with the number of items; scikit-learn's `LogisticRegression`
    has C = 1 / (l2 · N) and, for single-label tags, class_weight balanced; its `Ridge` has alpha = l2 · N.

    Scores are those of the minimum to some 1e-6, in whatever order the items come and on however many threads: as
    many as BLAS would take (OMP_NUM_THREADS). Memory beside the arguments: N · (D + 4 K) numbers of float32.

    Shape: features (N, D), targets (N, K).

    >>> features, targets = np.array([[-1.0], [-2.0], [1.0], [2.0]]), np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
    >>> (score,) = linear_path(features, targets, kind="single", l2_strengths=[0.01])
    >>> score(np.array([[3.0]])).argmax(axis=1)
    array([1])
    """
    standardise = standardiser(features)
    numbers = features.size * targets.shape[1]
    with _threads(numbers) as pool:
        axes = principal_axes(features, standardise, pool)
        targets = targets.astype(np.float32 if kind != "numbers" else np.float64, copy=False)
        found = np.zeros((len(axes.variances), targets.shape[1]))
        slopes = _slopes(axes, targets, pool) if kind == "numbers" else found
    balance = targets @ tag_weights(targets)[:, None] if kind == "single" else np.ones((len(targets), 1))
    for l2 in l2_strengths:
        if kind == "numbers":
            found = _ridge(axes, slopes, l2)
        else:
            with _threads(numbers) as pool:
                problem = Logistic(axes, targets, balance.astype(np.float32), l2, kind == "single", pool)
                found, converged = minimise(problem, found)
            if not converged:
                warnings.warn(
                    f"the linear probe at L2 {l2:g} has not converged in {NEWTON_STEPS} steps", stacklevel=2
                )
        yield _scorer(standardise, axes.directions @ found[:-1], found[-1], kind)


def _scorer(standardise: Scorer, weights: np.ndarray, bias: np.ndarray, kind: TaskKind) -> Scorer:
    def score(features: np.ndarray) -> np.ndarray:
        scores = np.empty((len(features), len(bias)))
        for rows in blocks(len(features)):
            scores[rows] = probabilities(standardise(features[rows]) @ weights + bias, kind)
        return scores

    return score


def _slopes(axes: Axes, targets: np.ndarray, pool: Executor | None) -> np.ndarray:
    """Covariances of targets and items, and in the last row the means of the targets. Shape: (R + 1, K)."""
    mean = targets.mean(axis=0)
    (products,) = summed(
        lambda rows: (axes.items[rows].T.astype(np.float64) @ (targets[rows] - mean),), len(targets), pool
    )
    return np.vstack([products[:-1] / len(targets), mean])


def _ridge(axes: Axes, slopes: np.ndarray, l2: float) -> np.ndarray:
    """Of features that are uncorrelated and centred each weight is found by itself, and the bias is the mean."""
    return slopes / np.append(axes.variances[:-1] + l2, 1.0)[:, None]


@contextmanager
def _threads(numbers: int) -> Iterator[Executor | None]:
    """Threads over blocks of items for big tasks, none for small ones, and BLAS on one thread in each.

    BLAS' own threads only share the products, and spin while they wait for each other: ten times slower as soon as
    another program wants a core.
    """
    threads = max(
        (library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"), default=1
    )
    with threadpool_limits(1, "blas"):
        if threads == 1 or numbers < WORTH_THREADS:
            yield None
        else:
            with ThreadPoolExecutor(threads) as pool:
                yield pool
