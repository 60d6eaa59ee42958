"""Rows of a table → the files of a folder that they mean."""

import os
import warnings
from collections import Counter
from pathlib import Path
from unicodedata import normalize

from ssl_music.catalogs.labels.sheet import Sheet, examples
from ssl_music.errors import UserError


def match_files(sheet: Sheet, path_column: str, root: Path, ids: list[str]) -> list[str | None]:
    """The id of the file that each row means; None where there is none."""
    known = {os.path.normpath(top / track_id): track_id for top in (root.resolve(), root) for track_id in ids}
    # one é may be two letters in a name from a Mac and one in the table
    composed = {normalize("NFC", path): track_id for path, track_id in known.items()}
    cells = [str(row[path_column]) for row in sheet.rows]
    matched: list[str | None] = []
    for cell in cells:
        places = [os.path.normpath(top / cell) for top in (root, sheet.path.absolute().parent)]
        found = [known[place] for place in places if place in known]
        found += [composed[name] for name in (normalize("NFC", place) for place in places) if name in composed]
        matched.append(found[0] if found else None)
    unmatched = [cell for cell, track_id in zip(cells, matched, strict=True) if track_id is None]
    if len(unmatched) == len(cells):
        raise UserError(
            f"{sheet.path}: none of its {len(cells)} paths is an audio file in {root}. Paths in the table: "
            f"{examples(cells)}; files in the folder: {examples(ids)}. Write paths relative to the folder, or name "
            f"another column as path_column (it is {path_column!r})"
        )
    twice = [name for name, count in Counter(filter(None, matched)).items() if count > 1]
    if twice:
        wrong = f"{len(twice)} files have more than one row: {examples(twice)}"
        raise UserError(f"{sheet.path}: {wrong}; write one row a file, several tags in one cell (see multi)")
    if unmatched:
        wrong = f"{len(unmatched)} of {len(cells)} rows match no audio file in {root}: {examples(unmatched)}"
        warnings.warn(f"{sheet.path}: {wrong}", stacklevel=2)
    return matched
