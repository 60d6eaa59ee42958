"""The strongest confusions as a list: what a square of hundreds of tags cannot say.

Tag j is taken for tag i as far as tracks that have j and lack i are given i more than other tracks that lack i. So it
is asked of single-label columns (what is given is the tag of the highest score) and of multi-label ones (it is the
score) in the same way, and a tag that is given to everything is confused with nothing.
"""

from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ssl_music._records import Record
from ssl_music.errors import UserError
from ssl_music.probe import Predictions, ProbeResult
from ssl_music.report.figures import styled
from ssl_music.report.lettering import shortened, width_inches
from ssl_music.report.palette import LIGHT
from ssl_music.report.sheet import LINE, PAGE, POINTS, TITLE, Sheet, bare

MOST = 30  #: confusions that are drawn
_ROW, _NAMES, _ARROW, _TRACKS = 0.18, 2.1, 0.3, 0.6  # inches: of a line, a name at most, the arrow, the tracks


class Confused(NamedTuple):
    """`tracks` have the `true` tag and lack the `predicted` one, of which they are given `share` on average.

    All tracks that lack the predicted tag are given `usual` of it.
    """

    true: str
    predicted: str
    tracks: int
    share: float
    usual: float


def confused(record: Record) -> list[Confused]:
    """Every pair of tags that is confused at all, strongest first: by how many tracks are given too much."""
    runs = ProbeResult.of(record).test
    if runs[0].kind == "numbers":
        raise UserError(f"{record.path}: {runs[0].column!r} are numbers, of which none is taken for another")
    has = runs[0].targets.astype(np.float64)
    lacks = 1 - has
    given = np.mean([_given(run) for run in runs], axis=0) * lacks  # (N, K)
    tracks, summed = has.T @ lacks, has.T @ given  # (K, K): true, predicted
    with np.errstate(invalid="ignore"):  # 0/0 is meant: no such tracks
        share, usual = summed / tracks, given.sum(axis=0) / lacks.sum(axis=0)
    excess = np.nan_to_num(summed - tracks * usual)
    np.fill_diagonal(excess, 0.0)
    order = np.argsort(-excess, axis=None, kind="stable")[: int((excess > 1e-9).sum())]
    tags = runs[0].tags
    return [
        Confused(tags[row], tags[column], round(tracks[row, column]), float(share[row, column]), float(usual[column]))
        for row, column in zip(*np.unravel_index(order, excess.shape), strict=True)
    ]


def confused_figure(record: Record, *, most: int = MOST) -> Figure | None:
    """The strongest confusions, a line each: from what is usual to what these tracks are given; None without any."""
    found = confused(record)[:most]
    if not found:
        return None
    facts = record.facts
    what = "share that is called so" if facts["task"] == "single" else "mean probability given"
    top = TITLE + LINE * 2 + 0.2
    side = min(max(width_inches(name, points=POINTS) for pair in found for name in pair[:2]) + 0.02, _NAMES)
    start = 2 * side + _ARROW + _TRACKS
    with styled():
        sheet = Sheet(PAGE, top + len(found) * _ROW + 0.1, title=f"{facts['column']}: what {facts['name']} confuses")
        note = f"true → predicted; number: test tracks with the first tag and without the second; dot: {what};"
        sheet.write(0, TITLE + LINE / 2, note, colour="muted")
        sheet.write(0, TITLE + LINE * 1.5, "tick: of all tracks without the second", colour="muted")
        for number, pair in enumerate(found):
            middle = top + (number + 0.5) * _ROW
            sheet.write(side, middle, shortened(pair.true, inches=side, points=POINTS), align="right")
            sheet.write(side + _ARROW / 2, middle, "→", colour="muted", align="center")
            sheet.write(side + _ARROW, middle, shortened(pair.predicted, inches=side, points=POINTS))
            sheet.write(start - 0.12, middle, f"{pair.tracks:,}", colour="muted", align="right")
        axes = sheet.panel(start, top, PAGE - start - 0.15, len(found) * _ROW)
        lines = np.arange(len(found))
        shares, usual = np.array([pair.share for pair in found]), np.array([pair.usual for pair in found])
        axes.set(xlim=(0, min(1.0, 1.05 * shares.max())), ylim=(len(found) - 0.5, -0.5), yticks=[])
        axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, pad=1)
        axes.spines["bottom"].set_visible(False)
        bare(axes, grid="x")
        axes.hlines(lines, usual, shares, colors=LIGHT["hue-4"], linewidth=3, alpha=0.35)
        axes.vlines(usual, lines - 0.3, lines + 0.3, colors=LIGHT["muted"], linewidth=1)
        axes.plot(shares, lines, "o", color=LIGHT["hue-4"], markersize=4, clip_on=False)
    return sheet.figure


def confused_rows(record: Record) -> list[dict[str, Any]]:
    """The same as numbers: every pair that is confused at all, strongest first."""
    return [pair._asdict() for pair in confused(record)]


def _given(run: Predictions) -> np.ndarray:
    """The scores; of single-label columns 1 for the highest of a track and 0 for the rest. Shape: (N, K)."""
    return np.eye(len(run.tags))[run.scores.argmax(axis=1)] if run.kind == "single" else run.scores
