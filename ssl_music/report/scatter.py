"""The map of a catalog: as SVG for the page, with a name behind each point and a legend to point at; as a figure."""

import json
import re
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ssl_music._ledger import Row
from ssl_music.report.figures import drawable, drawing
from ssl_music.report.map import OTHER, UNLABELLED, Colouring
from ssl_music.report.palette import HUES, LIGHT
from ssl_music.report.text import escaped, named, shown_labels

WIDTH, MARGIN = 960, 28  # of the drawing's own units
SHALLOWEST, DEEPEST = 0.5, 0.9  # height over width


def scatter(
    places: np.ndarray, rows: Sequence[Row], colourings: Sequence[Colouring], *, marked: Mapping[int, str]
) -> str:
    """The map as HTML: buttons for the label columns, the drawing, a legend for each column, the data for page.js.

    `marked` are points with a ring and a word beside it.
    """
    at, height = fitted(places)
    radius = float(np.clip(90 / np.sqrt(max(len(rows), 1)), 2.6, 8))
    first = colourings[0] if colourings else None
    points = []
    for number, (row, (x, y)) in enumerate(zip(rows, at, strict=True)):
        shown = 0 if first is None else first.shown(number)
        facts = [named(row), *shown_labels(row.labels)]
        points.append(
            f'<use href="#m{_shape(shown)}" class="{_class(shown)}" x="{x:.1f}" y="{y:.1f}">'
            f"<title>{escaped(chr(10).join(facts))}</title></use>"
        )
    rings = [
        f'<g class="mark" transform="translate({at[point][0]:.1f} {at[point][1]:.1f})">'
        f'<circle r="{radius + 5:.1f}"/><text y="{-radius - 10:.1f}">{escaped(word)}</text></g>'
        for point, word in marked.items()
    ]
    tabs = "".join(
        f'<button type="button" aria-pressed="{str(not number).lower()}">{escaped(colouring.name)}</button>'
        for number, colouring in enumerate(colourings)
    )
    data = [{"multi": c.multi, "first": c.first, "classes": c.classes} for c in colourings]
    return (
        f'<div class="map"><div class="tabs" role="group" aria-label="colour by" hidden>{tabs}</div>'
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="map of the catalog">'
        f'<defs><circle id="m0" r="{radius:.1f}"/><path id="m1" d="{_diamond(1.25 * radius)}"/>'
        f'<circle id="m0-key" r="6"/><path id="m1-key" d="{_diamond(7.5)}"/></defs>'
        f'<g id="points">{"".join(points)}</g>{"".join(rings)}</svg>'
        + "".join(_legend(colouring, hidden=bool(number)) for number, colouring in enumerate(colourings))
        + f'<script type="application/json" id="map-data">{json_in_script(data)}</script></div>'
    )


def map_figure(places: np.ndarray, colouring: Colouring | None, *, title: str) -> Figure:
    """The same map for pasting elsewhere, with a legend and no names."""
    at, height = fitted(places)
    shown = [0 if colouring is None else colouring.shown(point) for point in range(len(at))]
    size = float(np.clip(8000 / max(len(at), 1), 8, 50))
    with drawing(7.5, 0.6 + 5.4 * height / WIDTH) as (figure, axes):
        axes.set_title(title)
        axes.grid(False)
        axes.set_axis_off()
        axes.set(xlim=(0, WIDTH), ylim=(height, 0), aspect="equal")
        for number in sorted(set(shown)):  # grey ones first, under the others
            own = at[[point for point, of in enumerate(shown) if of == number]]
            axes.scatter(
                own[:, 0],
                own[:, 1],
                s=size,
                color=_hex(number),
                marker="oD"[_shape(number)],
                linewidths=0,
                alpha=0.85,
            )
        if colouring is not None:
            entries = [
                (Line2D([], [], color=_hex(number), marker="oD"[_shape(number)], linestyle="", markersize=5), label)
                for number, label, _ in _entries(colouring)
                if number in shown
            ]
            figure.legend(
                [mark for mark, _ in entries],
                [drawable(label) for _, label in entries],
                loc="outside right upper",
                title=drawable(colouring.name),
            )
    return figure


def fitted(places: np.ndarray) -> tuple[np.ndarray, float]:
    """Places in the drawing's units, both axes to one scale, and the height that this takes."""
    low, extent = places.min(axis=0, initial=np.inf), np.ptp(places, axis=0) if len(places) else np.zeros(2)
    inside = WIDTH - 2 * MARGIN
    height = inside * float(np.clip(extent[1] / max(extent[0], 1e-9), SHALLOWEST, DEEPEST))
    scale = min(inside / max(extent[0], 1e-9), height / max(extent[1], 1e-9)) if extent.any() else 0.0
    offset = (np.array([inside, height]) - extent * scale) / 2
    return MARGIN + offset + (places - low) * scale, height + 2 * MARGIN


def json_in_script(value: object) -> str:
    """JSON that no text inside it can end the script element with.

    >>> json_in_script("</script>")
    '"\\\\u003c/script\\\\u003e"'
    """
    return re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, separators=(",", ":")))


def _legend(colouring: Colouring, *, hidden: bool) -> str:
    entries = []
    for number, label, count in _entries(colouring):
        pressed = str(number == colouring.first).lower()
        drawn = 0 if colouring.multi else number
        entries.append(
            f'<li><button type="button" data-class="{number}" aria-pressed="{pressed}">'
            f'<svg viewBox="-9 -9 18 18" aria-hidden="true"><use href="#m{_shape(drawn)}-key" '
            f'class="{_class(drawn)}"/></svg>{escaped(label)} <small>{count}</small></button></li>'
        )
    more = (
        f"<li><small>and {colouring.others} rarer tags</small></li>" if colouring.multi and colouring.others else ""
    )
    kind = "legend one" if colouring.multi else "legend"
    return f'<ul class="{kind}"{" hidden" if hidden else ""}>{"".join(entries)}{more}</ul>'


def _entries(colouring: Colouring) -> list[tuple[int, str, int]]:
    """Class number, label and number of songs of each line of the legend."""
    entries = list(zip(range(len(colouring.tags)), colouring.tags, colouring.counts, strict=True))
    if not colouring.multi:
        for number, label in (
            (OTHER, f"{colouring.others} others"),
            (UNLABELLED, f"no {colouring.name}"),
        ):
            if count := sum(own[0] == number for own in colouring.classes):
                entries.append((number, label, count))
    return entries


def _class(number: int) -> str:
    return {OTHER: "other", UNLABELLED: "none"}.get(number, f"k{number}")


def _shape(number: int) -> int:
    return max(number, 0) // HUES


def _hex(number: int) -> str:
    return LIGHT["rest" if number < 0 else f"hue-{number % HUES}"]


def _diamond(radius: float) -> str:
    return f"M0 {-radius:.1f}L{radius:.1f} 0L0 {radius:.1f}L{-radius:.1f} 0z"
