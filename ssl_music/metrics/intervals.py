"""How far a score may be trusted: over the items it was computed on (bootstrap), and over runs (Student's t)."""

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from ssl_music.errors import UserError
from ssl_music.metrics.base import Interval, units_of


def bootstrap_weights(groups: Sequence[str], *, draws: int, seed: int) -> np.ndarray:
    """How often each item occurs in each of `draws` drawings with replacement of whole groups. Shape: (draws, N).

    Clips of one composition are no independent witnesses, so items of one group are drawn together; an item with an
    empty name is its own group.

    >>> bootstrap_weights(["a", "a", "", ""], draws=2, seed=0).shape
    (2, 4)
    """
    if draws < 1 or not len(groups):
        raise UserError(f"a bootstrap wants one draw or more of one item or more; came {draws} of {len(groups)}")
    member = units_of(groups)
    count = int(member.max()) + 1
    drawn = np.random.default_rng(seed).integers(count, size=(draws, count))
    drawn += np.arange(draws)[:, None] * count
    times = np.bincount(drawn.ravel(), minlength=draws * count).reshape(draws, count)
    return times[:, member].astype(np.float32)  # small counts: exact


def percentile_interval(
    value: float, drawn: np.ndarray, *, coverage: float = 0.95, bias_corrected: bool = False
) -> Interval:
    """`value` between the percentiles of its bootstrap draws (R,); draws without a score (NaN) are left out.

    Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13. Average precision of a rare tag is higher in
    a draw than on all items, for draws repeat items: its percentiles lie too high. `bias_corrected` moves them by
    how far the draws' median is from `value` (the BC interval; Efron, The Jackknife, the Bootstrap and Other
    Resampling Plans, 1982, section 10.7). In a simulation of six tags and 40 or 100 groups the 95 % interval of macro
    PR-AUC then held the truth in 88 % and 87 % of runs instead of 79 % and 82 %; those of ROC-AUC and balanced
    accuracy hold it in 91 to 96 % as they are, and no oftener corrected.

    >>> percentile_interval(0.5, np.linspace(0, 1, 1001))
    Interval(value=0.5, low=0.025, high=0.975)
    >>> percentile_interval(0.4, np.linspace(0, 1, 1001), bias_corrected=True)
    Interval(value=0.4, low=0.007, high=0.927)
    """
    _check_coverage(coverage)
    drawn = np.asarray(drawn, dtype=np.float64)
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return Interval(float(value), float("nan"), float("nan"))
    shares = np.array([(1 - coverage) / 2, (1 + coverage) / 2])
    if bias_corrected:
        below = (np.mean(drawn < value) + np.mean(drawn <= value)) / 2
        # with every draw on one side the correction would be without bound: at most that of one draw on the other
        below = np.clip(below, 1 / (len(drawn) + 1), len(drawn) / (len(drawn) + 1))
        shares = ndtr(2 * ndtri(below) + ndtri(shares))
    low, high = np.quantile(drawn, shares)
    return Interval(float(value), float(low), float(high))


def paired_interval(
    value_a: float, value_b: float, drawn_a: np.ndarray, drawn_b: np.ndarray, *, coverage: float = 0.95
) -> Interval:
    """a − b between the percentiles of the differences, draw by draw: whether a is better on the same items.

    Both must come from the same `bootstrap_weights`. What is hard for both cancels, so this is narrower than what two
    intervals that do or do not overlap could say. Shape of the draws: (R,) each.

    >>> paired_interval(0.8, 0.7, np.array([0.8, 0.9, 0.7]), np.array([0.7, 0.8, 0.6]))
    Interval(value=0.1, low=0.1, high=0.1)
    """
    drawn_a, drawn_b = np.asarray(drawn_a, dtype=np.float64), np.asarray(drawn_b, dtype=np.float64)
    if drawn_a.ndim != 1 or drawn_a.shape != drawn_b.shape:
        raise UserError(f"draws must be (R,) of the same drawings; came {drawn_a.shape} and {drawn_b.shape}")
    return percentile_interval(float(value_a) - float(value_b), drawn_a - drawn_b, coverage=coverage)


def student_t_interval(values: Sequence[float] | np.ndarray, coverage: float = 0.95) -> Interval:
    """Mean over runs ± t · s / √n, t of Student's distribution with n − 1 degrees of freedom (Biometrika 6, 1908).

    `values` are the scores of runs that differ in their seed only, two or more. Shape: (n,).

    >>> student_t_interval([0.70, 0.72, 0.74])
    Interval(value=0.72, low=0.6703, high=0.7697)
    """
    _check_coverage(coverage)
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise UserError(f"an interval over runs wants two finite scores or more; came {values.tolist()}")
    mean = float(values.mean())
    half = float(stdtrit(len(values) - 1, (1 + coverage) / 2) * values.std(ddof=1) / np.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half)


def _check_coverage(coverage: float) -> None:
    if not 0 < coverage < 1:
        raise UserError(f"coverage must be between 0 and 1, as 0.95; came {coverage}")
