"""Regression and calibration: scikit-learn, naive loops, closed forms."""

import numpy as np
import pytest
from sklearn import metrics as reference

from ssl_music import metrics
from ssl_music.errors import UserError


def regressed(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    targets = random.normal(size=(50, 3)) * [1, 10, 1e-3] + [0, 500, 1000]
    return targets, targets + random.normal(size=(50, 3)) * [0.5, 20, 1e-4]


@pytest.mark.parametrize("weighted", [True, False])
def test_regression_equals_scikit_learn(weighted: bool) -> None:
    targets, predictions = regressed(0)
    given = np.random.default_rng(0).random(50) if weighted else None
    options = {"multioutput": "raw_values", "sample_weight": given}
    np.testing.assert_allclose(
        metrics.r2(targets, predictions, weights=given),
        reference.r2_score(targets, predictions, **options),
        rtol=1e-9,
    )
    np.testing.assert_allclose(
        metrics.mean_absolute_error(targets, predictions, weights=given),
        reference.mean_absolute_error(targets, predictions, **options),
    )


def test_closed_forms_of_r2() -> None:
    targets, _ = regressed(1)
    np.testing.assert_array_equal(metrics.r2(targets, targets), 1)
    np.testing.assert_allclose(metrics.r2(targets, np.broadcast_to(targets.mean(axis=0), (50, 3))), 0, atol=1e-9)
    alike = np.full((5, 2), 0.1)
    alike[0, 1] = 0.7
    assert np.isnan(metrics.r2(alike, alike * 2)).tolist() == [True, False]
    weights = np.array([[1, 1, 1, 1, 1], [0, 1, 2, 1, 1]])  # the second draw lacks the one that differs
    assert np.isnan(metrics.r2(alike, alike * 2, weights=weights)).tolist() == [[True, False], [True, True]]


@pytest.mark.parametrize("metric", [metrics.r2, metrics.mean_absolute_error])
def test_regression_is_weighted_and_knows_no_order(metric) -> None:
    targets, predictions = regressed(2)
    random = np.random.default_rng(2)
    times = random.integers(0, 4, size=(4, 50))
    drawn = metric(targets, predictions, weights=times)
    for draw in range(4):
        rows = random.permutation(np.repeat(np.arange(50), times[draw]))
        expected = metric(targets[rows][:, ::-1], predictions[rows][:, ::-1])[::-1]
        np.testing.assert_allclose(drawn[draw], expected, rtol=1e-7)
    with pytest.raises(UserError, match=r"targets are \(50, 3\) and predictions \(50, 1\)"):
        metric(targets, predictions[:, :1])
    with pytest.raises(UserError, match="predictions hold NaN"):
        metric(targets, predictions * np.nan)
    with pytest.raises(UserError, match="targets must be"):
        metric(targets[:, 0], predictions[:, 0])


def expected_error(correct: np.ndarray, confidence: np.ndarray, bins: int) -> float:
    """Guo et al. 2017, eq. 3, bin by bin."""
    total = 0.0
    for number in range(1, bins + 1):
        inside = [
            row
            for row, value in enumerate(confidence)
            if (number - 1) / bins < value <= number / bins or (number == 1 and value == 0)
        ]
        if inside:
            total += len(inside) / len(correct) * abs(correct[inside].mean() - confidence[inside].mean())
    return total


@pytest.mark.parametrize("bins", [1, 10, 15])
@pytest.mark.parametrize("decimals", [1, 9])
def test_calibration_error_equals_the_loop_over_bins(bins: int, decimals: int) -> None:
    random = np.random.default_rng(bins)
    targets = (random.random((120, 3)) < 0.4).astype(float)
    scores = np.round(random.random((120, 3)), decimals)  # many at the bounds of bins
    ours = metrics.expected_calibration_error(targets, scores, bins=bins)
    assert ours.tolist() == pytest.approx([expected_error(targets[:, t], scores[:, t], bins) for t in range(3)])
    top = metrics.top_label_calibration_error(targets, scores, bins=bins)
    best = scores.argmax(axis=1)
    assert top == pytest.approx(expected_error(targets[np.arange(120), best], scores.max(axis=1), bins))


def test_calibration_error_vanishes_for_true_probabilities_and_is_known_for_certain_ones() -> None:
    random = np.random.default_rng(3)
    scores = random.random((40000, 2))
    targets = (random.random((40000, 2)) < scores).astype(float)
    assert (metrics.expected_calibration_error(targets, scores) < 0.01).all()
    certain = metrics.expected_calibration_error(targets, np.ones_like(targets))
    np.testing.assert_allclose(certain, 1 - targets.mean(axis=0))


def test_reliability_diagram_holds_what_the_error_is_made_of() -> None:
    random = np.random.default_rng(4)
    scores = random.random(200) * 0.8
    truth = (random.random(200) < scores**2).astype(int)
    diagram = metrics.reliability_diagram(truth, scores, bins=10)
    assert diagram.items.sum() == 200
    assert np.isnan(diagram.confidence[8:]).all()
    error = np.nansum(diagram.items * np.abs(diagram.positive - diagram.confidence)) / 200
    assert error == pytest.approx(metrics.expected_calibration_error(truth[:, None], scores[:, None], bins=10)[0])
    filled = diagram.items > 0
    assert ((diagram.confidence > np.arange(10) / 10) & (diagram.confidence <= np.arange(1, 11) / 10))[filled].all()


@pytest.mark.parametrize("metric", [metrics.expected_calibration_error, metrics.top_label_calibration_error])
def test_calibration_is_weighted_and_knows_no_order(metric, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    targets, scores = (random.random((60, 3)) < 0.4).astype(float), random.random((60, 3))
    times = random.integers(0, 4, size=(5, 60))
    monkeypatch.setattr(metrics.base, "BLOCK_NUMBERS", 2 * 60)
    drawn = metric(targets, scores, weights=times)
    for draw in range(5):
        rows = random.permutation(np.repeat(np.arange(60), times[draw]))
        expected = metric(targets[rows][:, ::-1], scores[rows][:, ::-1])
        np.testing.assert_allclose(drawn[draw], expected[::-1] if expected.ndim else expected, rtol=1e-9)


def test_wrong_probabilities_are_refused_and_unscorable_tags_are_nan() -> None:
    scores = np.array([[0.2, 0.3, 0.5], [0.1, 0.8, 0.9]])
    errors = metrics.expected_calibration_error(np.array([[0, 1, 0], [0, 1, 1]]), scores)
    assert np.isnan(errors).tolist() == [True, True, False]
    for metric in (metrics.expected_calibration_error, metrics.top_label_calibration_error):
        with pytest.raises(UserError, match="from 0 to 1; came from -4 to 4"):
            metric(np.eye(2), np.array([[4.0, -4.0], [-4.0, 4.0]]))
        with pytest.raises(UserError, match="bins must be 1 or more"):
            metric(np.eye(2), np.eye(2), bins=0)
    rounded = np.array([[1 + 1e-7, -1e-7], [0.0, 1.0]])  # means of float32 probabilities
    assert metrics.top_label_calibration_error(np.eye(2), rounded) == pytest.approx(0, abs=1e-6)
    with pytest.raises(UserError, match="a diagram is of one tag"):
        metrics.reliability_diagram(np.eye(2), np.eye(2))
