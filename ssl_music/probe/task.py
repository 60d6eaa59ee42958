"""The data of a probe: which tracks and tags take part, checked before anything is fitted."""

import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ssl_music.errors import UserError, unknown_name
from ssl_music.vectors import Vectors

#: tags whose counts an error shows, and how many it offers to drop: beyond, the split does not suit the column
SHOWN, DROPPABLE = 3, 20


class Part(NamedTuple):
    """The tracks of one split that take part. Shape: (n,), (n, D), (n, K)."""

    rows: np.ndarray  # row numbers of the store
    features: np.ndarray
    targets: np.ndarray


class Task(NamedTuple):
    """One column of a store, ready to be fitted; `parts` has the keys train, valid and test."""

    tags: list[str]
    parts: dict[str, Part]
    left_out: dict[str, list[str]]  # split → tags that cannot be scored there
    shared_groups: list[str]  # groups with tracks in test and elsewhere


def build_task(vectors: Vectors, column: str, *, splits: Mapping[str, str], drop: Sequence[str]) -> Task:
    """Picks tracks and tags; `splits` says which split plays train, valid and test.

    Raises UserError where the data cannot give a score; warns where it gives one for some tags only, or a false one.
    """
    known = vectors.tags(column)
    for tag in drop:
        if tag not in known:
            raise unknown_name(f"tag of {column} to drop:", tag, known)
    rows = {role: vectors.labelled(vectors.split(split), column) for role, split in splits.items()}
    kept = np.array([tag not in drop for tag in known], bool)
    if not vectors.multi_label(column):
        rows = {role: found[vectors.targets(found, column)[:, kept].any(axis=1)] for role, found in rows.items()}
    _check_rows(vectors, column, splits, rows)
    everything = {role: vectors.targets(found, column) for role, found in rows.items()}
    # a tag that none of these tracks has (its tracks are in another split, or broken) is no part of the task
    kept &= np.concatenate(list(everything.values())).any(axis=0)
    tags = [tag for tag, keep in zip(known, kept.tolist(), strict=True) if keep]
    targets = {role: matrix[:, kept] for role, matrix in everything.items()}
    where = f"{vectors.root}: column {column!r}"
    if not vectors.multi_label(column):
        _check_single_label(where, targets, tags)
    _check_train(where, splits, targets, tags)
    parts = {role: Part(rows[role], np.asarray(vectors.pooled[rows[role]]), targets[role]) for role in rows}
    return Task(
        tags,
        parts,
        {splits[role]: _left_out(where, splits[role], targets[role], tags) for role in ("valid", "test")},
        _shared_groups(vectors, splits, rows),
    )


def _check_rows(vectors: Vectors, column: str, splits: Mapping[str, str], rows: Mapping[str, np.ndarray]) -> None:
    for role, found in rows.items():
        if not len(found):
            raise UserError(
                f"{vectors.root}: no track of the {role} split {splits[role]!r} has a tag in the column {column!r}; "
                "name another split, or label some"
            )
    together = np.concatenate(list(rows.values()))
    if len(np.unique(together)) < len(together):
        names = ", ".join(f"{role} {split!r}" for role, split in splits.items())
        raise UserError(f"{vectors.root}: the splits {names} share tracks; a probe wants three that share none")
    broken = together[~np.isfinite(vectors.pooled[together]).all(axis=1)]
    if len(broken):
        raise UserError(
            f"{vectors.root}: {len(broken)} of {len(together)} tracks have vectors with NaN or Inf, the first is "
            f"{vectors.rows[broken[0]].id!r}; the encoder has diverged: embed again with sound weights"
        )


def _check_single_label(where: str, targets: Mapping[str, np.ndarray], tags: list[str]) -> None:
    several = sum(int((matrix.sum(axis=1) > 1).sum()) for matrix in targets.values())
    if several:
        raise UserError(
            f"{where} is single-label, but {several} tracks have more than one of its tags; "
            "declare it multi-label in the catalog, or give each track one tag"
        )
    if len(tags) < 2:
        raise UserError(f"{where} has one tag only, {tags[0]!r}: there is nothing to tell apart")


def _check_train(where: str, splits: Mapping[str, str], targets: Mapping[str, np.ndarray], tags: list[str]) -> None:
    """Every tag needs a track in train that has it, and one that has it not."""
    support = {role: matrix.sum(axis=0).astype(int) for role, matrix in targets.items()}
    absent = [index for index in range(len(tags)) if not support["train"][index]]
    full = [index for index in range(len(tags)) if support["train"][index] == len(targets["train"])]
    for indices, what in ((absent, "no"), (full, "every")):
        if indices:
            counts = "; ".join(
                f"{tags[index]}: {support['valid'][index]} in {splits['valid']!r}, "
                f"{support['test'][index]} in {splits['test']!r}"
                for index in indices[:SHOWN]
            )
            more = f"; and {len(indices) - SHOWN} more" if len(indices) > SHOWN else ""
            named = [tags[index] for index in indices]
            drop = f", or leave them out: drop={named}" if len(named) <= DROPPABLE else ""
            raise UserError(
                f"{where}: {what} track of the train split {splits['train']!r} has these tags, so they cannot be "
                f"learnt ({counts}{more}). Split anew{drop}"
            )


def _left_out(where: str, split: str, targets: np.ndarray, tags: list[str]) -> list[str]:
    positives = targets.sum(axis=0)
    found = [tag for tag, count in zip(tags, positives.tolist(), strict=True) if count in (0, len(targets))]
    if len(found) == len(tags):
        raise UserError(f"{where}: no tag can be scored in {split!r}, whose tracks all have the same tags")
    if found:
        message = f"{where}: not scored in {split!r}, where no track or every track has the tag: {', '.join(found)}"
        warnings.warn(message, stacklevel=4)
    return found


def _shared_groups(vectors: Vectors, splits: Mapping[str, str], rows: Mapping[str, np.ndarray]) -> list[str]:
    groups = {role: {vectors.rows[row].group for row in found} for role, found in rows.items()}
    shared = sorted(((groups["train"] | groups["valid"]) & groups["test"]) - {""})
    if shared:
        warnings.warn(
            f"{vectors.root}: {len(shared)} groups have tracks in {splits['test']!r} and in {splits['train']!r} or "
            f"{splits['valid']!r}, the first is {shared[0]!r}: scores will be too good; split by group",
            stacklevel=4,
        )
    return shared
