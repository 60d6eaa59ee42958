"""A table of tracks, CSV or Parquet: its rows are the catalog."""

import os
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from ssl_music.catalogs.base import Catalog, Track
from ssl_music.catalogs.labels import (
    FACTS,
    NOT_CHOSEN,
    Contents,
    Sheet,
    examples,
    file_title,
    read_labels,
    read_sheet,
    split_named,
    text,
    with_splits,
)
from ssl_music.errors import UserError


class Table(Catalog):
    """Tracks that a CSV file lists, or a Parquet file (extra `parquet`): one row a track.

    Without a column of splits, or with an empty one, group-disjoint splits are made; where only some cells are
    empty, these tracks are in no split. The names validation, val and dev become valid, others are kept. A track
    without a title is called as its file. Label values are kept as given. The attribute `columns` tells which label
    columns there are.

    Args:
        table: the CSV or Parquet file.
        root: the folder that relative paths start from; the table's own folder by default. Every file must be there.
        path_column: the column of paths.
        id_column: the column of ids, each once; the paths by default.
        columns: label columns; by default every one that has 2 to 100 distinct tags, at least twice as many cells
            that are not empty, and no other use here.
        multi: label columns whose cells hold several tags.
        separator: what stands between the tags of one cell.
        artist_column: a column that may be missing while its name is the default; None leaves it out; so below.
        album_column: see artist_column.
        title_column: see artist_column.
        group_column: the column that names what must stay in one split, such as takes of one composition.
        split_column: the column of splits.
        split_seed: seed of the splits that are made where the table has none.
        where: keep only rows with these values, as {column: value}.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("a.ogg", "b.ogg"):
    ...     (folder / name).touch()
    >>> table = "path;mood;split\\na.ogg;calm, dark;train\\nb.ogg;calm;test\\n"
    >>> _ = (folder / "songs.csv").write_text(table)
    >>> songs = Table(folder / "songs.csv", multi=["mood"])
    >>> songs.tags("mood"), songs.split_name
    (['calm', 'dark'], 'songs.csv: split')
    >>> songs.targets(songs.split("test"))
    array([[1., 0.]], dtype=float32)
    """

    def __init__(
        self,
        table: Path | str,
        *,
        root: Path | str | None = None,
        path_column: str = "path",
        id_column: str | None = None,
        columns: list[str] | None = None,
        multi: list[str] | None = None,
        separator: str = ",",
        artist_column: str | None = "artist",
        album_column: str | None = "album",
        title_column: str | None = "title",
        group_column: str | None = "group",
        split_column: str | None = "split",
        split_seed: int = 0,
        where: dict[str, str] | None = None,
    ) -> None:
        self.table = Path(table).expanduser()
        self.root = self.table.parent if root is None else Path(root).expanduser()
        self.path_column = path_column
        self.id_column = id_column
        self.wanted_columns = columns
        self.multi = multi or []
        self.separator = separator
        self.artist_column = artist_column
        self.album_column = album_column
        self.title_column = title_column
        self.group_column = group_column
        self.split_column = split_column
        self.split_seed = split_seed
        self.where = where or {}

    @property
    def tracks(self) -> list[Track]:
        return self._contents.tracks

    @property
    def columns(self) -> Mapping[str, bool]:  # type: ignore[override]  # read late, so it cannot be assigned
        return self._contents.columns

    @property
    def split_name(self) -> str:  # type: ignore[override]
        return self._contents.split_name

    @property
    def on_columns(self) -> str:  # type: ignore[override]
        return NOT_CHOSEN if self.wanted_columns is None else ""

    @cached_property
    def _contents(self) -> Contents:
        sheet = read_sheet(self.table, path_column=self.path_column)
        named = {fact: getattr(self, f"{fact}_column") for fact in FACTS}
        sheet.require(column for fact, column in named.items() if column not in (None, fact))
        sheet.require([self.id_column] if self.id_column else [])
        facts = {fact: column for fact, column in named.items() if column in sheet.names}
        sheet = self._kept(sheet)
        columns, labels = read_labels(
            sheet,
            columns=self.wanted_columns,
            multi=self.multi,
            separator=self.separator,
            reserved=[self.path_column, self.id_column or "", *facts.values()],
        )
        tracks = []
        for track_id, path, row, tags in zip(self._ids(sheet), self._paths(sheet), sheet.rows, labels, strict=True):
            known = {fact: text(row[column]) for fact, column in facts.items()}
            known["title"] = known.get("title") or file_title(path)
            known["split"] = split_named(known.get("split", ""))
            tracks.append(Track(track_id, path, labels=tags, **known))
        given = f"{self.table.name}: {self.split_column}"
        tracks, split_name = with_splits(sorted(tracks, key=lambda t: t.id), given=given, seed=self.split_seed)
        return Contents(tracks, columns, split_name)

    def _kept(self, sheet: Sheet) -> Sheet:
        sheet.require(self.where)
        rows = sheet.rows
        for column, wanted in self.where.items():
            held = sorted({text(row[column]) for row in rows})
            rows = [row for row in rows if text(row[column]) == str(wanted)]
            if not rows:
                raise UserError(
                    f"{sheet.path}: no row left where {column} is {wanted!r}; it is: {examples(held, 10)}"
                )
        return sheet._replace(rows=rows)

    def _paths(self, sheet: Sheet) -> list[Path]:
        root = self.root.absolute()
        cells = [str(row[self.path_column]) for row in sheet.rows]
        paths = [root / cell for cell in cells]
        # os.path.exists is False, and Path.exists raises, where a cell is no path at all but a long text
        found = [bool(cell) and os.path.exists(path) for cell, path in zip(cells, paths, strict=True)]  # noqa: PTH110
        missing = [cell for cell, there in zip(cells, found, strict=True) if not there]
        if missing:
            wrong = f"{len(missing)} of {len(cells)} files are not in {root}: {examples(missing)}"
            raise UserError(f"{sheet.path}: {wrong}; fix the table or give --catalog.root")
        return paths

    def _ids(self, sheet: Sheet) -> list[str]:
        column = self.id_column or self.path_column
        ids = [str(row[column]) for row in sheet.rows]
        if not all(ids):
            raise UserError(f"{sheet.path}: {ids.count('')} rows have no id in column {column!r}; fill them in")
        twice = [track_id for track_id, count in Counter(ids).items() if count > 1]
        if twice:
            wrong = f"{len(twice)} ids in column {column!r} stand in more than one row: {examples(twice)}"
            raise UserError(f"{sheet.path}: {wrong}; one row is one track")
        return ids
