"""A metric in the draws of a bootstrap: over runs, between its percentiles, less another in the same draws."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssl_music import metrics
from ssl_music.metrics import Interval


class Drawn(NamedTuple):
    """A metric of one run: on all tracks, and in each draw of the bootstrap: () and (R,), or (K,) and (R, K)."""

    value: np.ndarray
    draws: np.ndarray


def averaged(runs: Sequence[Drawn]) -> Drawn:
    """The mean over runs, on all tracks and in each draw."""
    return Drawn(np.mean([run.value for run in runs], axis=0), np.mean([run.draws for run in runs], axis=0))


def interval(metric: str, found: Drawn) -> Interval:
    """The value between the percentiles of its draws; those of PR-AUC are biased."""
    return metrics.percentile_interval(float(found.value), found.draws, bias_corrected=metric == "pr_auc")


def difference(one: Drawn, other: Drawn) -> Interval:
    """How much higher `one` is than `other`, both in the same draws of the same tracks."""
    return metrics.paired_interval(float(one.value), float(other.value), one.draws, other.draws)


def drawn_units(groups: Sequence[str]) -> tuple[str, int]:
    """What a bootstrap over tracks of these groups draws, and how many there are of it.

    >>> drawn_units(["", ""]), drawn_units(["a", "a", ""])
    (('tracks', 2), ('groups', 2))
    """
    count = len(np.unique(metrics.units_of(groups)))
    return "tracks" if count == len(groups) else "groups", count
