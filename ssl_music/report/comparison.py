"""Encoders against each other: paired differences from one of them, tasks side by side, mean ranks."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssl_music.errors import UserError
from ssl_music.probe import NAMES
from ssl_music.report.figures import drawable, styled
from ssl_music.report.lettering import BOLD, shortened, width_inches
from ssl_music.report.palette import LIGHT
from ssl_music.report.sheet import LINE, PAGE, POINTS, TALLEST, TITLE, Look, Sheet, bare, looks

Interval = Sequence[float | None]  #: value, low, high
_ROW, _TICKS, _WIDEST = 0.21, 0.24, 2.6  # inches: of an encoder, above the dots, of a name
_TASK, _GUTTER = 1.75, 0.3  # inches: of a task's panel at least, between two


def difference_figure(
    differences: Mapping[str, Interval],
    *,
    reference: str,
    metric: str,
    title: str = "",
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """How much more each encoder scores than `reference`, from a paired bootstrap; the best first.

    A hollow dot is a difference whose interval holds zero: it cannot be told from none.

    >>> len(difference_figure({"MoCo": [0.02, -0.01, 0.05]}, reference="CLMR", metric="roc_auc").axes)
    2
    """
    if not differences:
        raise UserError(f"no encoder to hold against {reference!r}: give two results or more of one task")
    order = sorted(differences, key=lambda name: -(differences[name][0] or 0))
    styles = looks(order, colours)
    told = [_signed(differences[name]) for name in order]
    side = _side(order)
    numbers = max(width_inches(text, points=POINTS) for text in told) + 0.2
    top = TITLE + LINE + 0.1 + _TICKS
    height = len(order) * _ROW
    heading = f"{title}: " if title else ""
    with styled():
        sheet = Sheet(
            PAGE, top + height + 0.1, title=f"{heading}{NAMES.get(metric, metric)}, difference from {reference}"
        )
        note = "right: better than it; line: 95 % interval, paired over the same tracks; hollow: it holds zero"
        sheet.write(0, TITLE + LINE / 2, note, colour="muted")
        axes = sheet.panel(side + 0.2, top, PAGE - side - 0.2 - numbers, height)
        axes.axvline(0, color=LIGHT["muted"], linewidth=1)
        hollow = [not _apart_from_zero(differences[name]) for name in order]
        _dots(axes, [differences[name] for name in order], [styles[name] for name in order], hollow)
        for number, (name, text) in enumerate(zip(order, told, strict=True)):
            middle = top + (number + 0.5) * _ROW
            sheet.write(0, middle, shortened(name, inches=side, points=POINTS))
            sheet.write(PAGE, middle, text, colour="muted", align="right")
    return sheet.figure


def difference_rows(differences: Mapping[str, Interval], *, reference: str) -> list[dict[str, Any]]:
    """The same as numbers, the best first."""
    order = sorted(differences, key=lambda name: -(differences[name][0] or 0))
    return [
        {"encoder": name, "less": reference}
        | dict(zip(("difference", "low", "high"), differences[name], strict=True))
        | {"holds zero": "no" if _apart_from_zero(differences[name]) else "yes"}
        for name in order
    ]


def bench_figures(facts: Mapping[str, Any], *, colours: Mapping[str, str] | None = None) -> list[Figure]:
    """A panel a task, every encoder's score on its 95 % interval, all in the order of mean rank.

    Full dots are the best of a task and those that a paired bootstrap cannot tell from it.
    """
    order, tasks = _ranked(facts), list(facts["table"])
    if not order or not tasks:
        return []
    styles = looks(order, colours)
    side = _side(order)
    across = min(len(tasks), int((PAGE - side - 0.2 + _GUTTER) / (_TASK + _GUTTER)))
    width = min((PAGE - side - 0.3 - _GUTTER * (across - 1)) / across, 3.0)
    top = TITLE + LINE + 0.1
    above = LINE + _TICKS + 0.05
    tall = above + len(order) * _ROW + 0.2
    many = across * max(1, int((TALLEST - top) / tall))
    figures = []
    for start in range(0, len(tasks), many):
        page = tasks[start : start + many]
        with styled():
            sheet = Sheet(PAGE, top + tall * math.ceil(len(page) / across), title="Every encoder at every task")
            note = "in the order of mean rank; line: 95 % interval; full: the best, and who cannot be told from it"
            sheet.write(0, TITLE + LINE / 2, note, colour="muted")
            for place, task in enumerate(page):
                left, y = side + 0.2 + place % across * (width + _GUTTER), top + place // across * tall
                sheet.write(left, y + LINE / 2, shortened(task, inches=width / BOLD, points=POINTS), weight="bold")
                axes = sheet.panel(left, y + above, width, len(order) * _ROW)
                level = {facts.get("best", {}).get(task), *facts.get("ties", {}).get(task, [])}
                found = [facts["table"][task].get(name, (None,) * 3) for name in order]
                _dots(axes, found, [styles[name] for name in order], [name not in level for name in order])
                if place % across == 0:
                    for number, name in enumerate(order):
                        named = shortened(name, inches=side, points=POINTS)
                        sheet.write(0, y + above + (number + 0.5) * _ROW, named)
        figures.append(sheet.figure)
    return figures


def bench_rows(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The bench as numbers: a row an encoder, in the order of mean rank."""
    rows = []
    for name in _ranked(facts):
        row: dict[str, Any] = {"encoder": name, "mean rank": facts["mean_rank"][name]}
        for task, own in facts["table"].items():
            row |= dict(zip((task, f"{task} low", f"{task} high"), own.get(name, (None,) * 3), strict=True))
        rows.append(row)
    return rows


def _dots(axes: Axes, intervals: Sequence[Interval], styles: Sequence[Look], hollow: Sequence[bool]) -> None:
    """A line for each interval with a dot at its value; what is None is not drawn."""
    found = np.array(intervals, float)  # None is NaN
    lines = np.arange(len(found))
    axes.set(ylim=(len(found) - 0.5, -0.5), yticks=[])
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, pad=1)
    axes.spines["bottom"].set_visible(False)
    axes.locator_params(axis="x", nbins=max(3, min(8, int(axes.get_position().width * PAGE / 0.6))))
    bare(axes, grid="x")
    axes.hlines(lines, found[:, 1], found[:, 2], colors=[look.colour for look in styles], linewidth=1.6)
    for line, (value, look, empty) in enumerate(zip(found[:, 0], styles, hollow, strict=True)):
        inside = LIGHT["paper"] if empty else look.colour
        axes.plot(value, line, look.marker, color=look.colour, markerfacecolor=inside, markersize=5, clip_on=False)


def _ranked(facts: Mapping[str, Any]) -> list[str]:
    return sorted(facts["mean_rank"], key=lambda name: facts["mean_rank"][name])


def _side(names: Sequence[str]) -> float:
    return min(_WIDEST, max(width_inches(drawable(name), points=POINTS) for name in names) + 0.02)


def _apart_from_zero(interval: Interval) -> bool:
    _, low, high = interval
    return low is not None and high is not None and (low > 0 or high < 0)


def _signed(interval: Interval) -> str:
    value, low, high = ("–" if part is None else f"{part:+.3f}".replace("-", "−") for part in interval)
    return f"{value} [{low}, {high}]"
