"""What music exists. A catalog gives tracks in a fixed order, label columns with their tags, and named splits.

base        Track, the contract Catalog, group-disjoint splits, duplicates, tags without positives
folder      every audio file below a folder, with a table of labels or without
table       the rows of a CSV or Parquet file
synthetic   pieces that it composes and renders by itself, by means of synthesis
labels      tables of labels, which folder and table share
"""

from ssl_music.catalogs.base import SPLITS, Catalog, Track, file_duplicates, group_splits, missing_positives
from ssl_music.catalogs.folder import AUDIO_ENDINGS, Folder
from ssl_music.catalogs.synthetic import Synthetic
from ssl_music.catalogs.table import Table

__all__ = [
    "AUDIO_ENDINGS",
    "SPLITS",
    "Catalog",
    "Folder",
    "Synthetic",
    "Table",
    "Track",
    "file_duplicates",
    "group_splits",
    "missing_positives",
]
