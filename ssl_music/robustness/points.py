"""One point of a curve: what the probe scores on altered tracks, how that differs, and how far the vectors turned."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from ssl_music import metrics
from ssl_music.probe import Fitted
from ssl_music.probe.chance import chance
from ssl_music.probe.draws import Drawn, difference, drawn_units, interval
from ssl_music.probe.scoring import drawn, primary
from ssl_music.robustness.cosines import Around, cosine, mean_interval
from ssl_music.vectors import Vectors


class Measure:
    """Holds altered vectors of the tracks `ids` against those in `clean`, all with the same draws of a bootstrap.

    `around` names the tracks whose vectors are the centre and scale of cosines; `fitted` is the probe, if there is
    one.
    """

    def __init__(
        self,
        clean: Vectors,
        ids: Sequence[str],
        *,
        around: Collection[str],
        fitted: Fitted | None,
        bootstrap: int,
        seed: int,
    ) -> None:
        self.ids = ids
        self.fitted = fitted
        rows = _rows(clean, ids)
        self.vectors = clean.pooled[rows]
        groups = [clean.rows[row].group for row in rows]
        self.unit, self.units = drawn_units(groups)
        self.weights = metrics.bootstrap_weights(groups, draws=bootstrap, seed=seed)
        within = set(around)
        held = clean.pooled[[number for number, row in enumerate(clean.rows) if row.id in within]]
        self.around = Around(held[np.isfinite(held).all(axis=1)])
        self.metric = ""
        self.clean: Drawn | None = None
        self.chance: float | None = None  #: what is reached without hearing anything
        if fitted is not None:
            self.metric = primary(fitted.task.kind)
            heard = fitted.predictions(clean, rows)
            self.clean = drawn(heard, self.metric, self.weights)
            self.chance = chance(heard.kind, heard.targets)[self.metric]

    def clean_point(self) -> dict[str, Any]:
        """Strength zero: the clean tracks, held against themselves."""
        return {
            "score": None if self.clean is None else list(interval(self.metric, self.clean)),
            "change": None if self.clean is None else [0.0, 0.0, 0.0],
            "cosine": [1.0, 1.0, 1.0],
            "plain_cosine": [1.0, 1.0, 1.0],
        }

    def point(self, altered: Vectors) -> dict[str, Any]:
        """A store of the altered tracks; score and change are None where there is no probe."""
        vectors = altered.pooled[_rows(altered, self.ids)]
        score = change = None
        if self.fitted is not None and self.clean is not None:
            reached = drawn(self.fitted.predictions(altered, _rows(altered, self.ids)), self.metric, self.weights)
            score, change = interval(self.metric, reached), difference(reached, self.clean)
        return {
            "score": score and list(score),
            "change": change and list(change),
            "cosine": list(mean_interval(self.around.cosine(self.vectors, vectors), self.weights)),
            "plain_cosine": list(mean_interval(cosine(self.vectors, vectors), self.weights)),
        }


def _rows(vectors: Vectors, ids: Sequence[str]) -> np.ndarray:
    return np.array([vectors.row_of[id] for id in ids], np.int64)
