"""The linear classifiers against scikit-learn at tight tolerances, on features that are hard for it or for us."""

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.special import log_softmax, logit
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ssl_music.probe import linear
from ssl_music.probe.axes import principal_axes
from ssl_music.probe.blocks import BLOCK_ROWS, summed
from ssl_music.probe.features import TaskKind, standardiser
from ssl_music.probe.fitted import L2_STRENGTHS
from ssl_music.probe.linear import linear_path

CLASSES = 4


def plain(random: np.random.Generator) -> np.ndarray:
    return random.normal(size=(400, 10)) * np.arange(1, 11) + 5


def alike(random: np.random.Generator) -> np.ndarray:
    """Pairs of columns that differ by 10⁻⁵ of their deviation: the second derivatives' eigenvalues span 10¹⁰."""
    columns = random.normal(size=(300, 12))
    return np.concatenate([columns, columns + 1e-5 * random.normal(size=(300, 12))], axis=1)


def constant(random: np.random.Generator) -> np.ndarray:
    columns = random.normal(size=(300, 6)).astype(np.float32)
    return np.concatenate([columns, np.full((300, 1), 0.1), np.zeros((300, 2)), columns[:, :1] * 1e6], axis=1)


def wide(random: np.random.Generator) -> np.ndarray:
    return random.normal(size=(60, 200)) + random.normal(size=(60, 1))


def few(random: np.random.Generator) -> np.ndarray:
    return random.normal(size=(CLASSES + 1, 7))


def correlated(random: np.random.Generator) -> np.ndarray:
    """More than one block of items, a spectrum as that of embeddings."""
    count = 2 * BLOCK_ROWS + 100
    return (random.normal(size=(count, 40)) / np.arange(1, 41)) @ random.normal(size=(40, 40))


HARD = [plain, alike, constant, wide, few, correlated]


def labels_of(features: np.ndarray, random: np.random.Generator, noise: float = 1.0) -> np.ndarray:
    """A class for each item that the features tell something of; all classes occur."""
    units = standardiser(features)(features)
    told = units @ random.normal(size=(features.shape[1], CLASSES)) / np.sqrt(features.shape[1])
    truth = (told + noise * random.gumbel(size=told.shape)).argmax(axis=1)
    truth[:CLASSES] = np.arange(CLASSES)
    return truth


def scaled(features: np.ndarray) -> np.ndarray:
    wide = features.astype(np.float64)
    return StandardScaler().fit_transform(wide)


@pytest.mark.parametrize("l2", [1.0, 0.01, 0.0001])
@pytest.mark.parametrize("make", HARD)
def test_softmax_regression_is_scikit_learns(make: Callable, l2: float) -> None:
    random = np.random.default_rng(0)
    features = make(random)
    truth = labels_of(features, random)
    (score,) = linear_path(features, np.eye(CLASSES)[truth], kind="single", l2_strengths=[l2])
    strength = 1 / (l2 * len(features))
    theirs = LogisticRegression(C=strength, class_weight="balanced", solver="newton-cg", tol=1e-9, max_iter=10_000)
    expected = theirs.fit(scaled(features), truth).predict_proba(scaled(features))
    np.testing.assert_allclose(score(features), expected, atol=2e-6)


@pytest.mark.parametrize("l2", [1.0, 0.01, 0.0001])
@pytest.mark.parametrize("make", HARD)
def test_independent_regressions_are_scikit_learns(make: Callable, l2: float) -> None:
    random = np.random.default_rng(1)
    features = make(random)
    targets = np.eye(CLASSES)[labels_of(features, random)]
    targets[random.random(targets.shape) < 0.1] = 1  # tags go together
    targets[0], targets[1] = 0, 1  # an item without any, one with all
    (score,) = linear_path(features, targets.astype(np.float32), kind="multi", l2_strengths=[l2])
    scores = score(features)
    for tag in range(CLASSES):
        theirs = LogisticRegression(C=1 / (l2 * len(features)), solver="newton-cholesky", tol=1e-10, max_iter=1000)
        expected = theirs.fit(scaled(features), targets[:, tag]).predict_proba(scaled(features))[:, 1]
        np.testing.assert_allclose(scores[:, tag], expected, atol=2e-6)


