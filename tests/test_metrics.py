"""Areas and curves of rankings against scikit-learn, naive loops and closed forms; what every metric refuses."""

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
        (np.ones((3, 2)), np.ones((3, 2)), np.array([[1, 1, 1], [0, 0, 0]]), "0 for every item of a draw"),
    ],
)
def test_wrong_shapes_and_numbers_are_refused(targets, scores, weights, match) -> None:
    with pytest.raises(UserError, match=match):
        metrics.roc_auc(targets, scores, weights=weights)


@pytest.mark.parametrize("ties", [True, False])
def test_micro_areas_equal_scikit_learn(ties: bool) -> None:
    targets, scores = ranked(11, ties=ties)
    targets = np.concatenate([targets, np.zeros((len(targets), 1))], axis=1)  # a tag without positives takes part
    scores = np.concatenate([scores, scores[:, :1] / 2], axis=1)
    area, average = metrics.micro_ranking_scores(targets, scores)
    assert float(area) == pytest.approx(reference.roc_auc_score(targets, scores, average="micro"), abs=1e-12)
    assert float(average) == pytest.approx(
        reference.average_precision_score(targets, scores, average="micro"), abs=1e-12
    )
    assert metrics.micro_roc_auc(targets, scores) == area
    assert metrics.micro_average_precision(targets, scores) == average
    raveled = metrics.ranking_scores(targets.reshape(-1, 1), scores.reshape(-1, 1))
    np.testing.assert_allclose(np.ravel(raveled), [area, average], rtol=1e-12)


def test_micro_weights_count_like_repeated_items_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, scores = ranked(12)
    times = np.random.default_rng(12).integers(0, 4, size=(5, len(targets)))
    drawn = metrics.micro_ranking_scores(targets, scores, weights=times)
    for draw in range(5):
        rows = np.repeat(np.arange(len(targets)), times[draw])
        expected = metrics.micro_ranking_scores(targets[rows], scores[rows])
        np.testing.assert_allclose([area[draw] for area in drawn], expected, rtol=1e-12)
        one = metrics.micro_ranking_scores(targets, scores, weights=times[draw])
        np.testing.assert_allclose(one, expected, rtol=1e-12)
    monkeypatch.setattr(metrics.base, "BLOCK_NUMBERS", 2 * len(targets))
    np.testing.assert_allclose(metrics.micro_ranking_scores(targets, scores, weights=times), drawn, rtol=1e-12)


def test_micro_areas_without_a_positive_or_a_negative_pair_are_nan() -> None:
    for targets in (np.zeros((3, 2)), np.ones((3, 2))):
        assert np.isnan(metrics.micro_ranking_scores(targets, np.arange(6.0).reshape(3, 2))).all()


def test_order_of_tags_does_not_matter() -> None:
    targets, scores = ranked(13)
    order = [2, 0, 3, 1]
    for metric in (metrics.roc_auc, metrics.average_precision):
        np.testing.assert_array_equal(metric(targets[:, order], scores[:, order]), metric(targets, scores)[order])
    for metric in (metrics.micro_roc_auc, metrics.micro_average_precision):
        assert metric(targets[:, order], scores[:, order]) == pytest.approx(metric(targets, scores), rel=1e-12)


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_curves_equal_scikit_learn(ties: bool, weighted: bool) -> None:
    targets, scores = ranked(14, ties=ties)
    weights = np.random.default_rng(14).integers(1, 4, len(targets)) if weighted else None
    for tag in range(targets.shape[1]):
        column = targets[:, tag], scores[:, tag]
        curve = metrics.roc_curve(*column, weights=weights)
        false_rate, true_rate, thresholds = reference.roc_curve(
            *column, sample_weight=weights, drop_intermediate=False
        )
        kept = np.isin(thresholds, curve.thresholds)
        np.testing.assert_allclose(curve, (false_rate[kept], true_rate[kept], thresholds[kept]), atol=1e-12)
        assert len(curve.thresholds) < len(thresholds)
        area = reference.auc(curve.false_positive_rate, curve.true_positive_rate)
        own = metrics.roc_auc(targets, scores, weights=weights)[tag]
        assert area == pytest.approx(own, abs=1e-12)

        points = metrics.precision_recall_curve(*column, weights=weights)
        precision, recall, thresholds = reference.precision_recall_curve(*column, sample_weight=weights)
        np.testing.assert_allclose(points.precision, precision[-2::-1], atol=1e-12)  # they add a point at recall 0
        np.testing.assert_allclose(points.recall, recall[-2::-1], atol=1e-12)
        np.testing.assert_array_equal(points.thresholds, thresholds[::-1])
        steps = np.diff(points.recall, prepend=0) @ points.precision
        own = metrics.average_precision(targets, scores, weights=weights)[tag]
        assert steps == pytest.approx(own, abs=1e-12)


