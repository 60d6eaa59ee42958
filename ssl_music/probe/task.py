"""The data of a probe: which tracks and tags take part."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ssl_music.errors import UserError, unknown_name
from ssl_music.probe.checks import check_rows, check_single_label, check_train, groups_on_both_sides, unscored
from ssl_music.probe.features import TaskKind
from ssl_music.vectors import Vectors

#: what a classifier hears: a track's mean vector, or its chunks, whose scores are averaged
POOLS = ("vectors", "scores")


class Part(NamedTuple):
    """The tracks of one split that take part; a track has one line of features, or one a chunk.

    Shape: rows (N,), features (M, D), targets (N, K), owners (M,): which of the N tracks a line of features is of.
    """

    rows: np.ndarray  # row numbers of the store
    features: np.ndarray
    targets: np.ndarray
    owners: np.ndarray

    def among(self, chosen: np.ndarray) -> "Part":
        """Only the tracks that `chosen` (N,) says, with their lines of features."""
        lines = chosen[self.owners]
        renumbered = np.cumsum(chosen) - 1
        kept = self.owners[lines]
        return Part(self.rows[chosen], self.features[lines], self.targets[chosen], renumbered[kept])


class Task(NamedTuple):
    """One column of a store, ready to be fitted; `parts` has the keys train, valid and test."""

    column: str
    kind: TaskKind
    tags: list[str]
    parts: dict[str, Part]
    left_out: dict[str, list[str]]  # split → tags that cannot be scored there
    shared_groups: list[str]  # groups with tracks in test and elsewhere


def build_task(
    vectors: Vectors,
    column: str | Sequence[str] | None,
    *,
    splits: Mapping[str, str],
    drop: Sequence[str],
    pool: str,
    regression: bool,
    shared_groups: str,
) -> Task:
    """Picks tracks and tags; `splits` says which split plays train, valid and test.

    Raises UserError where the data cannot give a score; warns where it gives one for some tags only, or a false one.
    """
    if pool not in POOLS:
        raise unknown_name("pool", pool, list(POOLS))
    if regression:
        task = _numbers(vectors, column, splits, drop)
    elif column is None or isinstance(column, str):
        task = _tags(vectors, vectors.column(column), splits, drop)
    else:
        raise UserError(f"several columns, {', '.join(column)}, are for regression; probe tags a column at a time")
    groups = {role: {vectors.rows[row].group for row in rows} for role, rows in task.rows.items()}
    shared = groups_on_both_sides(str(vectors.root), splits, groups, shared_groups)
    parts = {role: part(vectors, rows, task.targets[role], pool) for role, rows in task.rows.items()}
    left_out = {
        splits[role]: unscored(task.where, splits[role], task.targets[role], task.tags) for role in ("valid", "test")
    }
    return Task(task.column, task.kind, task.tags, parts, left_out, shared)


class _Labels(NamedTuple):
    """What the store says of the tracks of each role, without features."""

    where: str
    column: str
    kind: TaskKind
    tags: list[str]
    rows: dict[str, np.ndarray]
    targets: dict[str, np.ndarray]


def _tags(vectors: Vectors, column: str, splits: Mapping[str, str], drop: Sequence[str]) -> _Labels:
    known = vectors.tags(column)
    for tag in drop:
        if tag not in known:
            raise unknown_name(f"tag of {column} to drop:", tag, known)
    rows = {role: vectors.labelled(vectors.split(split), column) for role, split in splits.items()}
    kept = np.array([tag not in drop for tag in known], bool)
    if not vectors.multi_label(column):
        rows = {role: found[vectors.targets(found, column)[:, kept].any(axis=1)] for role, found in rows.items()}
    check_rows(vectors, column, splits, rows)
    everything = {role: vectors.targets(found, column) for role, found in rows.items()}
    # a tag that none of these tracks has (its tracks are in another split, or broken) is no part of the task
    kept &= np.concatenate(list(everything.values())).any(axis=0)
    tags = [tag for tag, keep in zip(known, kept.tolist(), strict=True) if keep]
    targets = {role: matrix[:, kept] for role, matrix in everything.items()}
    where = f"{vectors.root}: column {column!r}"
    if not vectors.multi_label(column):
        check_single_label(where, targets, tags)
    check_train(where, splits, targets, tags)
    return _Labels(where, column, "multi" if vectors.multi_label(column) else "single", tags, rows, targets)


def _numbers(
    vectors: Vectors, column: str | Sequence[str] | None, splits: Mapping[str, str], drop: Sequence[str]
) -> _Labels:
    """Columns of numbers, each a thing to be read; tracks that lack one of them take no part."""
    if drop:
        raise UserError(f"drop {list(drop)}: tags are dropped, and a regression has none")
    columns = [vectors.column(name) for name in ([column] if column is None or isinstance(column, str) else column)]
    rows = {role: vectors.split(split) for role, split in splits.items()}
    for name in columns:
        rows = {role: vectors.labelled(found, name) for role, found in rows.items()}
    check_rows(vectors, " and ".join(columns), splits, rows)
    targets = {role: targets_of(vectors, found, "", "numbers", columns) for role, found in rows.items()}
    where = f"{vectors.root}: column {', '.join(map(repr, columns))}"
    constant = [name for name, spread in zip(columns, np.ptp(targets["train"], axis=0), strict=True) if not spread]
    if constant:
        raise UserError(f"{where}: {constant[0]!r} is the same for every track of train; there is nothing to learn")
    return _Labels(where, ", ".join(columns), "numbers", columns, rows, targets)


def targets_of(vectors: Vectors, rows: np.ndarray, column: str, kind: TaskKind, tags: Sequence[str]) -> np.ndarray:
    """What the store says of `rows`, in the order of `tags`. Shape: (N,) → (N, K)."""
    if kind == "numbers":
        return np.array([[_number(vectors, row, name) for name in tags] for row in rows], np.float32)
    place = {tag: number for number, tag in enumerate(vectors.tags(column))}
    targets = np.zeros((len(rows), len(tags)), np.float32)
    there = [number for number, tag in enumerate(tags) if tag in place]
    targets[:, there] = vectors.targets(rows, column)[:, [place[tags[number]] for number in there]]
    return targets


def _number(vectors: Vectors, row: int, column: str) -> float:
    facts = vectors.rows[row]
    values = facts.labels[column]
    try:
        value = float(values[0])
    except ValueError:
        value = math.nan
    if len(values) != 1 or not math.isfinite(value):
        came = ", ".join(values)
        raise UserError(
            f"{vectors.root}: {facts.id!r} has {came!r} in {column!r}, where a regression wants one number; "
            "mend the table, or leave --regression out to probe tags"
        )
    return value


def part(vectors: Vectors, rows: np.ndarray, targets: np.ndarray, pool: str) -> Part:
    """The features of `rows` as the classifier hears them: pooled before it, or its scores behind it."""
    if pool == "vectors":
        return Part(rows, np.asarray(vectors.pooled[rows]), targets, np.arange(len(rows)))
    ranges = [vectors.chunk_range(row) for row in rows]
    lines = np.concatenate([np.arange(first, behind) for first, behind in ranges])
    owners = np.repeat(np.arange(len(rows)), [behind - first for first, behind in ranges])
    return Part(rows, np.asarray(vectors.chunks[lines]), targets, owners)
