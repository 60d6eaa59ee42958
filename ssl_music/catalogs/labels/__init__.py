"""Tables of labels, which `Folder` and `Table` share.

sheet   a CSV or Parquet file → rows of text        match   rows → the files of a folder
tags    rows → label columns, tags and splits
"""

from ssl_music.catalogs.labels.match import match_files
from ssl_music.catalogs.labels.sheet import Cell, Sheet, examples, read_cells, read_sheet, text
from ssl_music.catalogs.labels.tags import (
    FACTS,
    NOT_CHOSEN,
    Contents,
    file_title,
    read_labels,
    split_named,
    with_splits,
)

__all__ = [
    "FACTS",
    "NOT_CHOSEN",
    "Cell",
    "Contents",
    "Sheet",
    "examples",
    "file_title",
    "match_files",
    "read_cells",
    "read_labels",
    "read_sheet",
    "split_named",
    "text",
    "with_splits",
]
