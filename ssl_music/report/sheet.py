"""A figure laid out in inches from its upper left corner, which no layout engine does well with many names."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssl_music.report.figures import DPI
from ssl_music.report.lettering import BOLD, shortened, width_inches
from ssl_music.report.palette import LIGHT, encoder_colours

PAGE, COLUMN, TALLEST = 9.0, 4.4, 11.5  #: inches: the width of a page, of half of one, the height one may have
POINTS, LINE = 8.5, 0.19  #: size of the type, and inches from one line of it to the next
TITLE = 0.28  #: inches that a title takes
DASHES = (0, (4, 3))  #: how the level of guessing is drawn
_MARKERS = "osD^vPX"
_LINES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (7, 2, 1.5, 2)))
_KEY, _BETWEEN = 0.28, 0.26  # inches: the mark before a name of the legend, the space behind it
Entry = tuple[str, "Look"]


class Look(NamedTuple):
    """How an encoder is drawn: those of one colour differ by mark and line."""

    colour: str
    marker: str = "o"
    line: str | tuple[int, tuple[float, ...]] = "-"


class Sheet:
    """A figure of so many inches; `ground` covers it and is measured in inches, downwards."""

    def __init__(self, width: float, height: float, *, title: str = "") -> None:
        self.width, self.height = width, height
        self.figure = Figure((width, height), dpi=DPI)
        self.ground = self.panel(0, 0, width, height)
        self.ground.set_axis_off()
        self.ground.set(xlim=(0, width), ylim=(height, 0))
        if title:
            self.write(0, 0.12, shortened(title, inches=width / BOLD, points=10), points=10, weight="bold")

    def panel(self, left: float, top: float, width: float, height: float) -> Axes:
        return self.figure.add_axes(
            (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        )

    def write(
        self,
        x: float,
        y: float,
        text: str,
        *,
        points: float = POINTS,
        colour: str = "ink",
        align: str = "left",
        weight: str = "normal",
    ) -> None:
        """One line of text whose middle is y inches from the top."""
        self.ground.text(
            x, y, text, fontsize=points, color=LIGHT[colour], fontweight=weight, ha=align, va="center_baseline"
        )

    def legend(self, x: float, y: float, lines: Sequence[Sequence[Entry]], *, marks: bool = True) -> None:
        """The lines that `legend_lines` made, from y downwards, each name behind its mark."""
        for number, entries in enumerate(lines):
            at, middle = x, y + (number + 0.5) * LINE
            for name, look in entries:
                if marks:
                    self.ground.plot(at + 0.09, middle, look.marker, color=look.colour, markersize=5)
                else:
                    ends = (at + 0.02, at + _KEY - 0.06)
                    self.ground.plot(ends, (middle, middle), linestyle=look.line, color=look.colour)
                self.write(at + _KEY, middle, name, colour="muted")
                at += _KEY + width_inches(name, points=POINTS) + _BETWEEN


def looks(names: Sequence[str], colours: Mapping[str, str] | None = None) -> dict[str, Look]:
    """How each encoder is drawn, given the palette's names of their colours (default: `encoder_colours`).

    >>> [look.marker for look in looks(["CLMR", "random initialisation", "log-mel statistics"]).values()]
    ['o', 'o', 's']
    """
    given = {**encoder_colours([name for name in names if name not in (colours or {})]), **(colours or {})}
    taken: dict[str, int] = {}
    made = {}
    for name, colour in given.items():
        number = taken[colour] = taken.get(colour, -1) + 1
        made[name] = Look(LIGHT[colour], _MARKERS[number % len(_MARKERS)], _LINES[number % len(_LINES)])
    return {name: made[name] for name in names}


def legend_lines(entries: Sequence[Entry], *, inches: float) -> list[list[Entry]]:
    """Names and marks, set one after the other into lines; a name that is wider than half of all is shortened."""
    made: list[list[Entry]] = []
    room = 0.0
    for given, look in entries:
        name = shortened(given, inches=inches / 2 - _KEY, points=POINTS)
        width = _KEY + width_inches(name, points=POINTS)
        if not made or width > room:
            made.append([])
            room = inches
        made[-1].append((name, look))
        room -= width + _BETWEEN
    return made


def bare(axes: Axes, *, grid: str = "y") -> None:
    """No marks on the axes, and a grid in one direction only ("x", "y", or "" for none)."""
    axes.grid(False)
    if grid:
        axes.grid(True, axis=grid)  # type: ignore[arg-type]
