"""Rows of a table → label columns with their tags, and splits.

Label values are kept as given but for blanks around them: "Hip-Hop" and "hip hop" stay two tags, and a number is the
text that stands in the file.
"""

import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ssl_music.catalogs.base import SPLITS, Track, group_splits
from ssl_music.catalogs.labels.sheet import Cell, Sheet, examples
from ssl_music.errors import UserError

#: facts of a track that a table may give, in columns of these names unless told otherwise
FACTS = ("artist", "album", "title", "group", "split")
#: with columns=None, a label column has this many distinct tags, and at least two cells a tag on average
FEWEST_TAGS, MOST_TAGS = 2, 100
#: of a table whose columns were not chosen by name
NOT_CHOSEN = (
    f"; a table's column of fewer than {FEWEST_TAGS} tags, of more than {MOST_TAGS}, or of fewer than two cells a "
    "tag is one where --catalog.columns names it"
)
_SPLIT_NAMES = {name: name for name in SPLITS} | dict.fromkeys(("validation", "val", "dev"), "valid")


class Contents(NamedTuple):
    """What a catalog holds once it is read."""

    tracks: list[Track]
    columns: dict[str, bool]
    split_name: str


def read_labels(
    sheet: Sheet, *, columns: list[str] | None, multi: list[str], separator: str, reserved: Iterable[str]
) -> tuple[dict[str, bool], list[dict[str, tuple[str, ...]]]]:
    """Label column → may a track have several of its tags, and the labels of each row.

    `columns` and `multi` name label columns; with columns=None every column that is not `reserved` is one if it has
    2 to 100 distinct tags and at least twice as many cells that are not empty.
    """
    if multi and not separator:
        raise UserError(f"separator is empty; give the text between the tags of {', '.join(multi)}, such as ','")
    sheet.require([*(columns or []), *multi])
    reserved = set(reserved)
    rest = [name for name in sheet.names if name not in reserved] if columns is None else columns
    tags = {
        name: [_tags(row[name], separator if name in multi else None) for row in sheet.rows]
        for name in dict.fromkeys([*rest, *multi])
    }
    chosen = {
        name: name in multi or any(isinstance(row[name], tuple) for row in sheet.rows)
        for name, cells in tags.items()
        if columns is not None or name in multi or _is_label_column(cells)
    }
    rows = [{name: tags[name][row] for name in chosen if tags[name][row]} for row in range(len(sheet.rows))]
    return chosen, rows


def _tags(cell: Cell, separator: str | None) -> tuple[str, ...]:
    parts = cell if isinstance(cell, tuple) else cell.split(separator) if separator else (cell,)
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _is_label_column(cells: list[tuple[str, ...]]) -> bool:
    distinct = {tag for cell in cells for tag in cell}
    return FEWEST_TAGS <= len(distinct) <= MOST_TAGS and 2 * len(distinct) <= sum(map(bool, cells))


def split_named(cell: str) -> str:
    """The name of a split as this package writes it; names it does not know are kept.

    >>> split_named("Validation"), split_named("fold 3")
    ('valid', 'fold 3')
    """
    return _SPLIT_NAMES.get(cell.lower(), cell)


def file_title(path: Path) -> str:
    """The name of a file without its ending, as text that prints whatever bytes it is made of.

    >>> file_title(Path("a/01 Song.mp3"))
    '01 Song'
    """
    return os.fsencode(path.stem).decode(errors="replace")


def with_splits(tracks: Sequence[Track], *, given: str, seed: int) -> tuple[list[Track], str]:
    """The tracks with their splits, and what to call these: as `given` where any track has one, else made by seed.

    Tracks stay together by group, where that is unknown by artist, and else alone.
    """
    groups = [track.group or track.artist or track.id for track in tracks]
    if not any(track.split for track in tracks):
        made = group_splits(groups, seed=seed)
        split_tracks = [replace(track, split=split) for track, split in zip(tracks, made, strict=True)]
        return split_tracks, f"group-disjoint 80/10/10 seed {seed}"
    splits: dict[str, set[str]] = {}
    for track, group in zip(tracks, groups, strict=True):
        if track.split:
            splits.setdefault(group, set()).add(track.split)
    broken = [group for group, names in splits.items() if len(names) > 1]
    if broken:
        warnings.warn(
            f"{given}: {len(broken)} of {len(splits)} groups stand in more than one split ({examples(broken)}), so "
            "scores on them are too good; without that column group-disjoint splits are made",
            stacklevel=2,
        )
    return list(tracks), given