def test_items_of_weight_zero_are_no_points_of_a_curve() -> None:
    truth, scores, weights = np.array([1, 1, 0, 0, 1]), np.arange(5.0)[::-1], np.array([1, 0, 0, 1, 1])
    kept = weights > 0
    for curve in (metrics.roc_curve, metrics.precision_recall_curve):
        for ours, theirs in zip(curve(truth, scores, weights=weights), curve(truth[kept], scores[kept]), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_curves_of_tags_without_a_positive_or_a_negative_are_nan() -> None:
    for truth in (np.zeros(3), np.ones(3)):
        assert np.isnan(metrics.roc_curve(truth, np.arange(3.0))[:2]).all()
        assert np.isnan(metrics.precision_recall_curve(truth, np.arange(3.0))[:2]).all()
    with pytest.raises(UserError, match="a curve is of one tag"):
        metrics.roc_curve(np.eye(3), np.eye(3))
    with pytest.raises(UserError, match=r"takes weights \(3,\)"):
        metrics.precision_recall_curve(np.array([0, 1, 1]), np.arange(3.0), weights=np.ones((2, 3)))


def test_macro_of_draws_is_macro_of_each() -> None:
    per_tag = np.array([[0.2, np.nan, 0.4], [0.1, 0.3, 0.5], [np.nan] * 3])
    for draw, value in zip(per_tag, metrics.macro_draws(per_tag), strict=True):
        assert value == pytest.approx(metrics.macro(draw).value, nan_ok=True)
    np.testing.assert_allclose(metrics.macro_draws(per_tag)[:2], np.nanmean(per_tag[:2], axis=1))
    with pytest.raises(UserError, match="macro_draws"):
        metrics.macro(per_tag)


ON_SCORES = [
    metrics.roc_auc,
    metrics.micro_roc_auc,
    metrics.thresholds_for_f_beta,
    metrics.soft_confusion_matrix,
    lambda targets, scores: metrics.multi_tag_accuracy(targets, scores, 1),
    lambda targets, scores: metrics.soft_multi_tag_accuracy(targets, scores, 1),
    metrics.expected_calibration_error,
    metrics.top_label_calibration_error,
    metrics.average_cosine_similarity,
]


@pytest.mark.parametrize("metric", ON_SCORES)
def test_every_metric_on_scores_refuses_what_is_wrong(metric) -> None:
    good = np.array([[1.0, 0.0], [0.0, 1.0]])
    metric(good, good)
    for targets, scores, match in [
        (good, np.array([[0.1, np.nan], [0.2, 0.3]]), "scores hold NaN or Inf in 1 of 2 rows, the first is row 0"),
        (np.array([[1, np.nan], [0, 1]]), good, "targets hold NaN"),
        (good / 2, good, "0 and 1 only"),
        (good, np.ones((2, 3)), r"targets are \(2, 2\) and scores \(2, 3\)"),
        (good, np.ones(2), "scores must be"),
    ]:
        with pytest.raises(UserError, match=match):
            metric(targets, scores)
