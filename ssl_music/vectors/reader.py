"""Reading a store of vectors."""

from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssl_music._ledger import Ledger
from ssl_music.errors import UserError, unknown_name
from ssl_music.vectors.layout import HEADER, POOLED, row_starts


class Fault(NamedTuple):
    """A track whose vectors cannot be compared with others."""

    row: int
    id: str
    reason: str


class Vectors:
    """A store of vectors, read back. Row numbers count the tracks that have vectors, in the catalog's order.

    Shape: `pooled` (N, D), `chunks` (M, D), both float32.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        ledger = Ledger(self.root)
        missing = [key for key in HEADER if key not in ledger.header]
        if missing:
            raise UserError(
                f"{root}: no store of vectors (its header lacks {', '.join(missing)}); run ssl-music embed"
            )
        if not (self.root / POOLED).exists():
            raise UserError(f"{root}: unfinished, {POOLED} is missing; run ssl-music embed again: it goes on there")
        self.header: dict[str, Any] = {key: ledger.header[key] for key in HEADER}
        self.rows = [row for row in ledger.rows if row.status == "ok"]
        self.broken = [(row.id, row.reason) for row in ledger.rows if row.status != "ok"]
        count = sum(row.count for row in self.rows)
        width = self.header["embedding_dim"]
        self.chunks = ledger.span(0, count) if count else np.empty((0, width), np.float32)  # (M, D)
        self.pooled = np.asarray(np.load(self.root / POOLED, mmap_mode="r" if self.rows else None))  # (N, D)
        if self.pooled.shape != (len(self.rows), width):
            wanted = f"({len(self.rows)}, {width})"
            raise UserError(
                f"{self.root / POOLED}: is {self.pooled.shape}, wanted {wanted}; delete it and embed again"
            )

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Track id → row number."""
        return {row.id: number for number, row in enumerate(self.rows)}

    def chunk_range(self, row: int) -> tuple[int, int]:
        """The chunks of a track: `chunks[first:behind]`."""
        first = self.rows[row].offset
        return first, first + self.rows[row].count

    def chunk_seconds(self, row: int) -> np.ndarray:
        """When each chunk of a track begins, in seconds. Shape: (n,)."""
        return row_starts(self.rows[row], self.header) / self.header["sample_rate"]

    def split(self, name: str) -> np.ndarray:
        """Row numbers of the split `name`; `"all"` is every row."""
        if name == "all":
            return np.arange(len(self.rows))
        known = sorted({row.split for row in self.rows} - {""})
        if name not in known:
            raise unknown_name(f"split in {self.root}:", name, [*known, "all"])
        return np.array([number for number, row in enumerate(self.rows) if row.split == name], np.int64)

    def column(self, name: str | None) -> str:
        """`name` itself if it is a label column; for None the only column there is."""
        columns = list(self.header["columns"])
        if name is None and len(columns) == 1:
            return columns[0]
        if name is None:
            raise UserError(f"{self.root}: which label column? There are: {', '.join(columns) or 'none'}")
        if name not in columns:
            raise unknown_name(f"label column in {self.root}:", name, columns)
        return name

    def multi_label(self, column: str | None = None) -> bool:
        """Whether one track may have several tags of the column."""
        return self.header["columns"][self.column(column)]

    def tags(self, column: str | None = None) -> list[str]:
        """Every tag of a label column, sorted: the column order of `targets`."""
        return self._tags[self.column(column)]

    @cached_property
    def _tags(self) -> dict[str, list[str]]:
        return {
            column: sorted({tag for row in self.rows for tag in row.labels.get(column, ())})
            for column in self.header["columns"]
        }

    def labelled(self, rows: np.ndarray, column: str | None = None) -> np.ndarray:
        """Those of `rows` whose track has at least one tag in the column."""
        column = self.column(column)
        return np.array([row for row in rows if self.rows[row].labels.get(column)], np.int64)

    def targets(self, rows: np.ndarray, column: str | None = None) -> np.ndarray:
        """One line a row number, one column a tag, 1 where the track has the tag. Shape: (N, K) float32."""
        column = self.column(column)
        position = {tag: index for index, tag in enumerate(self.tags(column))}
        targets = np.zeros((len(rows), len(position)), np.float32)
        for line, row in enumerate(rows):
            targets[line, [position[tag] for tag in self.rows[row].labels.get(column, ())]] = 1.0
        return targets

    def check(self) -> list[Fault]:
        """The tracks with vectors that no similarity should be asked of, and why.

        NaN or Inf come from an encoder that has diverged, zero from silence; where every chunk of a longer track gave
        the very same vector, the encoder heard no difference: digital silence, mostly.
        """
        faults = []
        for number, row in enumerate(self.rows):
            first, behind = self.chunk_range(number)
            chunks = self.chunks[first:behind]
            finite = np.isfinite(chunks).all(axis=1)
            if not finite.all():
                faults.append(Fault(number, row.id, f"{np.sum(~finite)} of {len(chunks)} vectors hold NaN or Inf"))
            elif not (any_value := chunks.any(axis=1)).all():
                faults.append(Fault(number, row.id, f"{np.sum(~any_value)} of {len(chunks)} vectors are zero"))
            elif len(chunks) > 1 and (chunks == chunks[0]).all():
                faults.append(Fault(number, row.id, f"all {len(chunks)} vectors are the same: silence?"))
        return faults

    def summary(self) -> str:
        """One line a fact, for people: how much there is, of which encoder, what is wrong with it."""
        header = self.header
        lines = [
            f"{self.root}: {len(self.rows)} tracks, {len(self.chunks)} chunks, {header['embedding_dim']}-d vectors",
            f"encoder {header['encoder']} {header['digest']}",
            f"split {header['split_name']}, catalog {header['catalog_fingerprint']}",
        ]
        lines += [f"no vectors: {id}: {reason}" for id, reason in self.broken]
        lines += [f"doubtful: {fault.id}: {fault.reason}" for fault in self.check()]
        return "\n".join(lines)
