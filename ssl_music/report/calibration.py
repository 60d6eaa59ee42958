"""Reliability: whether the probabilities that encoders' probes give mean what they say."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ssl_music import metrics
from ssl_music._records import Record
from ssl_music.probe import Predictions
from ssl_music.report.figures import styled
from ssl_music.report.palette import LIGHT
from ssl_music.report.sheet import DASHES, looks
from ssl_music.report.square import LEFT, PLOT, runs_of, scored, square

FEWEST = 10  #: predictions of a bin that is drawn
_BINS = 0.55  # inches: of the plot below


def calibration_figure(records: Mapping[str, Record], *, colours: Mapping[str, str] | None = None) -> Figure:
    """How often a tag is there, over the probability that was given it; below, how many got which.

    Of single-label columns it is that of the best scored tag, as Guo et al. (ICML 2017) draw it; of multi-label ones,
    that of every track with every scored tag. Bins of fewer than `FEWEST` predictions are not drawn: a share of three
    tracks says nothing. Dots are as large as their bins are full.
    """
    first, runs = runs_of(records)
    styles = looks(list(records), colours)
    drawn = {name: _reliability(own) for name, own in runs.items()}
    ranked = sorted(drawn, key=lambda name: _error(drawn[name]))
    keyed = [(name, styles[name], f"ECE {_error(drawn[name]):.3f}") for name in ranked]
    whose = "the best scored tag of a track" if first.kind == "single" else "every tag of every track"
    with styled():
        sheet, axes, below = square(
            f"{first.column}: calibration",
            f"{whose}; dashed: calibrated; bins of {FEWEST} or more",
            keyed,
            under=_BINS + 0.15,
        )
        axes.set(ylabel="share that has the tag", xticklabels=[])
        axes.plot((0, 1), (0, 1), color=LIGHT["muted"], linestyle=DASHES, linewidth=1)
        bins = sheet.panel(LEFT, below + 0.15, PLOT, _BINS)
        bins.grid(False)
        bins.set(xlim=(0, 1), yticks=[], xlabel="probability given")
        bins.set_ylabel("given", rotation=0, ha="right", va="center")
        for name, found in drawn.items():
            look, share = styles[name], found.items / found.items.sum()
            there = found.items >= FEWEST
            line = np.where(there, found.positive, np.nan)  # it stops where a bin is too empty
            axes.plot(found.confidence, line, linestyle=look.line, color=look.colour, linewidth=1)
            axes.scatter(
                found.confidence[there], found.positive[there], 6 + 60 * share[there] ** 0.5, color=look.colour,
                marker=look.marker, linewidths=0, clip_on=False, zorder=3,
            )  # fmt: skip
            bins.stairs(share, np.linspace(0, 1, len(share) + 1), color=look.colour, linewidth=1)
    return sheet.figure


def calibration_rows(records: Mapping[str, Record]) -> list[dict[str, Any]]:
    """The diagram as numbers: a row for each encoder and each bin that is not empty."""
    rows = []
    for name, own in runs_of(records)[1].items():
        found = _reliability(own)
        edges = np.linspace(0, 1, len(found.items) + 1)
        for number in np.flatnonzero(found.items):
            rows.append(
                {
                    "encoder": name,
                    "above": round(float(edges[number]), 6),
                    "up to": round(float(edges[number + 1]), 6),
                    "predictions": int(found.items[number]),
                    "mean probability": float(found.confidence[number]),
                    "share that has the tag": float(found.positive[number]),
                    "calibration error of all": _error(found),
                }
            )
    return rows


def _reliability(runs: Sequence[Predictions]) -> metrics.Reliability:
    if runs[0].kind == "single":
        pairs = [metrics.top_label(run.targets, run.scores) for run in runs]
    else:
        pairs = [(run.targets[:, scored(run)].ravel(), run.scores[:, scored(run)].ravel()) for run in runs]
    truth, scores = (np.concatenate(values) for values in zip(*pairs, strict=True))
    return metrics.reliability_diagram(truth, scores)


def _error(found: metrics.Reliability) -> float:
    """Expected calibration error of what the diagram shows: Guo et al., eq. 3."""
    there = found.items > 0
    gaps = np.abs(found.positive[there] - found.confidence[there])
    return float((gaps * found.items[there]).sum() / found.items.sum())
