"""Intervals: what is drawn, and that they cover the truth about as often as they say."""

import numpy as np
import pytest
from scipy import stats

from ssl_music import metrics
from ssl_music.errors import UserError


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


def test_interval_of_macro_f_beta_covers_at_its_nominal_rate() -> None:
    """Of 400 test sets: weights, macro and percentiles together, against the F1 of endless data."""
    random = np.random.default_rng(12)
    share = np.array([0.2, 0.4, 0.6])  # of items that have a tag; 8 in 10 decisions are right
    expected = np.mean(2 * 0.8 * share / (share + 0.8 * share + 0.2 * (1 - share)))
    covered = 0
    for trial in range(400):
        truth = random.random((150, 3)) < share
        predicted = np.where(random.random((150, 3)) < 0.8, truth, ~truth)
        weights = metrics.bootstrap_weights([""] * 150, draws=300, seed=trial)
        values = metrics.macro_draws(metrics.f_beta(truth, predicted, weights=weights))
        value, low, high = metrics.percentile_interval(metrics.macro(metrics.f_beta(truth, predicted)).value, values)
        assert low < value < high
        covered += low <= expected <= high
    assert 0.90 <= covered / 400 <= 0.98


def test_student_t_interval_equals_scipy_and_covers_at_its_nominal_rate() -> None:
    random = np.random.default_rng(13)
    for coverage in (0.8, 0.95):
        covered = 0
        for _ in range(2000):
            runs = random.normal(0.7, 0.02, size=4)
            value, low, high = metrics.student_t_interval(runs, coverage)
            covered += low <= 0.7 <= high
        assert covered / 2000 == pytest.approx(coverage, abs=0.02)
        expected = stats.t.interval(coverage, 3, loc=runs.mean(), scale=stats.sem(runs))
        np.testing.assert_allclose((value, low, high), (runs.mean(), *expected))
    assert metrics.student_t_interval([0.5, 0.5]) == (0.5, 0.5, 0.5)


def test_paired_interval_is_narrow_where_both_find_the_same_items_hard() -> None:
    random = np.random.default_rng(14)
    covered, widths = 0, []
    for trial in range(150):
        hard = random.random(200)
        right_a, right_b = (random.random((2, 200)) < 0.05) ^ (hard < np.array([[0.7], [0.65]]))
        truth = (0.95 * 0.70 + 0.05 * 0.30) - (0.95 * 0.65 + 0.05 * 0.35)
        weights = metrics.bootstrap_weights([""] * 200, draws=300, seed=trial)
        ones = np.ones(200, int)
        drawn = [metrics.accuracy(ones, right.astype(int), weights=weights) for right in (right_a, right_b)]
        value, low, high = metrics.paired_interval(right_a.mean(), right_b.mean(), *drawn)
        assert value == pytest.approx(right_a.mean() - right_b.mean())
        covered += low <= truth <= high
        alone = metrics.percentile_interval(right_a.mean(), drawn[0])
        widths.append((high - low) / (alone.high - alone.low))
    assert 0.89 <= covered / 150 <= 0.99
    assert np.mean(widths) < 0.9  # two independent ones would differ by √2 times the width of one
    assert metrics.paired_interval(0.4, 0.4, drawn[0], drawn[0]) == (0, 0, 0)


def test_draws_without_a_score_are_left_out_of_an_interval() -> None:
    drawn = np.array([0.1, np.nan, 0.3])
    assert metrics.percentile_interval(0.2, drawn, coverage=0.999)[1:] == pytest.approx((0.1, 0.3), abs=1e-3)
    assert np.isnan(metrics.percentile_interval(0.2, drawn * np.nan)[1:]).all()
    value, low, high = metrics.paired_interval(0.5, 0.3, drawn, drawn[::-1])
    assert value == pytest.approx(0.2)
    assert low == pytest.approx(-high, abs=1e-12)


def test_wrong_draws_runs_and_coverages_are_refused() -> None:
    for values in ([0.5], [], [[0.1, 0.2]], [0.1, np.nan]):
        with pytest.raises(UserError, match="two finite scores or more"):
            metrics.student_t_interval(values)
    for coverage in (0, 1, 95, np.nan):
        with pytest.raises(UserError, match="coverage must be between 0 and 1"):
            metrics.student_t_interval([0.1, 0.2], coverage)
        with pytest.raises(UserError, match="coverage must be between 0 and 1"):
            metrics.percentile_interval(0.5, np.arange(3.0), coverage=coverage)
    with pytest.raises(UserError, match=r"came \(3,\) and \(2,\)"):
        metrics.paired_interval(0.1, 0.2, np.ones(3), np.ones(2))
    with pytest.raises(UserError, match="one draw or more"):
        metrics.bootstrap_weights([], draws=3, seed=0)


def test_the_corrected_interval_of_average_precision_holds_the_truth_more_often() -> None:
    """Of one rare tag among 60 tracks: draws repeat tracks, which flatters average precision."""
    random = np.random.default_rng(0)

    def sample(count: int) -> tuple[np.ndarray, np.ndarray]:
        truth = random.random((count, 4)) < [0.35, 0.2, 0.1, 0.1]
        return truth.astype(np.float64), truth + random.normal(size=truth.shape)

    true = metrics.macro(metrics.average_precision(*sample(200_000))).value
    held = {False: 0, True: 0}
    for seed in range(200):
        targets, scores = sample(60)
        weights = metrics.bootstrap_weights([""] * 60, draws=200, seed=seed)
        value = metrics.macro(metrics.average_precision(targets, scores)).value
        drawn = metrics.macro_draws(metrics.average_precision(targets, scores, weights=weights))
        for corrected in held:
            found = metrics.percentile_interval(value, drawn, bias_corrected=corrected)
            held[corrected] += found.low <= true <= found.high
    assert held[True] > held[False] + 5
    assert held[True] >= 170


def test_a_corrected_interval_is_bounded_where_every_draw_is_on_one_side() -> None:
    drawn = np.linspace(0.6, 0.7, 100)
    found = metrics.percentile_interval(0.5, drawn, bias_corrected=True)
    assert found.low == pytest.approx(0.6, abs=1e-6)
    assert found.high < 0.65
    unbiased = metrics.percentile_interval(0.65, drawn, bias_corrected=True)
    assert (unbiased.low, unbiased.high) == pytest.approx(metrics.percentile_interval(0.65, drawn)[1:], abs=1e-3)