@pytest.mark.parametrize("make", HARD)
def test_ridge_is_scikit_learns(make: Callable) -> None:
    random = np.random.default_rng(2)
    features = make(random)
    targets = np.stack(
        [features[:, 0] + random.normal(size=len(features)), 1e3 + random.random(len(features))], axis=1
    )
    targets = np.concatenate([targets, np.full((len(features), 1), 7.0)], axis=1)  # a constant is told as it is
    for l2, score in zip(
        L2_STRENGTHS, linear_path(features, targets, kind="numbers", l2_strengths=L2_STRENGTHS), strict=True
    ):
        theirs = Ridge(alpha=l2 * len(features), solver="svd").fit(scaled(features), targets)
        spread = np.maximum(targets.std(axis=0), 1)
        np.testing.assert_allclose(score(features) / spread, theirs.predict(scaled(features)) / spread, atol=2e-6)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_the_gradient_is_zero_at_the_end(kind: TaskKind) -> None:
    """The objective of the docstring, written down once more, by central differences around the weights found."""
    random = np.random.default_rng(3)
    features = random.normal(size=(90, 3)) + np.array([4, 0, 1])
    targets = np.eye(CLASSES)[labels_of(features, random)]
    (score,) = linear_path(features, targets, kind=kind, l2_strengths=[0.1])
    units = np.concatenate([scaled(features), np.ones((90, 1))], axis=1)
    logits = logit(score(features)) if kind == "multi" else np.log(score(features))
    if kind == "single":  # up to what all tags share; with a penalty, weights that sum to zero
        logits -= logits.mean(axis=1, keepdims=True)
    weights = np.linalg.lstsq(units, logits, rcond=None)[0]
    count = targets.sum(axis=0)
    balance = targets @ (len(targets) / (CLASSES * count))

    def objective(weights: np.ndarray) -> float:
        told = units @ weights
        penalty = 0.1 / 2 * (weights[:-1] ** 2).sum()
        if kind == "multi":
            return (np.logaddexp(0, told) - targets * told).sum() / len(targets) + penalty
        return -(balance * (targets * log_softmax(told, axis=1)).sum(axis=1)).mean() + penalty

    lowest = objective(weights)
    for row in range(weights.shape[0]):
        for tag in range(CLASSES):
            change = np.zeros_like(weights)
            change[row, tag] = 1e-4
            up, down = objective(weights + change), objective(weights - change)
            assert abs(up - down) / 2e-4 < 1e-6
            assert min(up, down) > lowest


@pytest.mark.parametrize("kind", ["single", "multi", "numbers"])
def test_a_path_is_each_strength_alone(kind: TaskKind) -> None:
    random = np.random.default_rng(4)
    features = wide(random)
    targets = np.eye(CLASSES)[labels_of(features, random)]
    for l2, score in zip(
        L2_STRENGTHS, linear_path(features, targets, kind=kind, l2_strengths=L2_STRENGTHS), strict=True
    ):
        (alone,) = linear_path(features, targets, kind=kind, l2_strengths=[l2])
        np.testing.assert_allclose(score(features), alone(features), atol=1e-6)


@pytest.mark.parametrize("kind", ["single", "multi", "numbers"])
@pytest.mark.parametrize("make", [plain, alike, wide, correlated])
def test_the_order_of_the_items_changes_nothing(make: Callable, kind: TaskKind) -> None:
    random = np.random.default_rng(5)
    features = make(random)
    targets = np.eye(CLASSES)[labels_of(features, random)]
    order = random.permutation(len(features))
    strengths = [1.0, 0.01, 0.0001]
    path = linear_path(features, targets, kind=kind, l2_strengths=strengths)
    shuffled = linear_path(features[order], targets[order], kind=kind, l2_strengths=strengths)
    for score, other in zip(path, shuffled, strict=True):
        np.testing.assert_allclose(other(features), score(features), atol=1e-6)


