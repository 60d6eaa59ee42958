"""What was predicted for the tracks of one split, whoever predicted it; rows and columns go by name."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ssl_music.errors import UserError
from ssl_music.probe.features import TaskKind

SHOWN = 5  # names that an error lists


@dataclass(frozen=True, eq=False)
class Predictions:
    """Targets and scores of the same tracks and tags. Shape: both (N, K); scores are probabilities, or numbers.

    Raises UserError where ids or tags come twice, the matrices have another shape, or scores are not finite.

    >>> made = Predictions("mood", "multi", ["calm", "dark"], ["1", "2"], ["", ""], np.eye(2), np.full((2, 2), 0.5))
    >>> made.matched(["dark", "calm"], ["2", "1"]).targets
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """

    column: str
    kind: TaskKind
    tags: list[str]
    ids: list[str]
    groups: list[str]  #: "" where a track belongs to none
    targets: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        where = f"predictions of {self.column!r}"
        for what, names in (("tags", self.tags), ("track ids", self.ids)):
            if len(set(names)) < len(names):
                twice = sorted({name for name in names if names.count(name) > 1})
                raise UserError(
                    f"{where}: {len(twice)} {what} come twice, the first is {twice[0]!r}; each once, please"
                )
        object.__setattr__(self, "targets", np.asarray(self.targets, np.float32))
        object.__setattr__(self, "scores", np.asarray(self.scores, np.float64))
        wanted = (len(self.ids), len(self.tags))
        for what, matrix in (("labels", self.targets), ("scores", self.scores)):
            if matrix.shape != wanted:
                raise UserError(
                    f"{where}: {what} are {matrix.shape}, wanted {wanted}: one row for each of {wanted[0]} tracks "
                    f"and one column for each of {wanted[1]} tags"
                )
        bad = np.flatnonzero(~np.isfinite(self.scores).all(axis=1))
        if len(bad):
            raise UserError(
                f"{where}: the scores of {len(bad)} of {len(self.ids)} tracks hold NaN or Inf, the first is "
                f"{self.ids[bad[0]]!r}; predict again with sound weights"
            )

    def matched(self, tags: Sequence[str], ids: Sequence[str]) -> "Predictions":
        """The same with tags and tracks in the order of these names; a name that is missing is an error."""
        columns, rows = _places("tags", tags, self.tags, self.column), _places("tracks", ids, self.ids, self.column)
        return replace(
            self,
            tags=list(tags),
            ids=list(ids),
            groups=[self.groups[row] for row in rows],
            targets=self.targets[np.ix_(rows, columns)],
            scores=self.scores[np.ix_(rows, columns)],
        )


def _places(what: str, wanted: Sequence[str], known: Sequence[str], column: str) -> np.ndarray:
    place = {name: number for number, name in enumerate(known)}
    missing = [name for name in wanted if name not in place]
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise UserError(
            f"predictions of {column!r} lack {len(missing)} of {len(wanted)} {what}: "
            f"{', '.join(map(repr, missing[:SHOWN]))}{more}; they are matched by name, never by position"
        )
    return np.array([place[name] for name in wanted], np.int64)
