"""Pictures of what songs are tagged as: tags × time for one song, artists × tags for many.

A cell is as full of colour as its score is high, and lets the page through where it is low: it reads the same on
white and on dark paper, since the colour stands as far from both.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure

from ssl_music.errors import UserError
from ssl_music.report.figures import styled
from ssl_music.report.lettering import shortened, width_inches
from ssl_music.report.palette import LIGHT
from ssl_music.report.sheet import LINE, PAGE, POINTS, TITLE, Sheet
from ssl_music.report.text import clock

FULL = "#1a7fc4"  #: contrast 4.2 to the light paper and 4.3 to the dark
COLOURS = ListedColormap([(*to_rgb(FULL), share) for share in np.linspace(0, 1, 256)], "taggram")
MOST_ROWS = 200  #: artists in one picture
_WIDEST = 2.4  # inches of a name
_SCORE = 0.45  # inches: the song's score, behind its row
_TICKS = 0.24  # inches: the times below
_COLUMN = 0.26  # inches: one tag of the picture of artists
_TICK_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)


def taggram_figure(
    tags: Sequence[str],
    starts_seconds: np.ndarray,
    window_seconds: float,
    scores: np.ndarray,
    *,
    title: str,
    top: int = 20,
    song_scores: np.ndarray | None = None,
) -> Figure:
    """The `top` tags of a song over time, the strongest first, with the song's own score of each behind its row.

    `song_scores` (K,) orders the tags; without it, the mean over the segments. Where segments overlap, each is drawn
    around its middle, as far as the middle between it and the next; between segments that lie apart nothing is drawn.
    Colours begin at 0 and are full at the highest score shown.

    Shape: starts_seconds (n,), scores (n, K).

    >>> scores = np.array([[0.9, 0.1], [0.2, 0.8]])
    >>> len(taggram_figure(["calm", "loud"], np.array([0.0, 3.0]), 3.0, scores, title="Song").axes)
    3
    """
    scores, starts = np.asarray(scores, float), np.asarray(starts_seconds, float)
    if scores.shape != (len(starts), len(tags)) or not scores.size or top < 1:
        raise UserError(f"top {top} of {len(tags)} tags, {len(starts)} starts and scores {scores.shape}: no picture")
    whole = scores.mean(axis=0) if song_scores is None else np.asarray(song_scores, float)
    shown = np.argsort(-whole, kind="stable")[:top]
    with styled():
        names = [shortened(tags[index], inches=_WIDEST, points=POINTS) for index in shown]
        left = max(width_inches(name, points=POINTS) for name in names) + 0.1
        above = TITLE + LINE + 0.12
        sheet = Sheet(PAGE, above + LINE * len(shown) + _TICKS, title=title)
        full = float(scores[:, shown].max()) or 1.0
        sheet.write(0, TITLE + LINE / 2, _told(starts, window_seconds, len(shown), len(tags)), colour="muted")
        _scale(sheet, full)
        axes = sheet.panel(left, above, PAGE - left - _SCORE, LINE * len(shown))
        edges, owners = cells(starts, window_seconds)
        picture = np.where(owners < 0, np.nan, scores[:, shown].T[:, owners])
        _mesh(axes, edges, picture, full)
        step = next((s for s in _TICK_SECONDS if (edges[-1] - edges[0]) / s <= 10), _TICK_SECONDS[-1])
        ticks = np.arange(np.ceil(edges[0] / step), edges[-1] / step + 1e-9) * step
        axes.set_xticks(ticks, [clock(float(tick)) for tick in ticks])
        for row, (index, name) in enumerate(zip(shown, names, strict=True)):
            middle = above + (row + 0.5) * LINE
            sheet.write(left - 0.08, middle, name, align="right")
            sheet.write(PAGE, middle, f"{whole[index]:.2f}", align="right", colour="muted")
    return sheet.figure


def group_figure(
    names: Sequence[str],
    counts: Sequence[int],
    tags: Sequence[str],
    scores: np.ndarray,
    *,
    title: str,
    top: int = 20,
) -> Figure:
    """A row a group (an artist) with its number of songs, a column for each of the `top` tags by their mean.

    Of more than `MOST_ROWS` groups those with most songs are shown, and it says so.

    Shape: scores (A, K), one row a name.

    >>> len(group_figure(["Ada"], [2], ["calm", "loud"], np.array([[0.9, 0.1]]), title="By artist").axes)
    3
    """
    scores = np.asarray(scores, float)
    if scores.shape != (len(names), len(tags)) or not scores.size or top < 1:
        raise UserError(f"top {top} of {len(tags)} tags, {len(names)} names and scores {scores.shape}: no picture")
    most = np.sort(np.argsort(-np.asarray(counts), kind="stable")[:MOST_ROWS])
    shown = np.argsort(-scores.mean(axis=0), kind="stable")[:top]
    with styled():
        rows = [shortened(names[index], inches=_WIDEST, points=POINTS) for index in most]
        columns = [shortened(tags[index], inches=_WIDEST, points=POINTS) for index in shown]
        left = max(width_inches(name, points=POINTS) for name in rows) + 0.5
        upright = max(width_inches(name, points=POINTS) for name in columns)
        above = TITLE + LINE + upright + 0.2
        width = max(PAGE, left + _COLUMN * len(shown))
        sheet = Sheet(width, above + LINE * len(most), title=title)
        left_out = "" if len(most) == len(names) else f"; the {len(most)} of {len(names)} with most songs"
        told = f"mean over songs, whose number stands behind the name; {len(shown)} of {len(tags)} tags{left_out}"
        sheet.write(0, TITLE + LINE / 2, told, colour="muted")
        picture = scores[np.ix_(most, shown)]
        full = float(picture.max()) or 1.0
        _scale(sheet, full)
        axes = sheet.panel(left, above, _COLUMN * len(shown), LINE * len(most))
        _mesh(axes, np.arange(len(shown) + 1.0), picture, full)
        axes.set_xticks([])
        for row, (index, name) in enumerate(zip(most, rows, strict=True)):
            middle = above + (row + 0.5) * LINE
            sheet.write(left - 0.45, middle, name, align="right")
            sheet.write(left - 0.08, middle, f"{counts[index]:,}", align="right", colour="muted")
        for column, name in enumerate(columns):
            sheet.ground.text(
                left + (column + 0.5) * _COLUMN, above - 0.08, name, fontsize=POINTS, rotation=90, ha="center",
                va="bottom",
            )  # fmt: skip
    return sheet.figure


def cells(starts_seconds: np.ndarray, window_seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the cells of a row begin and end, and which segment each shows; −1 is a gap that no segment heard.

    Shape: (n,) → (m + 1,), (m,).

    >>> cells(np.array([0.0, 1.0, 2.0]), 2.0)
    (array([0. , 1.5, 2.5, 4. ]), array([0, 1, 2]))
    >>> cells(np.array([0.0, 5.0]), 2.0)
    (array([0., 2., 5., 7.]), array([ 0, -1,  1]))
    """
    starts = np.asarray(starts_seconds, float)
    ends = starts + window_seconds
    between = (starts[1:] + ends[:-1]) / 2  # the middle between the middles of neighbours
    lefts = np.maximum(starts, np.concatenate([starts[:1], between]))
    rights = np.minimum(ends, np.concatenate([between, ends[-1:]]))
    gaps = np.flatnonzero(lefts[1:] - rights[:-1] > 1e-9 * window_seconds)
    owners = np.insert(np.arange(len(starts)), gaps + 1, -1)
    edges = np.append(np.insert(lefts, gaps + 1, rights[gaps]), rights[-1])
    return edges, owners


