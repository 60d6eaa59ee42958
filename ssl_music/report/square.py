"""What curves of several encoders over each other have in common: a square plot above a list of names and numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from ssl_music._records import Record
from ssl_music.errors import UserError
from ssl_music.probe import Predictions, ProbeResult
from ssl_music.report.lettering import shortened, width_inches
from ssl_music.report.sheet import COLUMN, LINE, POINTS, TITLE, Look, Sheet

LEFT, PLOT = 0.55, 3.4  #: inches: before a plot, and of it
_LABELS = 0.5  # inches: below a plot
Keyed = tuple[str, Look, str]  #: an encoder, how it is drawn, what is told of it


def square(title: str, note: str, keyed: Sequence[Keyed], *, under: float = 0.0) -> tuple[Sheet, Axes, float]:
    """A sheet with a square plot, `under` inches for more below, and the names with what is told of each.

    Also where the plot ends, in inches from the top.
    """
    top = TITLE + LINE + 0.1
    below = top + PLOT
    names = below + under + _LABELS
    sheet = Sheet(COLUMN, names + LINE * len(keyed), title=title)
    sheet.write(0, TITLE + LINE / 2, note, colour="muted")
    for number, (name, look, told) in enumerate(keyed):
        room = COLUMN - width_inches(told, points=POINTS) - 0.6
        sheet.legend(0, names + number * LINE, [[(shortened(name, inches=room, points=POINTS), look)]], marks=False)
        sheet.write(COLUMN - 0.1, names + (number + 0.5) * LINE, told, align="right")
    axes = sheet.panel(LEFT, top, PLOT, PLOT)
    ticks = np.linspace(0, 1, 6)
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=ticks, yticks=ticks[1:])  # one zero serves both
    axes.tick_params(pad=5)
    axes.grid(True, axis="both")
    return sheet, axes, below


def runs_of(records: Mapping[str, Record]) -> tuple[Predictions, dict[str, list[Predictions]]]:
    """The first predictions of all, and those of every run of each encoder; UserError for different questions."""
    if not records:
        raise UserError("no records to draw curves of; give those of one probe or more")
    runs = {name: ProbeResult.of(record).test for name, record in records.items()}
    first = next(iter(runs.values()))[0]
    for name, own in runs.items():
        if own[0].kind == "numbers":
            raise UserError(f"{records[name].path}: numbers have no ROC, precision-recall or calibration curve")
        if sorted(own[0].ids) != sorted(first.ids) or sorted(own[0].tags) != sorted(first.tags):
            raise UserError(
                f"{records[name].path}: other tracks or tags than in {records[next(iter(records))].path}; "
                "curves of different questions do not belong in one figure"
            )
    return first, runs


def scored(predictions: Predictions) -> np.ndarray:
    """Which tags have a track with and a track without. Shape: (K,)."""
    return np.array(predictions.targets.any(axis=0) & ~predictions.targets.all(axis=0))
