"""Reading a finished ledger: its rows, slices of its data by memory map, its checksums."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ssl_music._ledger import table
from ssl_music._ledger.table import Row
from ssl_music.errors import UserError

HASH_BYTES = 16 << 20


class Ledger:
    """A finished directory of a `LedgerWriter`. Opening reads the table only; shards are mapped when first touched.

    >>> import tempfile
    >>> from ssl_music._ledger import LedgerWriter
    >>> root = Path(tempfile.mkdtemp())
    >>> with LedgerWriter(root, header={"unit": "count"}, dtype=np.int16, rows_per_shard=4) as writer:
    ...     for name in "abc":
    ...         _ = writer.append(Row(name), [np.arange(4, dtype=np.int16)])
    ...     writer.finish()
    >>> ledger = Ledger(root)
    >>> [row.offset for row in ledger.rows], ledger.header["unit"]
    ([0, 4, 8], 'count')
    >>> ledger.gather(np.array([1, 8]), 3)
    array([[1, 2, 3], [0, 1, 2]], dtype=int16)
    """

    def __init__(self, root: Path | str):
        self.root = Path(root)
        self.header: dict[str, Any]
        self.rows: list[Row]
        self.header, self.rows = table.load_finished(self.root)
        self.dtype = np.dtype(self.header["dtype"])
        self.width = int(self.header["width"])
        self._row_bytes = self.width * self.dtype.itemsize
        self._counts = table.shard_counts(self.rows, self.header["rows_per_shard"])
        # first row of data of each shard, and behind the last: ends
        self._starts = np.concatenate([[0], np.cumsum(self._counts, dtype=np.int64)])
        self._maps: dict[int, np.ndarray] = {}

    def gather(self, positions: np.ndarray, count: int) -> np.ndarray:
        """`count` rows of data from each position on, copied. Shape: (B,) -> (B, count) or (B, count, width).

        A slice must lie inside one shard; slices of one track always do.
        """
        positions = np.asarray(positions, np.int64)
        shape = (len(positions), count) if self.width == 1 else (len(positions), count, self.width)
        out = np.empty(shape, self.dtype)
        shards = self._shards_of(positions, count)
        local = positions - self._starts[shards]
        # A plain loop of memory copies: as fast as indexing sliding windows, and no second copy across shards.
        for row, (shard, start) in enumerate(zip(shards.tolist(), local.tolist(), strict=True)):
            out[row] = self._shard(shard)[start : start + count]
        return out

    def span(self, offset: int, count: int) -> np.ndarray:
        """Rows of data `offset … offset + count` as a view of the memory map. Shape: (count,) or (count, width)."""
        if not count:
            return np.empty((0,) if self.width == 1 else (0, self.width), self.dtype)
        shard = int(self._shards_of(np.array([offset]), count)[0])
        local = offset - int(self._starts[shard])
        return self._shard(shard)[local : local + count]

    def verify(self, *, progress: bool = True) -> list[str]:
        """Reads everything and says what is wrong: shards that are missing or cut, tracks whose bytes changed."""
        problems = []
        bar = tqdm(total=len(self.rows), desc="checking", unit="track", disable=None if progress else True)
        with bar:
            for shard in range(len(self._counts)):
                problems += self._verify_shard(shard, bar)
        return problems

    def _verify_shard(self, shard: int, bar: tqdm) -> list[str]:
        path = self.root / table.shard_name(shard)
        start, end = int(self._starts[shard]), int(self._starts[shard + 1])
        held = [row for row in self.rows if row.count and start <= row.offset < end]
        wanted = (end - start) * self._row_bytes
        size = path.stat().st_size if path.exists() else 0
        lost = [row for row in held if (row.offset + row.count - start) * self._row_bytes > size]
        problems = []
        if not path.exists():
            problems.append(f"{path.name}: missing, and with it {len(lost)} tracks")
        elif size < wanted:
            problems.append(f"{path.name}: cut short, {size:,} of {wanted:,} bytes, and with it {len(lost)} tracks")
        elif size > wanted:
            problems.append(f"{path.name}: longer than written, {size:,} bytes instead of {wanted:,}")
        for row in held[: len(held) - len(lost)]:
            try:
                if self._checksum(path, row.offset - start, row.count) != row.checksum:
                    problems.append(f"track {row.id!r}: its bytes in {path.name} have changed")
            except OSError as error:
                problems.append(f"track {row.id!r}: its bytes in {path.name} cannot be read ({error.strerror})")
            bar.update()
        return problems

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}  # a pickled memory map would carry its data

    def _shards_of(self, positions: np.ndarray, count: int) -> np.ndarray:
        shards = np.searchsorted(self._starts, positions, side="right") - 1
        inside = (positions >= 0) & (positions < self._starts[-1])
        if not inside.all() or (positions + count > self._starts[np.where(inside, shards, 0) + 1]).any():
            raise IndexError(f"{self.root}: a slice of {count} does not lie inside one shard")
        return shards

    def _shard(self, shard: int) -> np.ndarray:
        if shard not in self._maps:
            path = self.root / table.shard_name(shard)
            shape = (self._counts[shard],) if self.width == 1 else (self._counts[shard], self.width)
            try:
                # a plain array: slicing the subclass memmap costs microseconds each time
                self._maps[shard] = np.asarray(np.memmap(path, self.dtype, mode="r", shape=shape))
            except (OSError, ValueError) as error:
                raise UserError(
                    f"{path}: missing or cut short ({error}); `ssl-music check` tells what is lost"
                ) from error
        return self._maps[shard]

    def _checksum(self, path: Path, start: int, count: int) -> str:
        # read, not mapped: a bad sector under a memory map would end the process
        digest = hashlib.sha256()
        left = count * self._row_bytes
        with path.open("rb") as handle:
            handle.seek(start * self._row_bytes)
            while left and (data := handle.read(min(left, HASH_BYTES))):
                digest.update(data)
                left -= len(data)
        return digest.hexdigest()[:32]
