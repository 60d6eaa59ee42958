"""One point of a curve: what the probe scores on altered tracks, how that differs, and how far the vectors turned."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from ssl_music import metrics
from ssl_music.probe import Fitted
from ssl_music.probe.scoring import Drawn, drawn, interval, primary
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
        groups = [clean.rows[row].group or f"\0{row}" for row in rows]  # without a group: one by itself
        self.units = len(set(groups))
        self.unit = "tracks" if self.units == len(ids) else "groups"
        self.weights = metrics.bootstrap_weights(groups, draws=bootstrap, seed=seed)
        within = set(around)
        held = clean.pooled[[number for number, row in enumerate(clean.rows) if row.id in within]]
        self.around = Around(held[np.isfinite(held).all(axis=1)])
        self.metric = "" if fitted is None else primary(fitted.task.kind)
        self.clean = None if fitted is None else self._drawn(fitted, clean)

    @property
    def chance(self) -> float | None:
        """What is reached without hearing anything; None without a probe."""
        if self.fitted is None:
            return None
        if self.fitted.task.kind == "single":
            return 1 / self._tags_there
        return 0.5 if self.fitted.task.kind == "multi" else 0.0

    def clean_point(self) -> dict[str, Any]:
        """Strength zero: the clean tracks, held against themselves."""
        return {
            "score": None if self.clean is None else list(interval(self.metric, [self.clean])),
            "change": None if self.clean is None else [0.0, 0.0, 0.0],
            "cosine": [1.0, 1.0, 1.0],
            "plain_cosine": [1.0, 1.0, 1.0],
        }

    def point(self, altered: Vectors) -> dict[str, Any]:
        """A store of the altered tracks; score and change are None where there is no probe."""
        vectors = altered.pooled[_rows(altered, self.ids)]
        score = change = None
        if self.fitted is not None and self.clean is not None:
            reached = self._drawn(self.fitted, altered)
            score = interval(self.metric, [reached])
            change = metrics.paired_interval(
                float(reached.value), float(self.clean.value), reached.draws, self.clean.draws
            )
        return {
            "score": score and list(score),
            "change": change and list(change),
            "cosine": list(mean_interval(self.around.cosine(self.vectors, vectors), self.weights)),
            "plain_cosine": list(mean_interval(cosine(self.vectors, vectors), self.weights)),
        }

    def _drawn(self, fitted: Fitted, vectors: Vectors) -> Drawn:
        predictions = fitted.predictions(vectors, _rows(vectors, self.ids))
        self._tags_there = int(predictions.targets.any(axis=0).sum())
        return drawn(predictions, self.metric, self.weights)


def _rows(vectors: Vectors, ids: Sequence[str]) -> np.ndarray:
    place = {row.id: number for number, row in enumerate(vectors.rows)}
    return np.array([place[id] for id in ids], np.int64)
