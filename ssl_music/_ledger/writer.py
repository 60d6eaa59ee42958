"""Writing a ledger: the data of a track first, then its row; the working table says what counts."""

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ssl_music import _files
from ssl_music._ledger import table
from ssl_music._ledger.table import Row
from ssl_music.errors import UserError

# A commit costs about three fsyncs: often enough that a kill loses a second of work, rare enough to cost nothing.
COMMIT_SECONDS = 1.0
COMMIT_BYTES = 64 << 20


class LedgerWriter:
    """Appends tracks to a directory; opened again after an interruption, it goes on behind the last commit.

    The finished directory is the same, byte for byte, however often the writing was interrupted.
    `header` is what must be the same to go on: any JSON facts. `rows_per_shard` closes a shard once it holds as many.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp()) / "store"
    >>> with LedgerWriter(root, header={"sample_rate": 8000}, dtype=np.int16, rows_per_shard=1 << 30) as writer:
    ...     row = writer.append(Row("a"), [np.zeros(5, np.int16), np.ones(5, np.int16)])
    ...     writer.quarantine(Row("b"), "empty file")
    ...     writer.finish()
    >>> row.count, sorted(path.name for path in root.iterdir())
    (10, ['data-00000.bin', 'tracks.sqlite'])
    """

    def __init__(
        self, root: Path | str, *, header: Mapping[str, Any], dtype: DTypeLike, width: int = 1, rows_per_shard: int
    ):
        self.root = Path(root)
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.width = width
        self.rows_per_shard = rows_per_shard
        self.header = {**header, "dtype": self.dtype.str, "width": width, "rows_per_shard": rows_per_shard}
        self.rows: list[Row] = []
        self.complete = False
        self._pending: list[Row] = []
        self._pending_bytes = 0
        self._committed_at = time.monotonic()
        self._shard: FileIO | None = None
        self._database: sqlite3.Connection | None = None
        self._check(self._open())
        self.done = {row.id for row in self.rows}
        self._counts = table.shard_counts(self.rows, rows_per_shard)
        self._total = sum(self._counts)
        if not self.complete:
            self._drop_uncommitted()

    def append(self, row: Row | Callable[[int], Row], blocks: Iterable[np.ndarray]) -> Row:
        """Writes the blocks, each (n,) or (n, width), behind the last track, and fills in offset, count and checksum.

        `row` may be a function of the count, for facts that only stand after the last block. If `blocks` raises,
        nothing of the track stays and the error goes on.
        """
        self._begin_shard_if_full()
        shape = () if self.width == 1 else (self.width,)
        digest = hashlib.sha256()
        count = 0
        try:
            for block in blocks:
                if block.dtype != self.dtype or block.shape[1:] != shape:
                    raise ValueError(f"a block is {block.dtype} {block.shape}, wanted {self.dtype} (n, {shape})")
                if len(block):
                    data = np.ascontiguousarray(block).data.cast("B")
                    digest.update(data)
                    self._write(data)
                    count += len(block)
            if not count:
                raise ValueError("a track without data; quarantine it instead")
            facts = row(count) if callable(row) else row
        except BaseException:
            self._truncate()
            raise
        facts = replace(facts, offset=self._total, count=count, checksum=digest.hexdigest()[:32], status="ok")
        self._counts[-1] += count
        self._total += count
        self._note(facts, count * self._row_bytes)
        return facts

    def quarantine(self, row: Row, reason: str) -> None:
        """Notes a track that yields no data, with the reason."""
        self._note(replace(row, status="broken", reason=reason, count=0, offset=self._total, checksum=""), 0)

    def commit(self) -> None:
        """Makes everything so far survive: fsync of the data, then the rows in one transaction."""
        assert self._database is not None
        # taken out first: rows whose commit failed must not be committed by a second try on the way out
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        with table.explaining_full_disk(self.root):
            if self._shard is not None:
                os.fsync(self._shard.fileno())
            with self._database:
                self._database.execute("BEGIN")
                table.insert(self._database, pending)
        self._committed_at = time.monotonic()

    def finish(self) -> None:
        """Writes the final table in one go (equal rows give equal bytes) and removes the working one."""
        if self.complete:
            return
        self.commit()
        self._close_shard()
        for left in self.root.glob(f".{Path(table.TABLE).stem}.*.partial.sqlite"):
            left.unlink()  # of a writer killed right here
        with table.explaining_full_disk(self.root), _files.replacing(self.root / table.TABLE) as temporary:
            table.write(temporary, self.header, self.rows)
        self.complete = True
        self.close()

    def discard(self) -> None:
        """Removes everything that was written: for a run that turns out to have nothing worth keeping."""
        self._pending = []
        self._close_shard()
        for path in self.root.glob(table.SHARDS):
            path.unlink()
        self.complete = True
        self.close()

    def close(self) -> None:
        """Commits what is whole and lets go of the directory."""
        if self._database is None:
            return
        try:
            if self._pending:
                self.commit()
        finally:
            self._close_shard()
            self._database.close()
            self._database = None
            if self.complete:
                # Another writer may have opened it by now; it looks for the final table only then, so no harm comes.
                for name in (table.WORKING, f"{table.WORKING}-journal"):
                    (self.root / name).unlink(missing_ok=True)

    def __enter__(self) -> "LedgerWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # the first error is the one to tell
        with suppress(*(() if error is None else (UserError, OSError, sqlite3.Error))):
            self.close()

    @property
    def _row_bytes(self) -> int:
        return self.width * self.dtype.itemsize

    def _note(self, row: Row, size: int) -> None:
        self.rows.append(row)
        self.done.add(row.id)
        self._pending.append(row)
        self._pending_bytes += size
        if self._pending_bytes >= COMMIT_BYTES or time.monotonic() - self._committed_at >= COMMIT_SECONDS:
            self.commit()

    def _open(self) -> dict[str, Any]:
        """The header on disk; sets `rows`, `complete` and, where there is something left to write, takes the lock."""
        final, working = self.root / table.TABLE, self.root / table.WORKING
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if working.exists() or not final.exists():
                self._database = table.open_working(self.root, self.header)
                _files.sync_folder(self.root)
        except OSError as error:
            raise UserError(f"{self.root}: cannot write there ({error.strerror}); choose another folder") from error
        if final.exists():
            self.complete = True
            found, self.rows = table.load_finished(self.root)
            self.close()
        else:
            assert self._database is not None
            found, self.rows = table.load(self._database)
        return found

    def _check(self, found: Mapping[str, Any]) -> None:
        # through JSON, as the one on disk went: tuples become lists
        wanted = json.loads(json.dumps(self.header))
        differing = [key for key in sorted({*found, *wanted}) if found.get(key) != wanted.get(key)]
        if differing:
            self.close()
            was = ", ".join(f"{key} {found.get(key)!r}" for key in differing)
            now = ", ".join(f"{key} {wanted.get(key)!r}" for key in differing)
            raise UserError(
                f"{self.root}: was made with {was}; now asked for {now}. Choose another folder, or delete this one"
            )

    def _drop_uncommitted(self) -> None:
        """Cuts the data back to the last commit and opens the shard that goes on."""
        for number, count in enumerate(self._counts):
            path = self.root / table.shard_name(number)
            size = path.stat().st_size if path.exists() else 0
            if size < count * self._row_bytes:
                self.close()
                raise UserError(f"{path}: shorter than its table says; delete {self.root} and start anew")
        for path in sorted(self.root.glob(table.SHARDS))[len(self._counts) :]:
            path.unlink()
        if self._counts:
            self._shard = FileIO(self.root / table.shard_name(len(self._counts) - 1), "r+")
            self._truncate()

    def _begin_shard_if_full(self) -> None:
        if self._counts and self._counts[-1] < self.rows_per_shard:
            return
        self.commit()
        self._close_shard()
        with table.explaining_full_disk(self.root):
            self._shard = FileIO(self.root / table.shard_name(len(self._counts)), "x")
            _files.sync_folder(self.root)
        self._counts.append(0)

    def _write(self, data: memoryview) -> None:
        assert self._shard is not None
        with table.explaining_full_disk(self.root, needed_bytes=len(data)):
            while data:
                data = data[self._shard.write(data) :]

    def _truncate(self) -> None:
        """Back to the end of the last whole track."""
        assert self._shard is not None
        if self._counts[-1]:
            self._shard.truncate(self._counts[-1] * self._row_bytes)
            self._shard.seek(0, os.SEEK_END)
        else:  # begun by the track that is taken back
            self._counts.pop()
            self._close_shard()
            (self.root / table.shard_name(len(self._counts))).unlink()

    def _close_shard(self) -> None:
        if self._shard is not None:
            self._shard.close()
            self._shard = None
