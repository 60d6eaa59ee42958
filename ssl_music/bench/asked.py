"""What a file or folder of a bench was made from, in a note beside it: kept where it holds, made anew where not."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl_music._files import replacing


def key_of(asked: Mapping[str, Any]) -> str:
    """16 hex digits over JSON facts: a name for what is made from them.

    >>> key_of({"seed": 0, "column": "genre"}) == key_of({"column": "genre", "seed": 0})
    True
    """
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def asked_for(path: Path) -> dict[str, Any] | None:
    """What was asked for when `path` was made; None where no note says so."""
    try:
        return json.loads(_beside(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def note(path: Path, asked: Mapping[str, Any]) -> None:
    """Says what `path` was made from: JSON facts.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "clmr.json"
    >>> note(path, {"seed": 0})
    >>> asked_for(path)
    {'seed': 0}
    """
    with replacing(_beside(path)) as temporary:
        temporary.write_text(json.dumps(asked, indent=1), encoding="utf-8")


def forget(path: Path) -> None:
    """Removes the note, before `path` is written anew."""
    _beside(path).unlink(missing_ok=True)


def only(folder: Path, asked: Mapping[str, Any]) -> None:
    """Removes a folder that was made from something else, and notes what it is made from now.

    A folder without a note was not made by a bench; it is left to who writes there, who refuses what does not fit.
    """
    held = asked_for(folder)
    if folder.exists() and held is None:
        return
    if folder.exists() and held != asked:
        shutil.rmtree(folder)
    note(folder, asked)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.asked")
