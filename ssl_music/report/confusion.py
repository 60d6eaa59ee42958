"""Which tags are taken for which, as a square, from the record of a probe."""

from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ssl_music import metrics
from ssl_music._records import Record
from ssl_music.errors import UserError
from ssl_music.probe import Predictions, ProbeResult
from ssl_music.report.matrix import NAMED, Square, alike_together, matrix_figure

Order = Literal["similarity", "support"]


class Confusions(NamedTuple):
    """`together` (K, K): what was said (column) of tracks of each true tag (row), summed; `tracks` (K,) of each.

    `rest`: the last is many tags put together.
    """

    tags: list[str]
    together: np.ndarray
    tracks: np.ndarray
    rest: bool = False

    @property
    def shares(self) -> np.ndarray:
        """Of each row; NaN for a tag without tracks, or of which nothing was said. Shape: (K, K)."""
        with np.errstate(invalid="ignore"):  # 0/0 is meant
            return self.together / self.together.sum(axis=1, keepdims=True)


def confusion_figure(record: Record, *, order: Order = "similarity") -> Figure:
    """How many tracks of each tag got which; of more than `NAMED` tags, those with fewest tracks are put together."""
    shown = _ordered(_gathered(_counted(record)), order)
    return matrix_figure(
        Square(shown.tags, shown.shares, shown.together, shown.tracks, rest=shown.rest),
        title=f"{record.facts['column']}: confusions of {record.facts['name']}",
        numbers="test tracks",
        note="blue: right; shade: share of the true tag's tracks",
        most=1.0,
    )


def soft_confusion_figure(record: Record, *, order: Order = "similarity") -> Figure:
    """What share of all that is predicted for the tracks of a tag goes to which tag (`soft_confusion_matrix`)."""
    shown = _ordered(_gathered(_summed(record)), order)
    shares = shown.shares
    own = shares[:, : len(shares) - shown.rest]  # what many get together is no measure
    return matrix_figure(
        Square(shown.tags, shares, 100 * shares, shown.tracks, rest=shown.rest),
        title=f"{record.facts['column']}: soft confusions of {record.facts['name']}",
        numbers="%",
        note="blue: the tag itself; shade: share of all probability given to the true tag's tracks",
        most=float(np.nanmax(own)) if np.isfinite(own).any() else 1.0,
    )


def confusion_rows(record: Record) -> list[dict[str, Any]]:
    """Every pair of tags that occurred, and every tag with itself; counts are means over the runs."""
    found = _counted(record)
    there = (found.together > 0) | np.eye(len(found.tags), dtype=bool)
    return _rows(found, there, "tracks called so")


def soft_confusion_rows(record: Record) -> list[dict[str, Any]]:
    """Every pair of tags: the scores summed over the tracks of the true one, and their share."""
    found = _summed(record)
    return _rows(found, np.ones_like(found.together, dtype=bool), "scores summed")


def _counted(record: Record) -> Confusions:
    runs = _runs(record)
    if runs[0].kind != "single":
        raise UserError(
            f"{record.path}: {runs[0].column!r} has several tags a track, so none is taken for another; "
            "ask for the soft confusion matrix"
        )
    tags = len(runs[0].tags)
    counts = [metrics.confusion_matrix(r.targets.argmax(axis=1), r.scores.argmax(axis=1), tags) for r in runs]
    return Confusions(runs[0].tags, np.mean(counts, axis=0), _tracks(runs[0]))


def _summed(record: Record) -> Confusions:
    runs = _runs(record)
    sums = [run.targets.T.astype(np.float64) @ run.scores for run in runs]
    return Confusions(runs[0].tags, np.mean(sums, axis=0), _tracks(runs[0]))


def _runs(record: Record) -> list[Predictions]:
    runs = ProbeResult.of(record).test
    if runs[0].kind == "numbers":
        raise UserError(f"{record.path}: {runs[0].column!r} are numbers; they have no confusion matrix")
    return runs


def _tracks(run: Predictions) -> np.ndarray:
    return run.targets.sum(axis=0).round().astype(int)


def _gathered(found: Confusions) -> Confusions:
    """As it is up to `NAMED` tags; of more, those with fewest tracks as one, last, so that rows keep their sums."""
    if len(found.tags) <= NAMED:
        return found
    by_tracks = np.argsort(-found.tracks, kind="stable")
    own = np.empty(len(found.tags), dtype=int)
    own[by_tracks] = np.minimum(np.arange(len(found.tags)), NAMED - 1)
    into = np.eye(NAMED)[own]  # (K, NAMED)
    kept = [found.tags[place] for place in by_tracks[: NAMED - 1]]
    rest = f"{len(found.tags) - NAMED + 1:,} other tags"
    return Confusions([*kept, rest], into.T @ found.together @ into, (found.tracks @ into).astype(int), rest=True)


def _ordered(found: Confusions, order: Order) -> Confusions:
    """Tags that are confused, or with most tracks, together; many put together stay last."""
    alone = len(found.tags) - found.rest
    if order == "similarity":
        places = alike_together(found.shares[:alone, :alone])
    else:
        places = np.argsort(-found.tracks[:alone], kind="stable")
    places = np.concatenate([places, np.arange(alone, len(found.tags))])
    tags, together = [found.tags[place] for place in places], found.together[np.ix_(places, places)]
    return Confusions(tags, together, found.tracks[places], found.rest)


def _rows(found: Confusions, which: np.ndarray, called: str) -> list[dict[str, Any]]:
    shares = found.shares
    return [
        {
            "true": found.tags[row],
            "predicted": found.tags[column],
            "tracks of the true tag": int(found.tracks[row]),
            called: float(found.together[row, column]),
            "share": float(shares[row, column]) if np.isfinite(shares[row, column]) else None,
        }
        for row, column in np.argwhere(which)
    ]
