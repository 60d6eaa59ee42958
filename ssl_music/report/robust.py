"""How scores and embeddings change when the sound does, from a record of kind "robustness"."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssl_music.errors import unknown_name
from ssl_music.probe import NAMES
from ssl_music.report.figures import styled
from ssl_music.report.lettering import BOLD, shortened, width_inches
from ssl_music.report.palette import LIGHT
from ssl_music.report.sheet import DASHES, LINE, PAGE, POINTS, TALLEST, TITLE, Look, Sheet, legend_lines, looks

SHOWN = 6  #: encoders, unless others are asked for
Measure = Literal["score", "cosine"]
_ACROSS, _LEFT, _GUTTER = 3, 0.62, 0.3  # panels beside each other; inches before and between them
_NAME, _TICKS, _GAP = 0.26, 0.58, 0.2  # inches: above, below and between the two panels of an effect
_HEIGHTS: dict[Measure, float] = {"score": 1.25, "cosine": 0.9}
_TICK_POINTS = 7.5


def robustness_figures(
    facts: Mapping[str, Any], *, shown: Sequence[str] | None = None, colours: Mapping[str, str] | None = None
) -> list[Figure]:
    """A pair of panels an effect, strengths from clean to strong: the score, and below it the cosine to the clean.

    All panels share their scales. Without a score there is the cosine alone; without effects there is no figure.

    >>> points = [{"strength": 0.0, "unit": "dB", "score": None, "cosine": [1.0, 1.0, 1.0]},
    ...     {"strength": 6.0, "unit": "dB", "score": None, "cosine": [0.9, 0.8, 0.95]}]
    >>> facts = {"column": "", "metric": "", "encoders": {"CLMR": {"gain up": points}}}
    >>> [len(figure.axes) for figure in robustness_figures(facts)]  # the sheet, and one panel
    [2]
    """
    everyone = facts["encoders"]
    names = list(everyone)[:SHOWN] if shown is None else list(shown)
    for name in names:
        if name not in everyone:
            raise unknown_name("encoder", name, list(everyone))
    effects = list(dict.fromkeys(effect for name in names for effect in everyone[name]))
    if not effects:
        return []
    styles = {name: look for name, look in looks(list(everyone), colours).items() if name in names}
    chart = _Chart(facts, styles, _limits(facts, names))
    many = _ACROSS * max(1, int((TALLEST - chart.top) / chart.tall))
    pages = [effects[start : start + many] for start in range(0, len(effects), many)]
    return [
        chart.page(page, note=f"page {number} of {len(pages)}; " if len(pages) > 1 else "")
        for number, page in enumerate(pages, 1)
    ]


def robustness_rows(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same as numbers, a row for each encoder, effect and strength."""
    rows = []
    for name, effects in facts["encoders"].items():
        for effect, points in effects.items():
            for point in points:
                row = {"encoder": name, "effect": effect, "strength": point["strength"], "unit": point["unit"]}
                for measure in ("score", "cosine"):
                    keys = (measure, f"{measure} low", f"{measure} high")
                    row |= dict(zip(keys, point[measure] or (None, None, None), strict=True))
                rows.append(row)
    return rows


