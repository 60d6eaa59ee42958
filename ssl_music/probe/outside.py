"""Predictions that come from elsewhere, as a table: one line a track, one column a tag, matched by name."""

import hashlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssl_music.catalogs import Catalog, Track
from ssl_music.catalogs.labels import Cell, examples, read_cells, text
from ssl_music.errors import UserError, unknown_name
from ssl_music.probe.checks import unscored
from ssl_music.probe.features import TaskKind
from ssl_music.probe.predictions import Predictions
from ssl_music.probe.protocol import assembled
from ssl_music.probe.result import Origin, ProbeResult

#: headings of the column that names the track; `ssl-music tag --format csv` writes the first
NAMING = ("file", "path", "id", "track")
SHOWN = 5
SHOWN_LETTERS = 30


class Table(NamedTuple):
    """A table of scores as it was read. Shape: scores (N, K)."""

    path: Path
    names: list[str]
    tags: list[str]
    scores: np.ndarray


def read_table(path: Path | str) -> Table:
    """A CSV or Parquet table of scores: a first column `file`, `path`, `id` or `track`, then one column a tag.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "predicted.csv"
    >>> _ = path.write_text("file,calm,dark\\na.ogg,0.9,0.2\\n")
    >>> read_table(path).tags, read_table(path).scores
    (['calm', 'dark'], array([[0.9, 0.2]]))
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a CSV of scores, such as ssl-music tag --format csv writes")
    sheet = read_cells(path)
    naming, *tags = sheet.names or [""]
    if naming not in NAMING or not tags:
        came = examples(name[:SHOWN_LETTERS] for name in sheet.names) or "empty"
        raise UserError(
            f"{path}: its first line is {came}; wanted {' or '.join(NAMING)} in the first column, and a column for "
            "each tag"
        )
    scores = np.array([[_number(path, row[naming], tag, text(row[tag])) for tag in tags] for row in sheet.rows])
    cells = (row[naming] for row in sheet.rows)
    names = [cell if isinstance(cell, str) else text(cell) for cell in cells]
    return Table(path, names, tags, scores.reshape(len(names), len(tags)))


def score_table(
    table: Table,
    catalog: Catalog,
    column: str | None = None,
    *,
    valid: str | None = "valid",
    test: str = "test",
    drop: Sequence[str] = (),
    bootstrap: int = 1000,
    seed: int = 0,
    target_precision: float | None = None,
    name: str | None = None,
) -> ProbeResult:
    """Scores a table against the labels of a catalog, track by track and tag by tag, each found by its name.

    Scores are probabilities. Every labelled track of the split `test` must be in the table; where those of
    `valid` are too, thresholds of several tags are chosen on them. A tag of the column that the table lacks is an
    error unless `drop` leaves it out; a tag that the catalog does not know is told of and left out.
    """
    column = catalog.column(column)
    known = catalog.tags(column)
    for tag in drop:
        if tag not in known:
            raise unknown_name(f"tag of {column} to drop:", tag, known)
    tags = [tag for tag in known if tag not in drop]
    strange = [tag for tag in table.tags if tag not in known]
    if strange:
        more = f" and {len(strange) - SHOWN} more" if len(strange) > SHOWN else ""
        told = ", ".join(map(repr, strange[:SHOWN])) + more
        warnings.warn(f"{table.path}: tags that {column!r} does not have are left out: {told}", stacklevel=2)
    scored = _of_split(table, catalog, column, tags, test)
    held = _for_thresholds(table, catalog, column, tags, valid=valid, test=test)
    where = f"{table.path}: column {column!r}"
    outside = np.flatnonzero(((scored.scores < 0) | (scored.scores > 1)).any(axis=1))
    if len(outside):
        raise UserError(
            f"{table.path}: {len(outside)} tracks have scores outside 0 … 1, the first is "
            f"{scored.ids[outside[0]]!r}; wanted are probabilities: of logits, their sigmoid or softmax"
        )
    return assembled(
        [scored],
        held,
        name=name or table.path.stem,
        protocol="outside",
        pool="outside",
        settings={},
        train_targets=None,
        tracks={**{str(valid): len(one.ids) for one in held}, test: len(scored.ids)},
        left_out={test: unscored(where, test, scored.targets, tags)},
        shared_groups=[],
        origin=Origin(catalog.split_name, catalog.fingerprint(), str(table.path), _digest(table.path)),
        seed=seed,
        bootstrap=bootstrap,
        target_precision=target_precision,
    )


def _for_thresholds(
    table: Table, catalog: Catalog, column: str, tags: list[str], *, valid: str | None, test: str
) -> list[Predictions]:
    """Those of the split `valid`, if the catalog has it and the table knows its tracks."""
    splits = {track.split for track in catalog.tracks}
    if valid is None or (valid == "valid" and valid not in splits):
        return []
    tracks = _labelled(catalog, column, tags, valid)
    if {track.id for track in tracks} & {track.id for track in catalog.split(test)}:
        raise UserError(
            f"the splits {valid!r} and {test!r} share tracks: thresholds are not chosen on what is scored"
        )
    missing = [track.id for track, row in zip(tracks, _rows(table, tracks), strict=True) if row is None]
    if missing and len(missing) < len(tracks):
        warnings.warn(
            f"{table.path}: lacks {len(missing)} of {len(tracks)} labelled tracks of the split {valid!r}, the first "
            f"is {missing[0]!r}; no threshold is chosen on the others",
            stacklevel=3,
        )
    return [] if missing or not tracks else [_of_split(table, catalog, column, tags, valid)]


def _labelled(catalog: Catalog, column: str, tags: list[str], split: str) -> list[Track]:
    """The tracks of a split that take part: of single-label ones, those whose tag is not left out."""
    tracks = catalog.labelled(catalog.split(split), column)
    return tracks if catalog.columns[column] else [track for track in tracks if set(track.labels[column]) & set(tags)]


def _of_split(table: Table, catalog: Catalog, column: str, tags: list[str], split: str) -> Predictions:
    """What the table says of the labelled tracks of a split, in the catalog's order."""
    tracks = _labelled(catalog, column, tags, split)
    if not tracks:
        raise UserError(f"no track of the split {split!r} has a tag in the column {column!r}; name another split")
    rows = _rows(table, tracks)
    missing = [track.id for track, row in zip(tracks, rows, strict=True) if row is None]
    if missing:
        raise UserError(
            f"{table.path}: lacks {len(missing)} of {len(tracks)} labelled tracks of the split {split!r}, the first "
            f"is {missing[0]!r}; tag them too: a score over some of them would be of another split"
        )
    ids, groups = [track.id for track in tracks], [track.group for track in tracks]
    kind: TaskKind = "multi" if catalog.columns[column] else "single"
    nothing = np.zeros((len(ids), len(table.tags)))
    lines = table.scores[[row for row in rows if row is not None]]
    bad = np.flatnonzero(~np.isfinite(lines).all(axis=1))
    if len(bad):
        raise UserError(
            f"{table.path}: the scores of {len(bad)} of {len(ids)} tracks of the split {split!r} are empty or hold "
            f"NaN or Inf, the first is {ids[bad[0]]!r}; predict again with sound weights"
        )
    try:
        matched = Predictions(column, kind, table.tags, ids, groups, nothing, lines).matched(tags, ids)
    except UserError as error:
        raise UserError(f"{table.path}: {error}") from None
    place = {tag: number for number, tag in enumerate(catalog.tags(column))}
    return replace(matched, targets=catalog.targets(tracks, column)[:, [place[tag] for tag in tags]])


def _rows(table: Table, tracks: Sequence[Track]) -> list[int | None]:
    """The line of each track, by its id or its path; a table names files as the one who tagged them called them."""
    rows = {name: row for row, name in enumerate(table.names)}
    if len(rows) < len(table.names):
        twice = next(name for name in table.names if table.names.count(name) > 1)
        raise UserError(f"{table.path}: {twice!r} stands in several lines; one line a track, please")
    named = ((track.id, str(track.path), str(track.path.absolute())) for track in tracks)
    return [next((rows[name] for name in names if name in rows), None) for names in named]


def _number(path: Path, track: Cell, tag: str, cell: str) -> float:
    try:
        return float(cell) if cell else math.nan
    except ValueError:
        raise UserError(f"{path}: {text(track)!r} has {cell!r} for {tag!r}, where a number is wanted") from None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
