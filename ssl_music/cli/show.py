"""Rows of results, as people read them or as programs do."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_music._files import replacing
from ssl_music.errors import UserError

if TYPE_CHECKING:
    import numpy as np

#: names that a training, or an embedding, gives its folder and its files, whatever was trained
USUAL = ("runs", "run", "encoder", "tagger", "best", "vectors")
#: of tracks that take no part, how many are told of one by one
TOLD = 5


def print_rows(rows: list[dict[str, Any]], format: str, out: Path | None = None) -> None:
    """One table on the screen, or CSV, or JSON; into `out` where it is given."""
    if out is not None:
        write_rows(rows, format, out)
        print(f"{len(rows)} rows: {out}")
    else:
        _write(rows, format, sys.stdout)


def write_rows(rows: list[dict[str, Any]], format: str, out: Path) -> None:
    """The same into a file, without a word; names on disk need not be UTF-8 and are written as they are."""
    text = io.StringIO(newline="")
    _write(rows, format, text)
    with replacing(out) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", errors="surrogateescape", newline="")


def _write(rows: list[dict[str, Any]], format: str, handle: Any) -> None:
    if not rows:
        return
    if format == "json":
        json.dump(rows, handle, indent=1, ensure_ascii=False)
        handle.write("\n")
    elif format == "csv":
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    else:
        # a file name may hold a line break, a line of a table may not
        texts = [{key: str(value).replace("\n", "\\n") for key, value in row.items()} for row in rows]
        widths = {key: max(len(key), *(len(row[key]) for row in texts)) for key in rows[0]}
        for row in [{key: key for key in widths}, *texts]:
            handle.write("  ".join(row[key].ljust(widths[key]) for key in widths).rstrip() + "\n")


def tell_unheard(unheard: Mapping[str, str]) -> None:
    """Tracks that take no part, each with the reason; beyond some, how many more there are."""
    for id, reason in list(unheard.items())[:TOLD]:
        print(f"not heard: {id}: {reason}", file=sys.stderr)
    if len(unheard) > TOLD:
        print(f"not heard: {len(unheard) - TOLD} more", file=sys.stderr)


def shown(path: Path) -> str:
    """A path in a table for people: from the current folder where it lies below.

    >>> shown(Path.cwd() / "songs" / "a.ogg"), shown(Path("a.ogg"))
    ('songs/a.ogg', 'a.ogg')
    """
    below = path.is_absolute() and path.is_relative_to(Path.cwd())
    return str(path.relative_to(Path.cwd()) if below else path)


def strongest(tags: Sequence[str], scores: np.ndarray, top: int) -> str:
    """The `top` tags with the highest scores, in one cell."""
    return "  ".join(f"{tags[place]} {scores[place]:.2f}" for place in (-scores).argsort(kind="stable")[:top])


def display_names(paths: Sequence[Path]) -> list[str]:
    """What tables call encoders in these files, or the vectors in these folders: the first part that tells all apart.

    >>> display_names([Path("runs/clmr/run/encoder.safetensors"), Path("runs/genre/run/tagger.safetensors")])
    ['clmr', 'genre']
    >>> display_names([Path("runs/clmr/encoder.safetensors")]), display_names([Path("a/b.onnx"), Path("a/c.onnx")])
    (['clmr'], ['b', 'c'])
    """
    if len(set(paths)) < len(paths):
        raise UserError(f"{next(path for path in paths if paths.count(path) > 1)}: given twice; once is enough")
    if len(paths) == 1:
        telling = [part for part in paths[0].with_suffix("").parts if part not in USUAL]
        return [telling[-1] if telling else paths[0].stem]
    for place in zip(*(path.with_suffix("").parts for path in paths), strict=False):
        if len(set(place)) == len(paths):
            return list(place)
    return [str(path) for path in paths]