def _mesh(axes: Axes, edges: np.ndarray, picture: np.ndarray, full: float) -> None:
    """Cells (rows, columns), the first row on top, hairlines between the rows. An image even inside an SVG."""
    rows = len(picture)
    axes.set(xlim=(edges[0], edges[-1]), ylim=(rows, 0), yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.hlines(np.arange(rows + 1), edges[0], edges[-1], color=LIGHT["line"], linewidth=0.5, clip_on=False)
    masked = np.ma.masked_invalid(picture)
    axes.pcolormesh(edges, np.arange(rows + 1.0), masked, cmap=COLOURS, vmin=0, vmax=full, rasterized=True)


def _scale(sheet: Sheet, full: float) -> None:
    """What the colours mean, at the right of the line below the title."""
    middle, length = TITLE + LINE / 2, 0.9
    text = f"{full:.2g}"
    right = sheet.width - width_inches(text, points=POINTS) - 0.06
    axes = sheet.panel(right - length, middle - 0.05, length, 0.1)
    _mesh(axes, np.linspace(0, 1, 65), np.linspace(0, full, 64)[None], full)
    axes.set_xticks([])
    sheet.write(right - length - 0.06, middle, "score 0", align="right", colour="muted")
    sheet.write(sheet.width, middle, text, align="right", colour="muted")


def _told(starts: np.ndarray, window_seconds: float, shown: int, tags: int) -> str:
    every = f", one every {float(np.median(np.diff(starts))):.3g} s" if len(starts) > 1 else ""
    many = "segments" if len(starts) > 1 else "segment"
    of = f"the {shown} strongest of {tags:,} tags, " if shown < tags else ""
    return f"{len(starts):,} {many} of {window_seconds:.3g} s{every}; {of}the song's scores at the right"
