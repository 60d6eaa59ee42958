"""A folder of music: every audio file below it is a track. Of the files' content only their tags are read."""

import os
import warnings
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from ssl_music.audio import AUDIO_ENDINGS
from ssl_music.catalogs.base import Catalog, Track
from ssl_music.catalogs.labels import (
    FACTS,
    NOT_CHOSEN,
    Cell,
    Contents,
    examples,
    file_title,
    match_files,
    read_labels,
    read_sheet,
    split_named,
    text,
    with_splits,
)
from ssl_music.errors import UserError

#: fact → its keys in Vorbis comments, MP4 and easy ID3; in ID3 of wav and aiff; in ASF (wma)
TAG_KEYS = {
    "artist": ("artist", "TPE1", "Author"),
    "album": ("album", "TALB", "WM/AlbumTitle"),
    "title": ("title", "TIT2", "Title"),
}


class Folder(Catalog):
    """Every audio file at any depth below `root`; its id is its path from there, with slashes.

    Names decide (`AUDIO_ENDINGS`), nothing is decoded. Hidden files and folders, AppleDouble files (`._song.mp3`)
    and `__MACOSX` are left out; links are followed, but no folder is entered twice. Artist, album and title are the
    files' own tags; a track without a title is called as its file.

    A table of labels may also give `artist`, `album`, `title`, `group` and `split` in columns of these names, which
    go before the files' tags. Files without a row stay, unlabelled, and are in no split if the table gives splits.
    Where none are given they are made, disjoint by group, else by artist. Label values are kept as given. The
    attribute `columns` tells which label columns there are.

    Args:
        root: the folder.
        labels: a CSV file, or a Parquet file (extra `parquet`), with one row a file.
        columns: label columns of that table; by default every one that has 2 to 100 distinct tags, at least twice
            as many cells that are not empty, and no other use here.
        multi: label columns whose cells hold several tags.
        separator: what stands between the tags of one cell.
        path_column: the column of paths: absolute, or relative to `root`, or else to the folder of the table.
        split_seed: seed of the splits that are made where the table has none.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> (root / "Album").mkdir()
    >>> (root / "Album" / "01 Song.MP3").touch()
    >>> [(track.id, track.title) for track in Folder(root).tracks]
    [('Album/01 Song.MP3', '01 Song')]
    """

    def __init__(
        self,
        root: Path | str,
        *,
        labels: Path | str | None = None,
        columns: list[str] | None = None,
        multi: list[str] | None = None,
        separator: str = ",",
        path_column: str = "path",
        split_seed: int = 0,
    ) -> None:
        self.root = Path(root).expanduser()
        self.labels = None if labels is None else Path(labels).expanduser()
        self.wanted_columns = columns
        self.multi = multi or []
        self.separator = separator
        self.path_column = path_column
        self.split_seed = split_seed

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
        return NOT_CHOSEN if self.labels is not None and self.wanted_columns is None else ""

    @cached_property
    def _contents(self) -> Contents:
        root = self.root.absolute()
        ids = _audio_files(root, given=self.root)
        columns, rows = self._labelled_rows(root, ids)
        tracks = []
        # reading tags takes 0.1 ms a file from the cache and threads make it no faster, so only large or slow
        # folders get to see the bar
        for track_id in tqdm(ids, desc="reading tags", unit="file", delay=2, disable=None):
            path = root / track_id
            row, tags = rows.get(track_id, ({}, {}))
            known = file_tags(path)
            known |= {fact: text(row[fact]) for fact in FACTS if text(row.get(fact, ""))}
            known["title"] = known.get("title") or file_title(path)
            known["split"] = split_named(known.get("split", ""))
            tracks.append(Track(track_id, path, labels=tags, **known))
        given = f"{self.labels.name}: split" if self.labels else ""
        tracks, split_name = with_splits(tracks, given=given, seed=self.split_seed)
        return Contents(tracks, columns, split_name)

    def _labelled_rows(
        self, root: Path, ids: list[str]
    ) -> tuple[dict[str, bool], dict[str, tuple[dict[str, Cell], dict[str, tuple[str, ...]]]]]:
        if self.labels is None:
            if self.wanted_columns or self.multi:
                raise UserError("columns and multi choose label columns of a table: give labels too")
            return {}, {}
        sheet = read_sheet(self.labels, path_column=self.path_column)
        matched = match_files(sheet, self.path_column, root, ids)
        columns, labels = read_labels(
            sheet,
            columns=self.wanted_columns,
            multi=self.multi,
            separator=self.separator,
            reserved=[self.path_column, "id", *FACTS],
        )
        if self.wanted_columns is None and not columns:
            warnings.warn(
                f"{self.labels}: no column looks like labels (2 to 100 distinct tags, twice as many cells); name "
                f"some as columns. Known: {', '.join(sheet.names)}",
                stacklevel=2,
            )
        return columns, {
            track_id: (row, tags)
            for track_id, row, tags in zip(matched, sheet.rows, labels, strict=True)
            if track_id is not None
        }


def _audio_files(root: Path, *, given: Path) -> list[str]:
    """Ids of the audio files below `root`, sorted; one error if there is none."""
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "no such folder"
        raise UserError(f"{given}: {what} ({root}); give a folder with music in it as --catalog.root")
    names, unreachable = _visible_names(root)
    endings = Counter(PurePosixPath(name).suffix.lower() for name in names)
    ids = sorted(name for name in names if PurePosixPath(name).suffix.lower() in AUDIO_ENDINGS)
    if unreachable:
        wrong = f"{len(unreachable)} folders or links cannot be followed: {examples(unreachable)}"
        warnings.warn(f"{root}: {wrong}", stacklevel=2)
    if not ids:
        seen = ", ".join(f"{ending or 'no ending'} ({count})" for ending, count in endings.most_common(10)) or "none"
        raise UserError(
            f"{given}: no audio among the {len(names)} files of {root}; endings seen: {seen}; endings that count: "
            f"{' '.join(sorted(AUDIO_ENDINGS))}. Give another folder, or name the files in a Table"
        )
    return ids


def _visible_names(root: Path) -> tuple[list[str], list[str]]:
    """Every file that is not hidden, and what cannot be followed, as paths from the root with slashes.

    Folders that links lead to come last, so that real places give the names.
    """
    files, unreachable = list[str](), list[str]()
    entered = set()
    folders, links = [""], list[str]()
    while folders or links:
        here = folders.pop() if folders else links.pop(0)
        try:
            status = (root / here).stat()
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(root / here), key=lambda entry: entry.name)
        except OSError:
            unreachable.append(here or ".")
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            name = f"{here}/{entry.name}" if here else entry.name
            try:
                if entry.is_dir():
                    (links if entry.is_symlink() else folders).append(name)
                elif entry.is_file():
                    files.append(name)
                elif entry.is_symlink():
                    unreachable.append(name)
            except OSError:  # a link onto itself
                unreachable.append(name)
    return files, unreachable


def file_tags(path: Path) -> dict[str, str]:
    """Artist, album and title as far as the file's own tags have them; "" or absent where they do not.

    >>> file_tags(Path("no such file"))
    {}
    """
    import mutagen

    try:
        file = mutagen.File(path, easy=True)
        tags = {} if file is None or file.tags is None else file.tags
        found = {fact: next(filter(None, map(tags.get, keys)), ()) for fact, keys in TAG_KEYS.items()}
        return {fact: ", ".join(map(str, parts)).strip(" \0\t\r\n") for fact, parts in found.items()}
    except Exception:
        # On damaged files mutagen raises more than its own errors. Such a file has no tags; that it is damaged is
        # for audio.py to say, once.
        return {}
