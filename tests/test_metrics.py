"""Every metric against scikit-learn, a naive loop or a closed form."""

import itertools
import time

import numpy as np
import pytest
from sklearn import metrics as reference

from ssl_music import metrics
from ssl_music.errors import UserError


def ranked(seed: int, *, count: int = 200, tags: int = 4, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    targets = (random.random((count, tags)) < [0.1, 0.3, 0.5, 0.02][:tags]).astype(np.float32)
    targets[0], targets[1] = 1, 0
    scores = random.normal(size=(count, tags)) + targets
    return targets, np.round(scores, 1) if ties else scores


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_areas_equal_scikit_learn(ties: bool, weighted: bool) -> None:
    targets, scores = ranked(0, ties=ties)
    weights = np.random.default_rng(1).random(len(targets)) * 3 if weighted else None
    area = metrics.roc_auc(targets, scores, weights=weights)
    average = metrics.average_precision(targets, scores, weights=weights)
    for tag in range(targets.shape[1]):
        column = targets[:, tag], scores[:, tag]
        assert area[tag] == pytest.approx(reference.roc_auc_score(*column, sample_weight=weights), abs=1e-12)
        expected = reference.average_precision_score(*column, sample_weight=weights)
        assert average[tag] == pytest.approx(expected, abs=1e-12)


def test_area_equals_the_loop_over_pairs() -> None:
    targets, scores = ranked(2, count=40, tags=1)
    positive, negative = scores[targets[:, 0] == 1, 0], scores[targets[:, 0] == 0, 0]
    wins = [(p > n) + 0.5 * (p == n) for p, n in itertools.product(positive, negative)]
    assert metrics.roc_auc(targets, scores)[0] == pytest.approx(np.mean(wins), abs=1e-12)


def test_closed_forms() -> None:
    targets = np.array([[1], [1], [0], [0]])
    assert metrics.roc_auc(targets, -np.arange(4.0)[:, None]) == 1.0
    assert metrics.roc_auc(targets, np.arange(4.0)[:, None]) == 0.0
    assert metrics.average_precision(targets, np.arange(4.0)[:, None])[0] == pytest.approx((1 / 3 + 2 / 4) / 2)
    # equal scores: nothing is ranked, precision is the share of positives
    assert metrics.roc_auc(targets, np.zeros((4, 1))) == 0.5
    assert np.isnan(metrics.roc_auc(np.ones((3, 1)), np.zeros((3, 1)), weights=np.array([0.1, 0.2, 0.7])))
    assert metrics.average_precision(targets[[0, 2, 3]], np.zeros((3, 1)))[0] == pytest.approx(1 / 3)


def test_weights_count_like_repeated_items() -> None:
    targets, scores = ranked(3)
    times = np.random.default_rng(3).integers(0, 4, size=(3, len(targets)))
    area, average = metrics.ranking_scores(targets, scores, weights=times)
    for draw in range(3):
        repeated = np.repeat(np.arange(len(targets)), times[draw])
        assert area[draw] == pytest.approx(metrics.roc_auc(targets[repeated], scores[repeated]), nan_ok=True)
        expected = metrics.average_precision(targets[repeated], scores[repeated])
        assert average[draw] == pytest.approx(expected, nan_ok=True)


def test_blocks_of_draws_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, scores = ranked(4)
    weights = metrics.bootstrap_weights([""] * len(targets), draws=7, seed=0)
    whole = metrics.ranking_scores(targets, scores, weights=weights)
    monkeypatch.setattr(metrics.base, "BLOCK_NUMBERS", 2 * len(targets))
    np.testing.assert_allclose(metrics.ranking_scores(targets, scores, weights=weights), whole, rtol=1e-12)


def test_tags_that_cannot_be_scored_are_named_not_zero() -> None:
    targets = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 1]])
    scores = np.array([[0.9, 0.1, 0.3], [0.1, 0.2, 0.1], [0.8, 0.2, 0.5]])
    for per_tag in metrics.ranking_scores(targets, scores):
        assert np.isnan(per_tag).tolist() == [False, True, True]
        assert metrics.macro(per_tag) == (1.0, [1, 2])
    value, left_out = metrics.macro(np.full(2, np.nan))
    assert np.isnan(value)
    assert left_out == [0, 1]


