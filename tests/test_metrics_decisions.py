"""Decisions per item and per tag, their thresholds and confusions: scikit-learn, naive loops, closed forms."""

import itertools

import numpy as np
import pytest
from sklearn import metrics as reference

from ssl_music import metrics
from ssl_music.errors import UserError

PER_TAG = [
    metrics.precision,
    metrics.recall,
    metrics.f_beta,
    metrics.tag_accuracy,
    metrics.tag_balanced_accuracy,
]


def decided(seed: int, *, count: int = 120, tags: int = 4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = (random.random((count, tags)) < [0.1, 0.3, 0.5, 0.05][:tags]).astype(np.float32)
    truth[0], truth[1] = 1, 0
    predicted = np.where(random.random((count, tags)) < 0.7, truth, random.integers(0, 2, (count, tags)))
    return truth, predicted


def scored(seed: int, *, count: int = 60, tags: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Targets, and probabilities with many ties."""
    random = np.random.default_rng(seed)
    targets = (random.random((count, tags)) < 0.3).astype(float)
    targets[0], targets[1] = 1, 0
    return targets, np.round(np.clip(random.normal(0.4, 0.2, (count, tags)) + targets / 4, 0, 1), 1)


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


@pytest.mark.parametrize("weighted", [True, False])
def test_decisions_per_tag_equal_scikit_learn(weighted: bool) -> None:
    truth, predicted = decided(0)
    given = np.random.default_rng(1).random(len(truth)) if weighted else None
    options = {"average": None, "sample_weight": given}
    np.testing.assert_allclose(
        metrics.precision(truth, predicted, weights=given), reference.precision_score(truth, predicted, **options)
    )
    np.testing.assert_allclose(
        metrics.recall(truth, predicted, weights=given), reference.recall_score(truth, predicted, **options)
    )
    for beta in (0.5, 1.0, 2.0):
        expected = reference.fbeta_score(truth, predicted, beta=beta, **options)
        np.testing.assert_allclose(metrics.f_beta(truth, predicted, beta=beta, weights=given), expected)
    for tag in range(truth.shape[1]):
        column = truth[:, tag], predicted[:, tag]
        ours = metrics.tag_accuracy(truth, predicted, weights=given)[tag]
        assert ours == pytest.approx(reference.accuracy_score(*column, sample_weight=given))
        ours = metrics.tag_balanced_accuracy(truth, predicted, weights=given)[tag]
        assert ours == pytest.approx(reference.balanced_accuracy_score(*column, sample_weight=given))


def test_class_numbers_equal_their_one_hot_decisions() -> None:
    random = np.random.default_rng(2)
    truth, predicted = random.integers(0, 4, (2, 200))
    one_hot = np.eye(5)[truth], np.eye(5)[predicted]
    weights = random.integers(0, 3, (6, 200))
    for metric in PER_TAG:
        of_numbers = metric(truth, predicted, 5, weights=weights)
        np.testing.assert_array_equal(of_numbers, metric(*one_hot, weights=weights))
        assert np.isnan(of_numbers[:, 4]).all()
    expected = reference.precision_score(truth, predicted, average=None)
    np.testing.assert_allclose(metrics.precision(truth, predicted, 5)[:4], expected)


@pytest.mark.parametrize("metric", PER_TAG)
def test_weights_count_like_repeated_items(metric, monkeypatch: pytest.MonkeyPatch) -> None:
    truth, predicted = decided(3)
    times = np.random.default_rng(3).integers(0, 4, size=(5, len(truth)))
    monkeypatch.setattr(metrics.base, "BLOCK_NUMBERS", 2 * len(truth))  # two draws at a time
    drawn = metric(truth, predicted, weights=times)
    for draw in range(5):
        rows = np.repeat(np.arange(len(truth)), times[draw])
        np.testing.assert_allclose(drawn[draw], metric(truth[rows], predicted[rows]), rtol=1e-12)
        np.testing.assert_allclose(drawn[draw], metric(truth, predicted, weights=times[draw]), rtol=1e-12)


@pytest.mark.parametrize("metric", PER_TAG)
def test_order_of_items_and_tags_does_not_matter(metric) -> None:
    truth, predicted = decided(4)
    rows, tags = np.random.default_rng(4).permutation(len(truth)), [2, 0, 3, 1]
    moved = metric(truth[rows][:, tags], predicted[rows][:, tags])
    np.testing.assert_allclose(moved, metric(truth, predicted)[tags], rtol=1e-12)


def test_tags_without_a_score_are_nan_and_never_zero() -> None:
    truth = np.array([[0, 1, 1, 1], [0, 1, 0, 0], [0, 1, 0, 0]])
    predicted = np.array([[1, 1, 0, np.nan], [0, 0, 0, np.nan], [0, 1, 0, np.nan]])
    for metric in PER_TAG:
        score = metric(truth, predicted)
        assert np.isnan(score[[0, 1, 3]]).all()  # no positive, no negative, not decided
        assert metrics.macro(score).left_out == ([0, 1, 2, 3] if metric is metrics.precision else [0, 1, 3])
    assert metrics.recall(truth, predicted)[2] == 0
    assert metrics.f_beta(truth, predicted)[2] == 0  # the limit, though precision is 0/0
    assert metrics.tag_balanced_accuracy(truth, predicted)[2] == 0.5
    assert np.isnan(metrics.recall(np.eye(3), np.eye(3), weights=np.array([0.1, 0, 0])))[0]


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_thresholds_for_f_beta_equal_brute_force(beta: float) -> None:
    for seed in range(5):
        targets, scores = scored(seed)
        chosen = metrics.thresholds_for_f_beta(targets, scores, beta=beta)
        for tag in range(targets.shape[1]):
            column = targets[:, tag : tag + 1], scores[:, tag : tag + 1]
            reached = {
                threshold: metrics.f_beta(column[0], column[1] >= threshold, beta=beta)[0]
                for threshold in sorted(np.unique(column[1]), reverse=True)
            }
            assert chosen[tag] == max(
                reached, key=lambda threshold: reached[threshold]
            )  # of equals the first: highest
        ours = metrics.f_beta(targets, metrics.decide(scores, chosen), beta=beta)
        theirs = reference.fbeta_score(targets, scores >= chosen, beta=beta, average=None)
        np.testing.assert_allclose(ours, theirs)


@pytest.mark.parametrize("target", [0.3, 0.5, 0.75, 1.0])
def test_thresholds_for_precision_equal_brute_force(target: float) -> None:
    unreachable = 0
    for seed in range(5):
        targets, scores = scored(seed)
        chosen = metrics.thresholds_for_precision(targets, scores, precision=target)
        for tag in range(targets.shape[1]):
            column = targets[:, tag], scores[:, tag]
            enough = [t for t in np.unique(column[1]) if column[0][column[1] >= t].mean() >= target]
            assert chosen[tag] == min(enough, default=np.inf)
            unreachable += not enough
    assert unreachable > 0 or target < 1


def test_thresholds_that_cannot_be_known_decide_nothing() -> None:
    targets = np.array([[0, 1, 1], [0, 1, 0]])
    scores = np.array([[0.5, 0.5, 0.1], [0.4, 0.4, 0.9]])
    for chosen in (
        metrics.thresholds_for_f_beta(targets, scores),
        metrics.thresholds_for_precision(targets, scores, precision=0.5),
    ):
        np.testing.assert_array_equal(np.isnan(chosen), [True, True, False])
        decisions = metrics.decide(scores, chosen)
        np.testing.assert_array_equal(decisions[:, 2], [1, 1])
        assert metrics.macro(metrics.recall(targets, decisions)) == (1.0, [0, 1])
    never = metrics.thresholds_for_precision(targets, scores, precision=0.9)
    assert never[2] == np.inf
    np.testing.assert_array_equal(metrics.decide(scores, never)[:, 2], [0, 0])


def test_soft_confusion_matrix_equals_the_loop() -> None:
    targets, scores = scored(7)
    tags = targets.shape[1]
    expected = np.zeros((tags, tags))
    for i, j in itertools.product(range(tags), range(tags)):
        for track in range(len(targets)):
            if targets[track, j]:
                expected[i, j] += scores[track, i]
    expected /= expected.sum(axis=0)
    np.testing.assert_allclose(metrics.soft_confusion_matrix(targets, scores), expected, rtol=1e-12)
    order = [3, 1, 4, 0, 2]
    moved = metrics.soft_confusion_matrix(targets[::-1, order], scores[::-1, order])
    np.testing.assert_allclose(moved, expected[np.ix_(order, order)], rtol=1e-12)


def test_soft_confusion_of_certain_single_labels_is_the_normalised_confusion() -> None:
    truth, predicted = np.random.default_rng(8).integers(0, 3, (2, 90))
    soft = metrics.soft_confusion_matrix(np.eye(4)[truth], np.eye(4)[predicted])
    counted = reference.confusion_matrix(truth, predicted, normalize="true")
    np.testing.assert_allclose(soft[:3, :3], counted.T)
    assert np.isnan(soft[:, 3]).all()  # a tag without tracks has no column
    with pytest.raises(UserError, match="scores below 0"):
        metrics.soft_confusion_matrix(np.eye(2), -np.eye(2))


def test_wrong_decisions_are_refused() -> None:
    with pytest.raises(UserError, match="argmax"):
        metrics.accuracy(np.ones(3), np.ones(3))
    with pytest.raises(UserError, match=r"came \(3,\) and \(2,\)"):
        metrics.balanced_accuracy(np.zeros(3, int), np.zeros(2, int))
    with pytest.raises(UserError, match="class number 2"):
        metrics.confusion_matrix(np.array([2]), np.array([0]), 2)
    with pytest.raises(UserError, match="how many classes"):
        metrics.recall(np.array([0, 1]), np.array([0, 1]))
    with pytest.raises(UserError, match="classes=2 came with class numbers up to 2"):
        metrics.f_beta(np.array([0, 2]), np.array([0, 1]), 2)
    with pytest.raises(UserError, match="classes=3 came with decisions on 2 tags"):
        metrics.precision(np.eye(2), np.eye(2), 3)
    with pytest.raises(UserError, match=r"truth is \(2, 2\) and predicted \(2, 3\)"):
        metrics.tag_accuracy(np.eye(2), np.ones((2, 3)))
    with pytest.raises(UserError, match="predicted must hold 0 and 1"):
        metrics.recall(np.eye(2), np.eye(2) / 2)
    with pytest.raises(UserError, match="predicted hold NaN"):
        metrics.recall(np.eye(2), np.array([[np.nan, 1], [1, 0]]))
    for beta in (0, -1, np.nan, np.inf):
        with pytest.raises(UserError, match="beta must be"):
            metrics.f_beta(np.eye(2), np.eye(2), beta=beta)
    for share in (0, 1.1, np.nan):
        with pytest.raises(UserError, match="precision must be"):
            metrics.thresholds_for_precision(np.eye(2), np.eye(2), precision=share)
    with pytest.raises(UserError, match=r"thresholds must be \(2,\)"):
        metrics.decide(np.eye(2), np.ones(3))
