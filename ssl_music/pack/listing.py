"""A pack as a list: its checksums, its table for other programs."""

import csv
from pathlib import Path
from typing import Any

from ssl_music._files import replacing
from ssl_music._ledger import Ledger, Row
from ssl_music._ledger.table import TABLE, WORKING
from ssl_music.errors import UserError

FACTS = (
    "id", "path", "artist", "album", "title", "group", "split", "seconds", "offset", "count", "checksum", "status",
    "reason",
)  # fmt: skip


def verify(root: Path | str, *, progress: bool = True) -> list[str]:
    """What is wrong with a pack (or a directory of vectors), one line each; empty where every checksum is right.

    Tells apart: unfinished, a shard that is missing, cut short or longer, and tracks whose bytes have changed.
    """
    root = Path(root)
    if (root / WORKING).exists() and not (root / TABLE).exists():
        return [f"{root}: unfinished; run the command that began it again and it goes on where it was"]
    return Ledger(root).verify(progress=progress)


def export(root: Path | str, path: Path | str) -> None:
    """The table of tracks as `.csv` or `.parquet` (extra `parquet`), one column `labels.NAME` for each label column.

    Several tags of a cell stand beside each other with commas in CSV, as a list in Parquet.
    """
    path = Path(path)
    ledger = Ledger(root)
    columns = sorted({column for row in ledger.rows for column in row.labels} | set(ledger.header["columns"]))
    if path.suffix.lower() == ".csv":
        # surrogateescape: a path that is no UTF-8 is written as the bytes that it has on disk
        with (
            replacing(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as handle,
        ):
            table = csv.writer(handle)
            table.writerow([*FACTS, *(f"labels.{column}" for column in columns)])
            for row in ledger.rows:
                tags = [", ".join(row.labels.get(column, ())) for column in columns]
                table.writerow([*(getattr(row, name) for name in FACTS), *tags])
    elif path.suffix.lower() == ".parquet":
        _write_parquet(path, ledger.rows, columns)
    else:
        raise UserError(f"{path}: a table is written as .csv or .parquet; choose one of these endings")


def _write_parquet(path: Path, rows: list[Row], columns: list[str]) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(
            f"{path}: writing Parquet needs pyarrow; pip install 'ssl-music[parquet]', or export to .csv"
        ) from error
    table: dict[str, Any] = {name: [_utf8(getattr(row, name)) for row in rows] for name in FACTS}
    for column in columns:
        table[_utf8(f"labels.{column}")] = [[_utf8(tag) for tag in row.labels.get(column, ())] for row in rows]
    with replacing(path) as temporary:
        pyarrow.parquet.write_table(pyarrow.table(table), temporary)


def _utf8(value: Any) -> Any:
    """Parquet's text is UTF-8: what is none shows a replacement mark."""
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
