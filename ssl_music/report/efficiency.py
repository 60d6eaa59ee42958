"""What is reached with a few of the labels: scores over the share of labels, from a record of kind "fractions"."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssl_music.errors import UserError
from ssl_music.probe import NAMES
from ssl_music.report.figures import drawable, styled
from ssl_music.report.lettering import apart, shortened, width_inches
from ssl_music.report.palette import LIGHT
from ssl_music.report.sheet import DASHES, LINE, PAGE, POINTS, TITLE, Look, Sheet, looks

_LEFT, _PLOT, _NAMES, _REACH = (
    0.5,
    3.6,
    2.9,
    0.35,
)  # inches: before and of the plot, of names, from a line to its name


def efficiency_figure(facts: Mapping[str, Any], *, colours: Mapping[str, str] | None = None) -> Figure:
    """A line an encoder with its Student-t band over draws of labels, named at its end; chance dashed.

    >>> point = {"fraction": 0.1, "tracks": 9, "runs": [0.7], "value": 0.7, "low": None, "high": None}
    >>> facts = {"column": "mood", "metric": "roc_auc", "chance": 0.5, "fractions": [0.1], "labels": {"0.1": 9}}
    >>> len(efficiency_figure(facts | {"curves": {"CLMR": [point]}}).axes)  # the sheet, and the panel
    2
    """
    curves = facts["curves"]
    if not any(curves.values()):
        raise UserError(f"label efficiency of {facts['column']}: no curve has a point; run the fractions again")
    styles = looks(list(curves), colours)
    labels = {name: f"{points[-1]['value']:.3f}  {drawable(name)}" for name, points in curves.items() if points}
    names = min(_NAMES, max(width_inches(label, points=POINTS) for label in labels.values()))
    top = TITLE + LINE + 0.15
    height = max(_PLOT, LINE * len(labels))
    width = PAGE - _LEFT - _REACH - names - 0.1
    metric = NAMES.get(facts["metric"], facts["metric"])
    lowest, highest = _limits(facts)
    with styled():
        sheet = Sheet(PAGE, top + height + 0.75, title=f"{facts['column']}: {metric} with few labels")
        told = "band: 95 % Student-t interval over draws of labels; number: the last of a line"
        sheet.write(0, TITLE + LINE / 2, told + _chance_note(facts, lowest), colour="muted")
        axes = sheet.panel(_LEFT, top, width, height)
        axes.set(xscale="log", xlim=_reach(facts["fractions"]), ylim=(lowest, highest))
        axes.minorticks_off()
        _ticks(axes, facts, width)
        axes.set_xlabel("share of the labels of the training split, and how many tracks that is")
        for name, points in curves.items():
            _curve(axes, points, styles[name])
        if facts.get("chance") is not None and facts["chance"] > lowest:
            axes.axhline(facts["chance"], color=LIGHT["muted"], linestyle=DASHES, linewidth=1)
        _names(
            sheet,
            axes,
            curves,
            {name: shortened(label, inches=names, points=POINTS) for name, label in labels.items()},
            styles,
        )
    return sheet.figure


def efficiency_rows(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same as numbers, a row for each encoder and fraction; the runs behind each value stand in one cell."""
    return [
        {
            "encoder": name,
            "fraction": point["fraction"],
            "tracks": point["tracks"],
            "value": point["value"],
            "low": point["low"],
            "high": point["high"],
            "runs": " ".join(f"{run:.6g}" for run in point["runs"]),
        }
        for name, points in facts["curves"].items()
        for point in points
    ]


def _curve(axes: Axes, points: Sequence[Mapping[str, Any]], look: Look) -> None:
    at = [point["fraction"] for point in points]
    low, value, high = (np.array([point[key] for point in points], float) for key in ("low", "value", "high"))
    if len(points) > 1:
        axes.fill_between(at, low, high, color=look.colour, alpha=0.12, linewidth=0)
    else:
        axes.vlines(at, low, high, colors=look.colour, alpha=0.4, linewidth=3)
    axes.plot(at, value, marker=look.marker, markersize=4, linestyle=look.line, color=look.colour, clip_on=False)


def _names(
    sheet: Sheet,
    axes: Axes,
    curves: Mapping[str, Sequence[Mapping[str, Any]]],
    labels: Mapping[str, str],
    styles: Mapping[str, Look],
) -> None:
    """The names right of the plot, beside the ends of their lines, moved apart where these are close."""
    low, high = axes.get_ylim()
    first, last = axes.get_xlim()
    box = axes.get_position()
    top, bottom = sheet.height * (1 - box.y1), sheet.height * (1 - box.y0)
    left, right = sheet.width * box.x0, sheet.width * box.x1
    ends = {name: curves[name][-1] for name in labels}
    wanted = [bottom - (bottom - top) * (end["value"] - low) / (high - low) for end in ends.values()]
    placed = apart(wanted, gap=LINE, low=top, high=bottom)
    for (name, end), y, label_y in zip(ends.items(), wanted, placed, strict=True):
        x = left + (right - left) * math.log(end["fraction"] / first) / math.log(last / first)
        leader = ((x + 0.06, right + _REACH - 0.06), (y, label_y))
        sheet.ground.plot(*leader, color=styles[name].colour, linewidth=0.6, alpha=0.7)
        sheet.write(right + _REACH, label_y, labels[name])


def _ticks(axes: Axes, facts: Mapping[str, Any], width: float) -> None:
    """At every fraction, with its number of tracks; a label that would run into the one behind it is left out."""
    first, last = (math.log(end) for end in axes.get_xlim())
    room, labels = math.inf, []
    for fraction in reversed(facts["fractions"]):
        lines = [f"{100 * fraction:g} %", f"{facts['labels'][f'{fraction:g}']:,}"]
        half = max(width_inches(line, points=9) for line in lines) / 2
        middle = width * (math.log(fraction) - first) / (last - first)
        labels.append("\n".join(lines) if middle + half < room else "")
        room = middle - half - 0.08 if labels[-1] else room
    axes.set_xticks(facts["fractions"], labels[::-1])


def _reach(fractions: Sequence[float]) -> tuple[float, float]:
    low, high = min(fractions), max(fractions)
    room = (high / low) ** 0.03 if high > low else 2.0
    return low / room, high * (room if high == low else 1.0)


def _limits(facts: Mapping[str, Any]) -> tuple[float, float]:
    """What the values reach, and of the bands as much again as a third of it: those of two draws are vast.

    Chance belongs to it where it is not further away than the values are from each other.
    """
    points = [point for curve in facts["curves"].values() for point in curve]
    values = [point["value"] for point in points]
    spread = max(max(values) - min(values), 0.06)
    chance = facts.get("chance")
    if chance is not None and chance > min(values) - spread:
        values.append(chance)
    ends = [point[key] for point in points for key in ("low", "high") if point[key] is not None]
    low = max(min([*values, *ends]), min(values) - spread / 3)
    high = min(max([*values, *ends]), max(values) + spread / 3)
    edge = 0.03 * max(high - low, 0.02)
    return low - edge, high + edge


def _chance_note(facts: Mapping[str, Any], lowest: float) -> str:
    if facts.get("chance") is None:
        return ""
    return "; dashed: chance" if facts["chance"] > lowest else f"; chance: {facts['chance']:.3f}, below"
