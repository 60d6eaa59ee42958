"""A table file, CSV or Parquet, as rows of text."""

import codecs
import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ssl_music.errors import UserError, unknown_name

#: the text of one cell; a list (Parquet only) is a tuple
Cell = str | tuple[str, ...]


class Sheet(NamedTuple):
    """A table: its file, the names of its columns, one dict a row."""

    path: Path
    names: list[str]
    rows: list[dict[str, Cell]]

    def require(self, names: Iterable[str]) -> None:
        """One error that names every column that is not there, and those that are."""
        missing = [name for name in dict.fromkeys(names) if name not in self.names]
        if len(missing) == 1:
            raise UserError(f"{self.path}: {unknown_name('column', missing[0], self.names)}")
        if missing:
            raise UserError(f"{self.path}: unknown columns {', '.join(missing)}. Known: {', '.join(self.names)}")


def examples(names: Iterable[str], most: int = 3) -> str:
    """The first few names, quoted, so that blanks, newlines and undecodable bytes show.

    >>> print(examples(["a\\nb", "c", "d", "e"]))
    'a\\nb', 'c', 'd', …
    """
    names = list(names)
    return ", ".join([repr(name) for name in names[:most]] + ["…"] * (len(names) > most))


def text(cell: Cell) -> str:
    """A cell as one text without blanks around it."""
    return cell.strip() if isinstance(cell, str) else ", ".join(cell)


def read_cells(path: Path | str) -> Sheet:
    """A CSV file (comma, semicolon, tab or bar; UTF-8 or UTF-16) or a Parquet file: its content decides."""
    path = Path(path).expanduser()
    try:
        with path.open("rb") as handle:
            is_parquet = handle.read(4) == b"PAR1"
    except FileNotFoundError:
        raise UserError(f"{path}: no such table; looked for {path.absolute()}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read as a table: {error.strerror}; give a CSV or Parquet file") from None
    return _read_parquet(path) if is_parquet else _read_csv(path)


def read_sheet(path: Path | str, *, path_column: str | None) -> Sheet:
    """A table of tracks, read by `read_cells`; one without rows or without its paths is an error.

    Paths may hold bytes that are not UTF-8, as file names do; other cells may not. None is a table without paths.
    """
    sheet = read_cells(path)
    path = sheet.path
    if not sheet.rows:
        raise UserError(f"{path}: the table has no rows; it wants a header and below it one row a track")
    if path_column is not None and path_column not in sheet.names:
        known = ", ".join(sheet.names)
        raise UserError(f"{path}: no column {path_column!r} with paths; name it as path_column. Known: {known}")
    for number, row in enumerate(sheet.rows, start=1):
        for name in sheet.names:
            if name != path_column and not _is_unicode(text(row[name])):
                raise UserError(f"{path}: column {name!r} of row {number} is not UTF-8; save the table as UTF-8")
    return sheet


def _is_unicode(cell: str) -> bool:
    return cell.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in cell)


def _read_csv(path: Path) -> Sheet:
    content = _decode(path)
    # a delimiter inside quotes is no delimiter
    header = re.sub(r'"[^"]*"', "", content[:65536]).strip("\r\n").partition("\n")[0]
    delimiter = max(",;\t|", key=header.count)
    reader = csv.reader(
        io.StringIO(content, newline=""),
        delimiter=delimiter,
        skipinitialspace=f"{delimiter} " in header,
        strict=True,
    )
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cells)]
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num} is not well-formed CSV: {error}") from None
    names = [name.strip() for name in lines[0][1]] if lines else []
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise UserError(f"{path}: more than one column is called {', '.join(twice)}; give each its own name")
    for line, cells in lines:
        if len(cells) != len(names):
            wrong = f"line {line} has {len(cells)} cells, the header has {len(names)} (delimiter {delimiter!r})"
            raise UserError(f"{path}: {wrong}; quote cells that hold a delimiter or a newline")
    # columns without a name are the row numbers of data frames, or what spreadsheets leave at the right
    rows: list[dict[str, Cell]] = [
        {name: cell for name, cell in zip(names, cells, strict=True) if name} for _, cells in lines[1:]
    ]
    return Sheet(path, [name for name in names if name], rows)


def _decode(path: Path) -> str:
    content = path.read_bytes()
    try:
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return content.decode("utf-16")  # "Unicode text" of spreadsheets
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: begins as UTF-16 but is not: {error.reason}; save the table as UTF-8") from None
    if b"\0" in content:
        raise UserError(f"{path}: neither CSV text nor Parquet; save a spreadsheet as CSV (UTF-8)")
    return content.decode("utf-8-sig", "surrogateescape")


def _read_parquet(path: Path) -> Sheet:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        wanted = "pip install 'ssl-music[parquet]', or save the table as CSV"
        raise UserError(f"{path}: reading Parquet needs pyarrow: {wanted}") from None
    try:
        with parquet.ParquetFile(path) as file:
            table = file.read()
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: damaged Parquet file: {error}") from None
    rows = [{name: _cell(value) for name, value in row.items()} for row in table.to_pylist()]
    return Sheet(path, table.column_names, rows)


def _cell(value: Any) -> Cell:
    if isinstance(value, list):
        return tuple(text(_cell(part)) for part in value)
    # a missing number of a data frame is NaN, which alone differs from itself
    return "" if value is None or value != value else str(value)  # noqa: PLR0124