def test_order_of_items_does_not_matter() -> None:
    targets, scores = ranked(5)
    order = np.random.default_rng(5).permutation(len(targets))
    for a, b in zip(
        metrics.ranking_scores(targets, scores), metrics.ranking_scores(targets[order], scores[order]), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_accuracies_and_confusion_equal_scikit_learn() -> None:
    random = np.random.default_rng(6)
    truth = random.choice(4, size=300, p=[0.6, 0.2, 0.15, 0.05])
    predicted = np.where(random.random(300) < 0.5, truth, random.integers(0, 5, 300))
    weights = random.integers(0, 3, 300)
    for given in (None, weights):
        assert metrics.accuracy(truth, predicted, weights=given) == pytest.approx(
            reference.accuracy_score(truth, predicted, sample_weight=given)
        )
        with pytest.warns(UserWarning, match="not in y_true"):
            expected = reference.balanced_accuracy_score(truth, predicted, sample_weight=given)
        assert metrics.balanced_accuracy(truth, predicted, weights=given) == pytest.approx(expected)
        expected = reference.recall_score(truth, predicted, labels=range(4), average=None, sample_weight=given)
        np.testing.assert_allclose(metrics.recall(truth, predicted, 4, weights=given), expected)
    both = metrics.balanced_accuracy(truth, predicted, weights=np.stack([np.ones(300), weights]))
    assert both[0] == metrics.balanced_accuracy(truth, predicted)
    np.testing.assert_array_equal(
        metrics.confusion_matrix(truth, predicted, 5), reference.confusion_matrix(truth, predicted, labels=range(5))
    )


def test_precision_at_k_equals_the_loop() -> None:
    random = np.random.default_rng(7)
    targets = (random.random((30, 6)) < 0.3).astype(np.float32)
    queries = random.permutation(30)[:12]
    neighbours = (queries[:, None] + random.integers(1, 30, size=(12, 5))) % 30
    neighbours[3, 3:] = -1
    expected = []
    for query, found in zip(queries, neighbours, strict=True):
        shared = [bool((targets[query] * targets[row]).sum()) for row in found if row >= 0]
        expected.append(np.mean(shared))
    assert metrics.precision_at_k(targets, queries, neighbours) == pytest.approx(np.mean(expected))


def test_precision_of_random_neighbours_is_the_chance_level() -> None:
    random = np.random.default_rng(8)
    targets = np.eye(3)[random.integers(0, 3, 60)]
    artists = [f"artist {row % 7}" for row in range(60)]
    queries = np.arange(60)
    for excluded in (None, artists):
        neighbours = np.empty((60, 2000), int)
        for row in range(60):
            candidates = [o for o in range(60) if o != row and (excluded is None or artists[o] != artists[row])]
            neighbours[row] = random.choice(candidates, 2000)
        chance = metrics.precision_chance(targets, queries, excluded=excluded)
        assert metrics.precision_at_k(targets, queries, neighbours) == pytest.approx(chance, abs=0.01)
    assert metrics.precision_chance(targets, queries, excluded=[""] * 60) == metrics.precision_chance(
        targets, queries
    )


def test_bootstrap_draws_whole_groups() -> None:
    weights = metrics.bootstrap_weights(["a", "a", "b", "", ""], draws=500, seed=0)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 1])
    assert not np.array_equal(weights[:, 3], weights[:, 4])
    np.testing.assert_array_equal(weights[:, 1:].sum(axis=1), 4)  # four groups drawn four times
    assert weights.mean() == pytest.approx(1.0, abs=0.05)
    np.testing.assert_array_equal(weights, metrics.bootstrap_weights(["a", "a", "b", "", ""], draws=500, seed=0))


def test_percentile_interval_of_a_mean_covers_at_its_nominal_rate() -> None:
    random = np.random.default_rng(9)
    covered = 0
    for trial in range(200):
        hit = (random.random(80) < 0.7).astype(int)
        weights = metrics.bootstrap_weights([""] * 80, draws=300, seed=trial)
        drawn = metrics.accuracy(np.ones(80, int), hit, weights=weights)
        _, low, high = metrics.percentile_interval(hit.mean(), drawn)
        covered += low <= 0.7 <= high
    assert 0.90 <= covered / 200 <= 0.99


def test_a_thousand_draws_are_fast() -> None:
    targets, scores = ranked(10, count=2000)
    weights = metrics.bootstrap_weights([""] * 2000, draws=1000, seed=0)
    start = time.perf_counter()
    metrics.ranking_scores(targets, scores, weights=weights)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    ("targets", "scores", "weights", "match"),
    [
        (np.ones((3, 2)), np.ones((3, 4)), None, r"targets are \(3, 2\) and scores \(3, 4\)"),
        (np.ones((3, 2)), np.full((3, 2), np.nan), None, "scores hold NaN or Inf in 3 of 3 rows"),
        (np.full((3, 2), 0.5), np.ones((3, 2)), None, "0 and 1 only"),
        (np.ones(3), np.ones(3), None, r"targets must be \(N, K\)"),
        (np.ones((0, 2)), np.ones((0, 2)), None, r"targets must be \(N, K\)"),
        (np.ones((3, 2)), np.ones((3, 2)), np.ones(4), r"weights must be \(3,\)"),
        (np.ones((3, 2)), np.ones((3, 2)), -np.ones(3), "not negative"),
    ],
)
def test_wrong_shapes_and_numbers_are_refused(targets, scores, weights, match) -> None:
    with pytest.raises(UserError, match=match):
        metrics.roc_auc(targets, scores, weights=weights)


def test_wrong_classes_and_neighbours_are_refused() -> None:
    with pytest.raises(UserError, match="argmax"):
        metrics.accuracy(np.ones(3), np.ones(3))
    with pytest.raises(UserError, match=r"came \(3,\) and \(2,\)"):
        metrics.balanced_accuracy(np.zeros(3, int), np.zeros(2, int))
    with pytest.raises(UserError, match="class number 2"):
        metrics.confusion_matrix(np.array([2]), np.array([0]), 2)
    with pytest.raises(UserError, match="one row a query"):
        metrics.precision_at_k(np.eye(3), np.arange(2), np.zeros((3, 1), int))
    with pytest.raises(UserError, match="excluded"):
        metrics.precision_chance(np.eye(3), np.arange(2), excluded=["a"])
