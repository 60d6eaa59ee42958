"""A square of shades with names on both sides: what is, from top to bottom, against what was said of it."""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from ssl_music.report.figures import drawable, styled
from ssl_music.report.lettering import POINTS_PER_INCH, shortened, width_inches, wrapped
from ssl_music.report.palette import LIGHT
from ssl_music.report.sheet import COLUMN, LINE, PAGE, POINTS, TITLE, Sheet

NUMBERED = 20  #: classes; in a larger square there is no room for numbers
NAMED = 60  #: classes; names of more would be too small to read
SHADES = 20  #: that are told apart; every one is a single path of the drawing
RIGHT, WRONG, REST = "hue-0", "hue-4", "muted"  #: of the diagonal, beside it, and of many tags put together
_COLUMN_UP_TO = 8  # classes that fit into half a page
_CELL, _NUMBERS, _NARROWEST = (
    0.5,
    0.5,
    1.2,
)  # inches: of a cell at most, of numbers of tracks, of all left of the cells


class Square(NamedTuple):
    """`shares` (K, K) of each row; `numbers` (K, K) for the cells; `tracks` (K,) behind the names.

    `rest`: the last row and column are many tags put together, of which nobody knows who was right.
    """

    names: list[str]
    shares: np.ndarray
    numbers: np.ndarray
    tracks: np.ndarray
    rest: bool


def matrix_figure(square: Square, *, title: str, note: str, numbers: str, most: float) -> Figure:
    """The square; a cell with the share `most` has the full colour. `numbers` says what the numbers are, if any."""
    count = len(square.names)
    page = COLUMN if count <= _COLUMN_UP_TO else PAGE
    longest = max(width_inches(drawable(name), points=POINTS) for name in square.names)
    side = min(longest, 0.22 * page)
    left = max(side + _NUMBERS, _NARROWEST)
    cell = min(_CELL, (page - left - 0.1) / count)
    points = min(POINTS, 0.8 * cell * POINTS_PER_INCH)
    above = min(longest, 1.5) * points / POINTS
    told = wrapped(f"number: {numbers}; {note}" if count <= NUMBERED else note, inches=page, points=POINTS)
    top = TITLE + LINE * (len(told) + 1) + 0.2 + LINE + above
    size = count * cell
    with styled():
        sheet = Sheet(page, top + size + 0.45, title=title)
        for number, line in enumerate(told):
            sheet.write(0, TITLE + (number + 0.5) * LINE, line, colour="muted")
        sheet.write(left, top - above - 0.1 - LINE / 2, "predicted →", colour="muted")
        sheet.write(left - _NUMBERS, top - 0.1, "true ↓", colour="muted", align="right")
        for number, (name, tracks) in enumerate(zip(square.names, square.tracks, strict=True)):
            middle = (number + 0.5) * cell
            named = shortened(name, inches=side, points=points)
            sheet.write(left - _NUMBERS, top + middle, named, points=points, align="right")
            sheet.write(left - 0.08, top + middle, f"{tracks:,}", points=points, colour="muted", align="right")
            sheet.ground.text(
                left + middle, top - 0.06, shortened(name, inches=above, points=points), fontsize=points,
                color=LIGHT["ink"], rotation=90, ha="center", va="bottom",
            )  # fmt: skip
        axes = sheet.panel(left, top, size, size)
        axes.set(xlim=(0, count), ylim=(count, 0), xticks=[], yticks=[])
        axes.grid(False)
        axes.spines["bottom"].set_visible(False)
        shades = np.clip(np.nan_to_num(square.shares) / most, 0, 1) if most else np.zeros((count, count))
        _cells(axes, shades, cell, rest=square.rest)
        if count <= NUMBERED:
            _numbers(axes, square.numbers, shades, size=min(POINTS, 0.32 * cell * POINTS_PER_INCH))
        _scale(sheet, left, top + size + 0.25, most)
    return sheet.figure


def alike_together(shares: np.ndarray) -> np.ndarray:
    """An order of the classes in which those that are confused stand together. Shape: (K, K) → (K,).

    Hierarchical clustering (average linkage) by how often either is taken for the other, with the leaves turned so
    that neighbours are as near as can be (Bar-Joseph et al., Bioinformatics 2001).

    >>> alike_together(np.array([[0.6, 0.0, 0.4], [0.0, 1.0, 0.0], [0.4, 0.0, 0.6]])).tolist()
    [1, 2, 0]
    """
    if len(shares) < 3:
        return np.arange(len(shares))
    shares = np.nan_to_num(shares)
    near = (shares + shares.T) / 2
    np.fill_diagonal(near, 0.0)
    far = near.max() - near
    np.fill_diagonal(far, 0.0)
    return leaves_list(linkage(squareform(far, checks=False), "average", optimal_ordering=True))


def _cells(axes: Axes, shades: np.ndarray, cell: float, *, rest: bool) -> None:
    """Cells of one colour and shade are one path, and neighbours in it one line as thick as the cell is high.

    So a square of 60 classes is some dozens of paths, not 3,600.
    """
    count = len(shades)
    levels = np.ceil(shades * SHADES - 0.25).astype(int)
    colours = np.where(np.eye(count, dtype=bool), 0, 1)
    if rest:
        colours[-1], colours[:, -1] = 2, 2
    gap = 0.03 if count <= NUMBERED else 0.0
    for number, colour in enumerate((RIGHT, WRONG, REST)):
        own = np.where(colours == number, levels, 0)
        for level in np.unique(own[own > 0]):
            rows, begin, end = _runs(own == level, joined=not gap)
            places = np.stack([begin + gap, rows + 0.5, end - gap, rows + 0.5], axis=1).reshape(-1, 2)
            path = Path(places, [Path.MOVETO, Path.LINETO] * len(rows))
            axes.add_patch(
                PathPatch(
                    path,
                    fill=False,
                    edgecolor=LIGHT[colour],
                    alpha=level / SHADES,
                    linewidth=(1 - 2 * gap) * cell * POINTS_PER_INCH,
                    capstyle="butt",
                )
            )


def _runs(cells: np.ndarray, *, joined: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, first cell, and the cell behind the last, of each run of cells in a row; not joined, of each cell."""
    if not joined:
        rows, begin = np.nonzero(cells)
        return rows, begin, begin + 1
    turns = np.diff(np.pad(cells, ((0, 0), (1, 1))).astype(int), axis=1)
    rows, begin = np.nonzero(turns > 0)
    return rows, begin, np.nonzero(turns < 0)[1]


def _numbers(axes: Axes, numbers: np.ndarray, shades: np.ndarray, *, size: float) -> None:
    for row, column in np.argwhere(np.nan_to_num(numbers) > 0):
        colour = LIGHT["paper" if shades[row, column] > 0.75 else "ink"]
        told = f"{numbers[row, column]:,.0f}"
        if told != "0":
            axes.text(column + 0.5, row + 0.5, told, fontsize=size, color=colour, ha="center", va="center_baseline")


def _scale(sheet: Sheet, left: float, y: float, most: float) -> None:
    """What the shades mean, in four steps."""
    sheet.write(left - 0.08, y, "share of the row", colour="muted", align="right")
    for step in range(1, 5):
        at = left + (step - 1) * 0.6
        for colour, row in ((RIGHT, 0), (WRONG, 1)):
            sheet.ground.fill_between(
                (at, at + 0.15), y - 0.1 + 0.1 * row, y + 0.1 * row, color=LIGHT[colour], alpha=step / 4, linewidth=0
            )
        sheet.write(at + 0.2, y, f"{100 * most * step / 4:.0f} %", colour="muted")
