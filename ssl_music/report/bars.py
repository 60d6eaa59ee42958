"""How well every tag is read, tags with most tracks first: by two or by hundreds, without one name over another."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssl_music.errors import unknown_name
from ssl_music.probe import NAMES
from ssl_music.report.figures import drawable, styled
from ssl_music.report.lettering import flowed, shortened, width_inches
from ssl_music.report.palette import LIGHT
from ssl_music.report.sheet import DASHES, LINE, PAGE, POINTS, TALLEST, TITLE, Look, Sheet, bare, legend_lines, looks

Facts = Mapping[str, Any]
SHOWN = 4  #: encoders side by side, unless others are asked for
ONE_COLUMN = 24  #: tags; more stand in two columns
_ROW, _MORE = 0.18, 0.035  # inches: the row of a tag, and what each encoder beyond the first adds to it
_SUPPORT, _GUTTER, _TICKS = 0.62, 0.4, 0.24  # inches: the numbers of tracks, between two columns, above each column
_WIDEST = 3.0  # inches of a name


def tag_figures(
    results: Mapping[str, Facts],
    metric: str | None = None,
    *,
    shown: Sequence[str] | None = None,
    colours: Mapping[str, str] | None = None,
) -> list[Figure]:
    """A dot a tag and encoder on its 95 % interval, over as many figures as make it legible; none without tags.

    `results` are the facts of probe records by the name of the encoder; the first says which tags. An encoder alone
    has bars from what guessing reaches. A tag of one group has a hollow dot and no interval: it would mean nothing.

    >>> facts = {"column": "mood", "tracks": {"test": 9}, "left_out": {"test": []}, "chance": {}, "per_tag": [
    ...     {"tag": "calm", "support": 4, "units": 4, "scores": {"roc_auc": [0.8, 0.7, 0.9]}}]}
    >>> len(tag_figures({"CLMR": facts}))
    1
    """
    names = list(results)[:SHOWN] if shown is None else list(shown)
    for name in names:
        if name not in results:
            raise unknown_name("encoder", name, list(results))
    metric = _metric(results, metric)
    tags = _by_support(results)
    if not tags or not names:
        return []
    styles = looks(list(results), colours)
    chart = _Chart(results, metric, {name: styles[name] for name in names})
    missing = _test(chart.first["left_out"]) or []
    columns = 1 if len(tags) <= ONE_COLUMN else 2
    down = columns * int((TALLEST - chart.top - _TICKS) / chart.row)
    pages = [tags[start : start + down] for start in range(0, len(tags), down)]
    return [
        chart.page(
            page,
            columns,
            note=f"{len(tags):,} tags" + (f", page {number} of {len(pages)}" if len(pages) > 1 else ""),
            missing=missing if number == len(pages) else [],
        )
        for number, page in enumerate(pages, 1)
    ]


def tag_rows(results: Mapping[str, Facts], metric: str | None = None) -> list[dict[str, Any]]:
    """The same as numbers, for every encoder and every tag; those that were not scored at the end."""
    metric = _metric(results, metric)
    first: Facts = next(iter(results.values()), {})
    scores = {name: _scores(facts, metric) for name, facts in results.items()}
    nothing = (None, None, None)
    rows = []
    for tag in _by_support(results):
        head = {"tag": tag["tag"], "scored": "yes", "tracks": tag["support"], "units": tag["units"]}
        rows.append({**head, "chance": _chance(first, metric, tag)})
        for name, own in scores.items():
            rows[-1] |= _cells(name, own.get(tag["tag"], nothing))
    for missing in _test(first.get("left_out", {})) or []:
        rows.append({"tag": missing, "scored": "no", "tracks": None, "units": None, "chance": None})
        for name in scores:
            rows[-1] |= _cells(name, nothing)
    return rows


@dataclass(frozen=True)
class _Chart:
    """What all pages have in common."""

    results: Mapping[str, Facts]
    metric: str
    styles: Mapping[str, Look]  # of the encoders shown

    @property
    def first(self) -> Facts:
        return next(iter(self.results.values()))

    @property
    def row(self) -> float:
        return _ROW + _MORE * (len(self.styles) - 1)

    @property
    def legend(self) -> list[list[tuple[str, Look]]]:
        return legend_lines(list(self.styles.items()), inches=PAGE)

    @property
    def top(self) -> float:
        return TITLE + LINE * (1 + len(self.legend)) + 0.1 + _TICKS

    def page(self, tags: Sequence[Facts], columns: int, *, note: str, missing: Sequence[str]) -> Figure:
        down = math.ceil(len(tags) / columns)
        foot = flowed(missing, inches=PAGE, points=POINTS) if missing else []
        bottom = self.top + down * self.row
        title = f"{self.first['column']}: {NAMES.get(self.metric, self.metric)} by tag"
        with styled():
            sheet = Sheet(PAGE, bottom + (LINE * (1.8 + len(foot)) if foot else 0.1), title=title)
            told = "most tracks first; number: test tracks with the tag; line: 95 % interval; dashed: chance"
            sheet.write(0, TITLE + LINE / 2, f"{note}, {told}", colour="muted")
            sheet.legend(0, TITLE + LINE, self.legend)
            width = (PAGE - _GUTTER * (columns - 1)) / columns
            for column in range(columns):
                self._column(sheet, column * (width + _GUTTER), width, tags[column * down : (column + 1) * down])
            if foot:
                why = "Not scored, for no track of the test split, or every one, has the tag:"
                sheet.write(0, bottom + LINE * 0.9, why, colour="muted")
                for number, line in enumerate(foot):
                    sheet.write(0, bottom + (number + 1.9) * LINE, line)
        return sheet.figure

    def _column(self, sheet: Sheet, left: float, width: float, tags: Sequence[Facts]) -> None:
        if not tags:
            return
        longest = max(width_inches(drawable(tag["tag"]), points=POINTS) for tag in self.first["per_tag"])
        name = min(longest, _WIDEST, (width - _SUPPORT) * 0.48)
        for number, tag in enumerate(tags):
            middle = self.top + (number + 0.5) * self.row
            sheet.write(left, middle, shortened(tag["tag"], inches=name, points=POINTS))
            at = left + name + _SUPPORT - 0.15
            sheet.write(at, middle, f"{tag['support']:,}", colour="muted", align="right")
        start = name + _SUPPORT
        axes = sheet.panel(left + start, self.top, width - start - 0.1, len(tags) * self.row)
        self._dots(axes, tags)

    def _dots(self, axes: Axes, tags: Sequence[Facts]) -> None:
        lines = np.arange(len(tags), dtype=float)
        low, high = self._limits()
        axes.set(xlim=(low, high), ylim=(len(tags) - 0.5, -0.5), yticks=[])
        axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, pad=1)
        axes.spines["bottom"].set_visible(False)
        bare(axes, grid="x")
        between = lines if len(self.styles) == 1 else lines[1:] - 0.5
        axes.hlines(between, low, high, colors=LIGHT["line"], linewidth=0.4, zorder=0)
        chance = np.array([_chance(self.first, self.metric, tag) for tag in tags], float)  # None is NaN
        half = 0.5 * (0.7 if len(set(chance)) > 1 else 1.0)  # one line where it is one number
        axes.vlines(chance, lines - half, lines + half, colors=LIGHT["muted"], linewidth=1, linestyles=DASHES)
        step = 0.68 / max(len(self.styles), 1)
        for number, (name, look) in enumerate(self.styles.items()):
            own = _scores(self.results[name], self.metric)
            found = np.array([own.get(tag["tag"], (np.nan,) * 3) for tag in tags], float)
            units = np.array([tag["units"] for tag in tags])
            at = lines + step * (number - (len(self.styles) - 1) / 2)
            if len(self.styles) == 1:
                begin = np.where(np.isnan(chance), max(low, 0.0), chance)
                axes.barh(at, found[:, 0] - begin, 0.62, left=begin, color=look.colour, alpha=0.3, linewidth=0)
            several = units > 1
            axes.hlines(at[several], found[several, 1], found[several, 2], colors=look.colour, linewidth=1.2)
            below = found[:, 0] < low  # far below guessing: an arrow says that it goes on
            for mine, inside, marker in (
                (several & ~below, look.colour, look.marker),
                (~several & ~below, LIGHT["paper"], look.marker),
                (below, look.colour, "<"),
            ):
                axes.plot(
                    np.maximum(found[mine, 0], low), at[mine], marker, color=look.colour,
                    markerfacecolor=inside, markersize=3.6, clip_on=False,
                )  # fmt: skip

    def _limits(self) -> tuple[float, float]:
        """Of all pages alike: what the scores reach, whiskers that go on below chance and every score are cut."""
        scores = [own for name in self.styles for own in _scores(self.results[name], self.metric).values()]
        found = np.array(scores or [(np.nan,) * 3], float)  # None is NaN
        chances = np.array([_chance(self.first, self.metric, tag) for tag in self.first["per_tag"]], float)
        values, highs = (part[np.isfinite(part)] for part in (np.append(found[:, 0], chances), found[:, 2]))
        if not len(values):
            return 0.0, 1.0
        low = math.floor(values.min() * 10 - 0.5) / 10
        high = math.ceil(max(values.max(), *highs) * 10) / 10
        return max(low, 0.0 if values.min() >= 0 else -1.0), min(high, 1.0) if values.max() <= 1 else high


def _metric(results: Mapping[str, Facts], metric: str | None) -> str:
    known: dict[str, None] = {}
    for facts in results.values():
        for tag in facts["per_tag"]:
            known |= dict.fromkeys(tag["scores"])
    if metric is None:
        return "roc_auc" if "roc_auc" in known or not known else next(iter(known))
    if known and metric not in known:
        raise unknown_name("metric of tags", metric, list(known))
    return metric


def _by_support(results: Mapping[str, Facts]) -> list[Facts]:
    first: Facts = next(iter(results.values()), {"per_tag": []})
    return sorted(first["per_tag"], key=lambda tag: -tag["support"])


def _scores(facts: Facts, metric: str) -> dict[str, Sequence[float]]:
    return {tag["tag"]: tag["scores"][metric] for tag in facts["per_tag"] if metric in tag["scores"]}


def _cells(name: str, interval: Sequence[float | None]) -> dict[str, float | None]:
    return dict(zip((name, f"{name} low", f"{name} high"), interval, strict=True))


def _test(by_split: Mapping[str, Any]) -> Any:
    """What is said of the test split, which comes last."""
    return list(by_split.values())[-1] if by_split else None


def _chance(facts: Facts, metric: str, tag: Facts) -> float | None:
    """What guessing reaches for one tag: of PR-AUC the share of tracks with it, of recall one in so many tags."""
    if metric == "roc_auc":
        return 0.5
    if metric == "pr_auc" and _test(facts["tracks"]):
        return tag["support"] / _test(facts["tracks"])
    return facts["chance"].get("balanced_accuracy" if metric == "recall" else metric)
