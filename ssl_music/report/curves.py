"""ROC and precision-recall curves of several encoders over each other, from probe records.

The mean over tags is taken vertically: of true positive rates at the same false positive rate (Fawcett, "An
introduction to ROC analysis", Pattern Recognition Letters 2006, section 9.1), of precisions at the same recall.
Precision is not interpolated between thresholds, where a straight line would be too high (Davis & Goadrich, ICML
2006): at each recall it is that of the highest threshold that reaches it. So the areas under both means are the macro
ROC-AUC and the macro average precision.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ssl_music import metrics
from ssl_music._records import Record
from ssl_music.probe import Predictions
from ssl_music.report.figures import styled
from ssl_music.report.palette import LIGHT
from ssl_music.report.sheet import DASHES, looks
from ssl_music.report.square import runs_of, scored, square

GRID = np.linspace(0, 1, 201)  #: false positive rates, or recalls, where curves of different tags meet
BEHIND = 60  #: single tags drawn behind the mean of a lone encoder: those with most tracks
_AtGrid = Callable[[np.ndarray, np.ndarray], np.ndarray]


def roc_figure(records: Mapping[str, Record], *, colours: Mapping[str, str] | None = None) -> Figure:
    """True positive rate over false positive rate, mean over tags; ROC-AUC with its interval beside the names."""
    return _figure(
        records,
        colours,
        roc_at_grid,
        metric="roc_auc",
        title="ROC",
        labels=("false positive rate", "true positive rate"),
    )


def precision_recall_figure(records: Mapping[str, Record], *, colours: Mapping[str, str] | None = None) -> Figure:
    """Precision over recall, mean over tags; average precision with its interval beside the names."""
    return _figure(
        records,
        colours,
        precision_at_grid,
        metric="pr_auc",
        title="precision and recall",
        labels=("recall", "precision"),
    )


def roc_rows(records: Mapping[str, Record]) -> list[dict[str, Any]]:
    """The mean curves as numbers: one column an encoder."""
    return _grid_rows(records, "false positive rate", roc_at_grid)


def precision_recall_rows(records: Mapping[str, Record]) -> list[dict[str, Any]]:
    """The mean curves as numbers: one column an encoder; none at recall 0, where nothing is predicted."""
    return _grid_rows(records, "recall", precision_at_grid)[1:]


def roc_at_grid(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """True positive rates of one tag at the false positive rates of `GRID`; of several at one, the highest.

    Shape: (N,), (N,) → (len(GRID),).

    >>> roc_at_grid(np.array([0, 0, 1, 1]), np.array([0.1, 0.9, 0.9, 0.8]))[[0, 50, 100, -1]]
    array([0. , 0.25, 1.  , 1.  ])
    """
    curve = metrics.roc_curve(truth, scores)
    return np.interp(GRID, curve.false_positive_rate, curve.true_positive_rate)


def precision_at_grid(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Precisions of one tag at the recalls of `GRID`: of the highest threshold that reaches each.

    At recall 0, where nothing is predicted, that of the next.     Shape: (N,), (N,) → (len(GRID),).

    >>> precision_at_grid(np.array([0, 1, 1]), np.array([0.8, 0.9, 0.1]))[[0, 100, 101, -1]]
    array([1.    , 1.    , 0.6667, 0.6667])
    """
    curve = metrics.precision_recall_curve(truth, scores)
    return curve.precision[np.searchsorted(curve.recall, np.maximum(GRID, GRID[1]) - 1e-12)]


def _figure(
    records: Mapping[str, Record],
    colours: Mapping[str, str] | None,
    at_grid: _AtGrid,
    *,
    metric: str,
    title: str,
    labels: tuple[str, str],
) -> Figure:
    """The mean curve of each encoder, the best on top; behind a lone one, those of single tags."""
    first, runs = runs_of(records)
    styles = looks(list(records), colours)
    areas = {name: record.facts["metrics"].get(metric, (None,) * 3) for name, record in records.items()}
    ranked = sorted(records, key=lambda name: -(areas[name][0] or 0))
    tags = int(scored(first).sum())
    lone = len(records) == 1 and tags > 1
    note = f"mean over {tags} tags; dashed: chance" + (_behind(tags) if lone else "")
    keyed = [(name, styles[name], _told(areas[name])) for name in ranked]
    steps = "steps-pre" if at_grid is precision_at_grid else "default"
    chance = records[ranked[0]].facts["chance"].get(metric)
    with styled():
        sheet, axes, _ = square(f"{first.column}: {title}", note, keyed)
        axes.set(xlabel=labels[0], ylabel=labels[1])
        if lone:
            most = np.argsort(-first.targets.sum(axis=0) * scored(first), kind="stable")[: min(tags, BEHIND)]
            for column in most:
                own = at_grid(first.targets[:, column], first.scores[:, column])
                axes.plot(GRID[::2], own[::2], color=LIGHT["rest"], linewidth=0.4, alpha=0.7, drawstyle=steps)
        for name in reversed(ranked):
            mean, look = _over_tags(runs[name], at_grid), styles[name]
            axes.plot(GRID, mean, color=look.colour, linestyle=look.line, linewidth=1.5, drawstyle=steps)
        ends = (0, 1) if at_grid is roc_at_grid else (chance, chance)
        if None not in ends:
            axes.plot((0, 1), ends, color=LIGHT["muted"], linestyle=DASHES, linewidth=1)
    return sheet.figure


def _over_tags(runs: Sequence[Predictions], at_grid: _AtGrid) -> np.ndarray:
    """The mean curve over the tags that can be scored, and over the runs. Shape: (len(GRID),)."""
    curves = [
        at_grid(run.targets[:, column], run.scores[:, column])
        for run in runs
        for column in np.flatnonzero(scored(run))
    ]
    return np.mean(curves, axis=0)


def _grid_rows(records: Mapping[str, Record], axis: str, at_grid: _AtGrid) -> list[dict[str, Any]]:
    means = {name: _over_tags(own, at_grid) for name, own in runs_of(records)[1].items()}
    return [
        {axis: round(float(at), 6), **{name: float(mean[place]) for name, mean in means.items()}}
        for place, at in enumerate(GRID)
    ]


def _told(area: Sequence[float | None]) -> str:
    value, low, high = area
    if value is None:
        return "–"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _behind(tags: int) -> str:
    return "; thin: each tag" if tags <= BEHIND else f"; thin: the {BEHIND} with most tracks"
