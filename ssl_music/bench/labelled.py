"""The labels of a catalog: which take part, by the rules of a probe, and the catalog with some of them hidden."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ssl_music.catalogs import Catalog, Track
from ssl_music.errors import UserError, unknown_name
from ssl_music.probe.checks import check_single_label, check_train, groups_on_both_sides, unscored
from ssl_music.probe.features import TaskKind


class Labelled(Catalog):
    """A catalog in which only some tracks of a split keep their labels in a column.

    All tracks stay, in the same order: the rows of the samples are what they were, and a pack is read as a pack.

    >>> import tempfile
    >>> from ssl_music.catalogs import Synthetic
    >>> music = Synthetic(tempfile.mkdtemp(), pieces=4, seconds=1.0)
    >>> view = Labelled(music, "genre", split="train", among=[])
    >>> len(view.tracks), [len(view.labelled(view.split(split), "genre")) for split in ("train", "test")]
    (4, [0, 1])
    """

    def __init__(self, catalog: Catalog, column: str, *, split: str, among: Collection[str]) -> None:
        self.catalog = catalog
        self.columns = catalog.columns
        self.split_name = catalog.split_name
        chosen = frozenset(among)
        self._tracks = [
            track if track.split != split or track.id in chosen else replace(track, labels=_without(track, column))
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


class LabelTask(NamedTuple):
    """What is learnt and scored, by role: train, valid, test. Shape: targets (N, K)."""

    column: str
    kind: TaskKind
    tags: list[str]
    tracks: dict[str, list[Track]]
    targets: dict[str, np.ndarray]
    labelled: int  # tracks of train, before some were chosen
    left_out: dict[str, list[str]]
    shared_groups: list[str]


def label_task(
    catalog: Catalog,
    column: str,
    splits: Mapping[str, str],
    *,
    drop: Sequence[str],
    among: Collection[str] | None,
    shared_groups: str,
) -> LabelTask:
    """As `probe.task.build_task`, from a catalog instead of a store of vectors: the same tracks, tags and errors."""
    where = f"column {column!r} of {catalog.split_name}"
    if len(set(splits.values())) < len(splits):
        raise UserError(f"{where}: train, valid and test are {', '.join(splits.values())}; wanted three that differ")
    for tag in drop:
        if tag not in catalog.tags(column):
            raise unknown_name(f"tag of {column} to drop:", tag, catalog.tags(column))
    tracks = {role: catalog.labelled(catalog.split(split), column) for role, split in splits.items()}
    held = {tag for found in tracks.values() for track in found for tag in track.labels[column]}
    tags = [tag for tag in catalog.tags(column) if tag in held and tag not in drop]
    multi_label = catalog.columns[column]
    if not multi_label:
        kept = set(tags)
        tracks = {role: [one for one in found if kept & set(one.labels[column])] for role, found in tracks.items()}
    for role, split in splits.items():
        if not tracks[role]:
            raise UserError(f"{where}: no track of the {role} split {split!r} has a tag; name another split")
    labelled = len(tracks["train"])
    if among is not None:
        strange = set(among) - {track.id for track in tracks["train"]}
        if strange or not among:
            came = f"{sorted(strange)[0]!r} is not" if strange else "none is"
            raise UserError(f"{where}: of {len(among)} tracks to learn from {came} a labelled track of train")
        tracks["train"] = [track for track in tracks["train"] if track.id in among]
    places = [catalog.tags(column).index(tag) for tag in tags]
    targets = {role: catalog.targets(found, column)[:, places] for role, found in tracks.items()}
    if not multi_label:
        check_single_label(where, targets, tags)
    check_train(where, splits, targets, tags)
    left_out = {splits[role]: unscored(where, splits[role], targets[role], tags) for role in ("valid", "test")}
    groups = {role: {track.group for track in found} for role, found in tracks.items()}
    shared = groups_on_both_sides(where, splits, groups, shared_groups)
    return LabelTask(column, "multi" if multi_label else "single", tags, tracks, targets, labelled, left_out, shared)