@dataclass(frozen=True)
class _Chart:
    """What all pages have in common; `limits` has the measures that are drawn."""

    facts: Mapping[str, Any]
    styles: Mapping[str, Look]
    limits: Mapping[Measure, tuple[float, float]]

    @property
    def legend(self) -> list[list[tuple[str, Look]]]:
        return legend_lines(list(self.styles.items()), inches=PAGE)

    @property
    def top(self) -> float:
        return TITLE + LINE * (1 + len(self.legend)) + 0.1

    @property
    def tall(self) -> float:
        return _NAME + sum(_HEIGHTS[measure] + _GAP for measure in self.limits) - _GAP + _TICKS

    @property
    def metric(self) -> str:
        return NAMES.get(self.facts["metric"], self.facts["metric"])

    def page(self, effects: Sequence[str], *, note: str) -> Figure:
        what = f"{self.facts['column']}: {self.metric} and embedding" if "score" in self.limits else "Embeddings"
        height = self.top + self.tall * math.ceil(len(effects) / _ACROSS)
        with styled():
            sheet = Sheet(PAGE, height, title=f"{what} when the sound changes")
            told = "from clean to strong; band: 95 % interval; cosine: of the embedding to that of the clean track"
            sheet.write(0, TITLE + LINE / 2, note + told, colour="muted")
            sheet.legend(0, TITLE + LINE, self.legend)
            for place, effect in enumerate(effects):
                self._effect(sheet, place, effect)
        return sheet.figure

    def _effect(self, sheet: Sheet, place: int, effect: str) -> None:
        """The panels of one effect, under its name."""
        curves = {name: self.facts["encoders"][name].get(effect, []) for name in self.styles}
        longest = max(curves.values(), key=len)
        width = (PAGE - _LEFT - 0.25 - _GUTTER * (_ACROSS - 1)) / _ACROSS
        left = _LEFT + (place % _ACROSS) * (width + _GUTTER)
        y = self.top + (place // _ACROSS) * self.tall
        sheet.write(left, y + _NAME / 2, shortened(effect, inches=width / BOLD, points=POINTS), weight="bold")
        y += _NAME
        last = list(self.limits)[-1]
        for measure, limits in self.limits.items():
            axes = sheet.panel(left, y, width, _HEIGHTS[measure])
            axes.set(xlim=(-0.25, max(len(longest) - 0.75, 0.25)), ylim=limits)
            axes.locator_params(axis="y", nbins=4)
            axes.tick_params(labelsize=_TICK_POINTS)
            if measure == "score" and self.facts.get("chance") is not None:
                axes.axhline(self.facts["chance"], color=LIGHT["muted"], linestyle=DASHES, linewidth=1)
            for name, points in curves.items():
                _curve(axes, points, measure, self.styles[name])
            if place % _ACROSS:
                axes.set_yticklabels([])
            else:
                axes.set_ylabel(self.metric if measure == "score" else "cosine", fontsize=POINTS)
                axes.yaxis.set_label_coords(-0.5 / width, 0.5)
            if measure == last:
                _strengths(axes, longest, width)
            else:
                axes.set_xticks(range(len(longest)), [""] * len(longest))
            y += _HEIGHTS[measure] + _GAP


def _curve(axes: Axes, points: Sequence[Mapping[str, Any]], measure: Measure, look: Look) -> None:
    if not points:
        return
    found = np.array([point[measure] or (np.nan,) * 3 for point in points], float)  # None is NaN
    at = np.arange(len(found))
    axes.fill_between(at, found[:, 1], found[:, 2], color=look.colour, alpha=0.12, linewidth=0)
    axes.plot(
        at, found[:, 0], marker=look.marker, markersize=3, linestyle=look.line, linewidth=1.2, color=look.colour
    )


def _strengths(axes: Axes, points: Sequence[Mapping[str, Any]], width: float) -> None:
    """The strengths, evenly spaced, and their unit; one that would run into the one before it is left out."""
    apart = width / (axes.get_xlim()[1] - axes.get_xlim()[0])
    labels, behind = [], -math.inf
    for number, point in enumerate(points):
        label = "clean" if number == 0 else f"{point['strength']:g}".replace("-", "−")
        half = width_inches(label, points=_TICK_POINTS) / 2
        fits = number * apart - half > behind
        labels.append(label if fits else "")
        behind = number * apart + half + 0.05 if fits else behind
    axes.set_xticks(range(len(points)), labels)
    axes.set_xlabel(shortened(points[-1]["unit"], inches=width, points=POINTS), fontsize=POINTS, labelpad=2)


def _limits(facts: Mapping[str, Any], names: Sequence[str]) -> dict[Measure, tuple[float, float]]:
    """What each measure reaches in all effects, for those that were taken at all."""
    found: dict[Measure, tuple[float, float]] = {}
    points = [point for name in names for curve in facts["encoders"][name].values() for point in curve]
    for measure in _HEIGHTS:
        ends = [end for point in points for end in point[measure] or () if end is not None and math.isfinite(end)]
        if not ends:
            continue
        if measure == "score" and facts.get("chance") is not None:
            ends.append(facts["chance"])
        edge = 0.05 * max(max(ends) - min(ends), 0.02)
        found[measure] = (min(ends) - edge, max(ends) + edge)
    return found
