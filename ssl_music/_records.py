"""What an evaluation leaves on disk: NAME.json, which says its kind, and its arrays in NAME.npz, no pickles."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssl_music._files import replacing
from ssl_music.errors import UserError

KINDS = ("bench", "fractions", "pooling", "probe", "robustness", "taggram")
FORMAT = "ssl_music/record/1"


class Record(NamedTuple):
    """One evaluation, read back."""

    path: Path
    kind: str
    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]


def write_record(
    path: Path | str, kind: str, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None
) -> None:
    """Writes the arrays first and the JSON last, each whole or absent: a JSON that is there has its arrays.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "genre.json"
    >>> write_record(path, "probe", {"column": "genre"}, {"scores": np.zeros(2)})
    >>> read_record(path).facts, gather_records(path.parent)[0].arrays["scores"]
    ({'column': 'genre'}, array([0., 0.]))
    """
    path = Path(path)
    check_name(path)
    if kind not in KINDS:
        raise ValueError(f"{kind}: the kind of a record is one of {', '.join(KINDS)}")
    if arrays:
        with replacing(path.with_suffix(".npz")) as temporary, temporary.open("wb") as handle:
            np.savez_compressed(handle, **arrays)  # type: ignore[arg-type]
    text = json.dumps({"format": FORMAT, "kind": kind, "facts": facts, "arrays": sorted(arrays or ())}, indent=1)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_name(path: Path) -> None:
    """UserError where no record can have this name."""
    if path.suffix != ".json":
        raise UserError(
            f"{path}: the name of a record ends in .json, and its arrays stand beside it; call it {path.stem}.json"
        )


def read_record(path: Path | str) -> Record:
    """The record in `path`; UserError where it is missing, of another kind of file, or has lost its arrays."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the .json that an evaluation wrote")
    found = _content(path)
    if found is None:
        raise UserError(f"{path}: not a record of ssl_music ({FORMAT}); give the .json that an evaluation wrote")
    arrays = {}
    if found["arrays"]:
        beside = path.with_suffix(".npz")
        try:
            with np.load(beside, allow_pickle=False) as held:
                arrays = {name: held[name] for name in found["arrays"]}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{beside}: the arrays of {path.name} cannot be read ({error}); evaluate again"
            ) from error
    return Record(path, found["kind"], found["facts"], arrays)


def gather_records(root: Path | str) -> list[Record]:
    """Every record in a folder and below it, sorted by path; other JSON files are none of ours."""
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder of evaluations")
    return [read_record(path) for path in sorted(root.rglob("*.json")) if _content(path) is not None]


def _content(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    ours = isinstance(content, dict) and content.get("format") == FORMAT and content.get("kind") in KINDS
    return content if ours else None
