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
    many as BLAS would take (OMP_NUM_THREADS). Memory beside the arguments: N · (D + 4 K) numbers of float32, and some
    D² of float64.

    Shape: features (N, D), targets (N, K).

    >>> features, targets = np.array([[-1.0], [-2.0], [1.0], [2.0]]), np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
    >>> (score,) = linear_path(features, targets, kind="single", l2_strengths=[0.01])
    >>> score(np.array([[3.0]])).argmax(axis=1)
    array([1])
    """
    standardise = standardiser(features)
    with _threads(features.size * targets.shape[1]) as pool:
        axes = principal_axes(features, standardise, pool)
    found = _ridge(axes, targets, l2_strengths) if kind == "numbers" else _logistic(axes, targets, kind, l2_strengths)
    for weights in found:
        yield _scorer(standardise, axes.directions @ weights[:-1], weights[-1], kind)


def _logistic(axes: Axes, targets: np.ndarray, kind: TaskKind, l2_strengths: Sequence[float]) -> Iterator[np.ndarray]:
    """The weights along the axes for each strength, biases in the last row. Shape: (R + 1, K)."""
    balance = targets @ tag_weights(targets)[:, None] if kind == "single" else np.ones((len(targets), 1))
    targets, balance = targets.astype(np.float32, copy=False), balance.astype(np.float32)
    point = None
    for l2 in l2_strengths:
        with _threads(axes.items.size * targets.shape[1]) as pool:
            problem = Logistic(axes, targets, balance, l2, kind == "single", pool)
            point = point or problem.at(np.zeros((len(axes.variances), targets.shape[1])))
            point, converged = minimise(problem, point)
        if not converged:
            warnings.warn(f"the linear probe at L2 {l2:g} has not converged in {NEWTON_STEPS} steps", stacklevel=3)
        yield point.weights


def _scorer(standardise: Scorer, weights: np.ndarray, bias: np.ndarray, kind: TaskKind) -> Scorer:
    def score(features: np.ndarray) -> np.ndarray:
        scores = np.empty((len(features), len(bias)))
        for rows in blocks(len(features)):
            scores[rows] = probabilities(standardise(features[rows]) @ weights + bias, kind)
        return scores

    return score


def _ridge(axes: Axes, targets: np.ndarray, l2_strengths: Sequence[float]) -> Iterator[np.ndarray]:
    """As `_logistic`: of features that are uncorrelated and centred each weight is found by itself."""
    mean = targets.mean(axis=0, dtype=np.float64)

    def products(rows: slice) -> tuple[np.ndarray]:
        return (axes.items[rows, :-1].T.astype(np.float64) @ (targets[rows] - mean),)

    (slopes,) = summed(products, len(targets))
    for l2 in l2_strengths:
        yield np.vstack([slopes / len(targets) / (axes.variances[:-1, None] + l2), mean])


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
