"""Writing a store of vectors."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ssl_music._files import replacing
from ssl_music._ledger import Ledger, LedgerWriter, Row
from ssl_music.vectors.layout import HEADER, POOLED, row_starts
from ssl_music.vectors.reader import Vectors


class VectorsWriter:
    """Writes a store of vectors, a track at a time; opened again after an interruption, it goes on where it was.

    `header` has the keys of `HEADER`; a directory that was begun with another header is an error that names the
    difference. `done` holds the ids that are there already.

    >>> import tempfile
    >>> header = dict(digest="00", encoder="a.B", embedding_dim=2, sample_rate=100, input_samples=50, hop_samples=50,
    ...     split_name="seed 0", catalog_fingerprint="11", columns={"genre": False})
    >>> root = Path(tempfile.mkdtemp()) / "vectors"
    >>> with VectorsWriter(root, header=header) as writer:
    ...     row = Row("a", labels={"genre": ("folk",)}, split="test", seconds=1.0)
    ...     _ = writer.append(row, [np.array([[0, 1], [2, 1]], np.float32)])
    ...     vectors = writer.finish()
    >>> vectors.pooled, vectors.chunk_seconds(0)
    (array([[1., 1.]], dtype=float32), array([0. , 0.5]))
    """

    def __init__(self, root: Path | str, *, header: Mapping[str, Any]) -> None:
        differing = sorted(set(HEADER) ^ set(header))
        if differing:
            raise ValueError(f"the header of vectors has the keys {', '.join(HEADER)}; {', '.join(differing)} differ")
        self.root = Path(root)
        self.header = dict(header)
        # one shard, so that all chunks are one memory map
        width = header["embedding_dim"]
        self._ledger = LedgerWriter(root, header=header, dtype=np.float32, width=width, rows_per_shard=1 << 62)

    @property
    def done(self) -> set[str]:
        """Ids of the tracks that are in the store, broken ones included."""
        return self._ledger.done

    @property
    def complete(self) -> bool:
        """Whether the store was finished before."""
        return self._ledger.complete

    def append(self, row: Row | Callable[[int], Row], blocks: Iterable[np.ndarray]) -> Row:
        """Appends the chunk vectors of one track, blocks of (n, D) float32 in the order of `chunk_starts`.

        `row.seconds` is the length that was heard, from which the chunk times follow; `row` may be a function of the
        number of chunks, called after the last block, for a length that is known only then.
        """

        def checked(count: int) -> Row:
            facts = row(count) if callable(row) else row
            wanted = len(row_starts(facts, self.header))
            if wanted != count:
                raise ValueError(f"{facts.id}: {count} chunks came for {facts.seconds} s, which has {wanted}")
            return facts

        return self._ledger.append(checked, blocks)

    def quarantine(self, row: Row, reason: str) -> None:
        """Notes a track that yields no vectors, with the reason."""
        self._ledger.quarantine(row, reason)

    def finish(self) -> Vectors:
        """Makes the store readable; the same bytes whether it was interrupted or not."""
        self._ledger.finish()
        if not (self.root / POOLED).exists():
            ledger = Ledger(self.root)
            rows = [row for row in ledger.rows if row.status == "ok"]
            pooled = np.empty((len(rows), self.header["embedding_dim"]), np.float32)
            for number, row in enumerate(rows):
                pooled[number] = ledger.span(row.offset, row.count).mean(axis=0, dtype=np.float64)
            with replacing(self.root / POOLED) as temporary:
                np.save(temporary, pooled)
        return Vectors(self.root)

    def __enter__(self) -> "VectorsWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ledger.__exit__(kind, error, trace)
