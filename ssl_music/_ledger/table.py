"""The table of a ledger: one row a track, written to SQLite and read back; names and beginnings of the shards."""

import errno
import json
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ssl_music.errors import UserError

TABLE = "tracks.sqlite"
WORKING = "unfinished.sqlite"
SHARDS = "data-[0-9][0-9][0-9][0-9][0-9].bin"


@dataclass(frozen=True, slots=True)
class Row:
    """What a ledger knows of one track: `count` rows of data from `offset` on, or the reason why there are none.

    >>> Row("a/1.ogg", status="broken", reason="empty file").count
    0
    """

    id: str
    path: str = ""
    artist: str = ""
    album: str = ""
    title: str = ""
    group: str = ""
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    split: str = ""
    seconds: float = 0.0
    offset: int = 0
    count: int = 0
    checksum: str = ""
    status: str = "ok"
    reason: str = ""

    @classmethod
    def of(cls, track: Any, **facts: Any) -> "Row":
        """The row of a catalog's track; `facts` are further fields.

        >>> from ssl_music.catalogs.base import Track
        >>> Row.of(Track("1", Path("songs/1.ogg"), artist="Ada"), seconds=3.0).artist
        'Ada'
        """
        known = ("id", "artist", "album", "title", "group", "split")
        labels = {column: tuple(track.labels[column]) for column in sorted(track.labels)}
        return cls(path=str(track.path), labels=labels, **{name: getattr(track, name) for name in known}, **facts)


NAMES = [entry.name for entry in fields(Row)]
_SCHEMA = f"""
CREATE TABLE header (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE tracks (position INTEGER PRIMARY KEY, {", ".join(f'"{name}"' for name in NAMES)});
"""
_INSERT = f"INSERT INTO tracks VALUES ({', '.join('?' * (len(NAMES) + 1))})"


def create(database: sqlite3.Connection, header: Mapping[str, Any]) -> None:
    """Empty tables and the header, inside the caller's transaction."""
    for statement in _SCHEMA.strip().split("\n"):
        database.execute(statement)
    facts = [(key, json.dumps(header[key], sort_keys=True)) for key in sorted(header)]
    database.executemany("INSERT INTO header VALUES (?, ?)", facts)


def insert(database: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Appends rows in their order, inside the caller's transaction; SQLite counts the positions."""
    records = ((None, *(_pack(getattr(row, name)) for name in NAMES)) for row in rows)
    database.executemany(_INSERT, records)


def write(path: Path, header: Mapping[str, Any], rows: list[Row]) -> None:
    """A new file with everything, in one transaction: equal contents give equal bytes."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database, database:
        database.execute("PRAGMA journal_mode=OFF")
        database.execute("BEGIN")
        create(database, header)
        insert(database, rows)


def load(database: sqlite3.Connection) -> tuple[dict[str, Any], list[Row]]:
    """The header and every row, in the order they were appended."""
    header = {key: json.loads(value) for key, value in database.execute("SELECT key, value FROM header")}
    names = ", ".join(f'"{name}"' for name in NAMES)
    labels = NAMES.index("labels")
    rows = []
    for record in database.execute(f"SELECT {names} FROM tracks ORDER BY position"):
        facts = [_unpack(value) for value in record]
        facts[labels] = {column: tuple(tags) for column, tags in json.loads(facts[labels]).items()}
        rows.append(Row(*facts))
    return header, rows


def load_finished(root: Path) -> tuple[dict[str, Any], list[Row]]:
    """The finished table in `root`; `UserError` where there is none or where it is no such table."""
    path = root / TABLE
    if not path.exists():
        if (root / WORKING).exists():
            raise UserError(f"{root}: unfinished; run the command that began it again and it goes on where it was")
        raise UserError(f"{root}: wanted a directory holding {TABLE}, found none; was it packed or embedded there?")
    try:
        # immutable: no lock and no journal, so read-only disks serve too
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as database:
            return load(database)
    except (sqlite3.Error, TypeError, ValueError) as error:
        raise UserError(f"{path}: damaged, or not written by ssl_music ({error}); make it anew") from error


def open_working(root: Path, header: Mapping[str, Any]) -> sqlite3.Connection:
    """The working table, opened so that SQLite keeps every other process out until it is closed."""
    path = root / WORKING
    if not path.exists() and not (root / TABLE).exists() and any(root.glob(SHARDS)):
        raise UserError(f"{root}: holds data-*.bin but no table of them; choose another folder")
    database: sqlite3.Connection | None = None
    try:
        with explaining_full_disk(root):
            database = sqlite3.connect(path, timeout=0.0, isolation_level=None)
            database.execute("PRAGMA locking_mode=EXCLUSIVE")
            database.execute("BEGIN EXCLUSIVE")
            if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                create(database, header)
            database.execute("COMMIT")
    except (sqlite3.Error, UserError) as error:
        if database is not None:
            database.close()
        if isinstance(error, UserError):
            raise
        if "locked" in str(error):
            raise UserError(f"{root}: another process is writing here; wait for it, or end it") from error
        raise UserError(f"{path}: {error}; choose a folder that can be written, or delete this one") from error
    return database


def shard_name(number: int) -> str:
    return f"data-{number:05d}.bin"


def shard_counts(rows: Iterable[Row], rows_per_shard: int) -> list[int]:
    """How many rows of data each shard holds: a new one begins with the track after the one that filled the last.

    >>> shard_counts([Row("a", count=3), Row("b", count=3), Row("c", count=1)], rows_per_shard=4)
    [6, 1]
    """
    counts: list[int] = []
    for row in rows:
        if row.count and (not counts or counts[-1] >= rows_per_shard):
            counts.append(0)
        if row.count:
            counts[-1] += row.count
    return counts


class DiskFull(UserError):
    """No room left while writing; what was committed stays."""


@contextmanager
def explaining_full_disk(folder: Path, *, needed_bytes: int = 0) -> Iterator[None]:
    """Turns "no space left" of the system or of SQLite into a `DiskFull` that says where and how much is free."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        quota = getattr(errno, "EDQUOT", errno.ENOSPC)
        if getattr(error, "errno", None) not in (errno.ENOSPC, quota) and "is full" not in str(error):
            raise
        free = shutil.disk_usage(folder).free
        raise DiskFull(
            f"{folder}: the disk is full: {needed_bytes / 1e6:.1f} MB were to be written next, "
            f"{free / 1e6:.1f} MB are free; make room and run the same command again: it goes on where it was"
        ) from error


def _pack(value: Any) -> Any:
    """SQLite's text is UTF-8; a name that is no UTF-8 (a lone surrogate in Python) is kept as its bytes."""
    if isinstance(value, Mapping):
        value = json.dumps(value, sort_keys=True, ensure_ascii=False)
    if not isinstance(value, str):
        return value
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
    return value


def _unpack(value: Any) -> Any:
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value
