"""Append-only data beside a SQLite table that says what of it is committed: survives kill -9 at any moment.

table     one row a track; how rows are written to SQLite and read back; where the shards begin
writer    LedgerWriter: data first, then the row; an interrupted directory goes on where it was
reader    Ledger: rows, memory-mapped slices, whole batches of slices, checksums

A directory holds `data-00000.bin`, `data-00001.bin`, … (bare little-endian numbers, one track behind the other) and
`tracks.sqlite`. While it is being written there is `unfinished.sqlite` instead, which is also the writer's lock.
A track never straddles two shards. `offset` counts rows of data over all shards.
"""

from ssl_music._ledger.reader import Ledger
from ssl_music._ledger.table import DiskFull, Row, explaining_full_disk
from ssl_music._ledger.writer import LedgerWriter

__all__ = ["DiskFull", "Ledger", "LedgerWriter", "Row", "explaining_full_disk"]
