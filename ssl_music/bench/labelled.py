"""The labels of a catalog: as a probe reads them of a store, and the catalog with some of them hidden."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ssl_music._ledger import Row
from ssl_music.catalogs import Catalog, Track
from ssl_music.vectors import Vectors


class Labels(Vectors):
    """The labels of a catalog where a store of vectors is wanted, as by `probe.task.build_task`; it has no vectors.

    `where` is what errors call it. Row numbers are those of the catalog's tracks.
    """

    def __init__(self, where: str, catalog: Catalog) -> None:
        self.root = Path(where)
        self.header = {"columns": dict(catalog.columns)}
        self.rows = [Row.of(track) for track in catalog.tracks]
        self.broken = []
        self.pooled = np.zeros((len(self.rows), 1), np.float32)

    def chunk_range(self, row: int) -> tuple[int, int]:
        return row, row + 1

    @property
    def chunks(self) -> np.ndarray:  # type: ignore[override]
        return self.pooled


def partly_labelled(catalog: Catalog, column: str, *, split: str, among: Collection[str]) -> Catalog:
    """The catalog with labels of a column for only some tracks of a split, those whose ids are `among`.

    All tracks stay, in the same order: the rows of the samples are what they were, and a pack is read as a pack.

    >>> import tempfile
    >>> from ssl_music.catalogs import Synthetic
    >>> music = Synthetic(tempfile.mkdtemp(), pieces=4, seconds=1.0)
    >>> view = partly_labelled(music, "genre", split="train", among=[])
    >>> len(view.tracks), [len(view.labelled(view.split(split), "genre")) for split in ("train", "test")]
    (4, [0, 1])
    """
    return _PartlyLabelled(catalog, column, split, frozenset(among))


class _PartlyLabelled(Catalog):
    def __init__(self, catalog: Catalog, column: str, split: str, among: frozenset[str]) -> None:
        self.catalog = catalog
        self.columns = catalog.columns
        self.split_name = catalog.split_name
        self._tracks = [
            track if track.split != split or track.id in among else replace(track, labels=_without(track, column))
            for track in catalog.tracks
        ]

    @property
    def tracks(self) -> list[Track]:
        return self._tracks

    def __getattr__(self, name: str) -> Any:
        # where the catalog holds samples, `clips.waves` asks for them by name: gather, samples, sample_rate
        if name == "catalog":  # not set yet: while a copy is being made
            raise AttributeError(name)
        return getattr(self.catalog, name)


def _without(track: Track, column: str) -> dict[str, tuple[str, ...]]:
    return {name: tags for name, tags in track.labels.items() if name != column}