@pytest.mark.parametrize("kind", ["single", "multi", "numbers"])
def test_float32_features_are_as_good(kind: TaskKind) -> None:
    """The same numbers as float32 and as float64 give the same, far from zero too, where sums of squares cancel."""
    random = np.random.default_rng(6)
    features = (correlated(random) + 100).astype(np.float32)
    targets = np.eye(CLASSES)[labels_of(features, random)]
    narrow, broad = (
        next(linear_path(given, targets, kind=kind, l2_strengths=[0.001]))
        for given in (features, features.astype(float))
    )
    np.testing.assert_allclose(narrow(features), broad(features.astype(float)), atol=1e-9)


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(7)
    features = correlated(random)
    targets = np.eye(CLASSES)[labels_of(features, random)]
    scores, pools = [], []

    class Pool(ThreadPoolExecutor):
        def __init__(self, threads: int) -> None:
            pools.append(threads)
            super().__init__(threads)

    monkeypatch.setattr(linear, "ThreadPoolExecutor", Pool)
    for worth in (10**12, 0):
        monkeypatch.setattr(linear, "WORTH_THREADS", worth)
        with threadpool_limits(3, "blas"):
            (score,) = linear_path(features, targets, kind="multi", l2_strengths=[0.01])
        scores.append(score(features))
    assert np.array_equal(*scores)
    assert pools == [3, 3]  # for the axes, and for the one strength


def test_a_rare_tag_that_is_told_apart_ends_all_the_same() -> None:
    """Three of 500 items, separable: without a penalty the weights would grow without end."""
    random = np.random.default_rng(8)
    features = random.normal(size=(500, 50))
    targets = np.zeros((500, 2))
    targets[:3, 0], targets[3:250, 1] = 1, 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = [
            score(features) for score in linear_path(features, targets, kind="multi", l2_strengths=L2_STRENGTHS)
        ]
    np.testing.assert_allclose(
        [score.mean(axis=0) for score in scores], [[3 / 500, 247 / 500]] * len(scores), atol=1e-6
    )
    assert scores[-1][:3, 0].min() > scores[-1][3:, 0].max()


def test_one_that_does_not_end_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(9)
    features = plain(random)
    targets = np.eye(CLASSES)[labels_of(features, random)]
    monkeypatch.setattr("ssl_music.probe.newton.NEWTON_STEPS", 1)
    with pytest.warns(UserWarning, match=r"at L2 0\.001 has not converged"):
        list(linear_path(features, targets, kind="single", l2_strengths=[0.001]))


@pytest.mark.parametrize("make", HARD)
def test_along_the_axes_the_features_are_uncorrelated(make: Callable) -> None:
    features = make(np.random.default_rng(10))
    standardise = standardiser(features)
    axes = principal_axes(features, standardise)
    units = standardise(features)
    items, ones = axes.items[:, :-1].astype(np.float64), axes.items[:, -1]
    assert (ones == 1).all() and axes.variances[-1] == 1
    assert items.shape[1] <= min(len(features) - 1, features.shape[1])
    np.testing.assert_allclose(items.T @ items / len(items), np.diag(axes.variances[:-1]), atol=1e-5)
    np.testing.assert_allclose(axes.directions.T @ axes.directions, np.eye(items.shape[1]), atol=1e-10)
    np.testing.assert_allclose(items @ axes.directions.T, units, atol=1e-5)  # nothing is lost
    np.testing.assert_allclose(units, scaled(features), atol=1e-6)


def test_sums_over_blocks() -> None:
    numbers = np.random.default_rng(11).normal(size=(2 * BLOCK_ROWS + 1, 3)).astype(np.float32)
    (total,) = summed(lambda rows: (numbers[rows].sum(axis=0, dtype=np.float64),), len(numbers))
    np.testing.assert_allclose(total, numbers.astype(np.float64).sum(axis=0), rtol=1e-12)
