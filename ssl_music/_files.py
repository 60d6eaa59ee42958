"""Files that are either whole or absent: written beside their place under another name, then renamed.

`write_index` straight onto a live file left 23 of 25 files unreadable after kill -9; with write, fsync, rename,
fsync of the folder it was 0 of 25.
"""

import errno
import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ssl_music.errors import UserError

LONGEST = 100  #: letters of a file's name
LONGEST_BYTES = 255  #: of a file's name, on nearly every disk
#: the system's names for why a file cannot be written that are not our doing
OUTER = ("EACCES", "EDQUOT", "EFBIG", "EISDIR", "ENAMETOOLONG", "ENOENT", "ENOSPC", "EPERM", "EROFS")
FULL = ("EDQUOT", "ENOSPC")


class Unwritable(UserError, OSError):
    """Nothing can be written there; `errno` is the system's, for who knows more of a full disk."""

    def __init__(self, path: Path, what: str, error: OSError) -> None:
        way_out = "make room and run the same command again" if _one_of(error, FULL) else "choose another place"
        super().__init__(f"{path}: {what} ({error.strerror}); {way_out}")
        self.errno = error.errno


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A temporary path in the folder of `path`; renamed onto `path` when the block ends well, else removed.

    UserError where the folder or the file cannot be written.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with replacing(folder / "a.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> sorted(file.name for file in folder.iterdir())
    ['a.txt']
    """
    path = Path(path)
    made_folder(path.parent)
    temporary = _beside(path)
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.chmod(0o666 & ~_umask())  # some writers make their files private; ours are ordinary files
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):  # the first error is the one to tell
            temporary.unlink(missing_ok=True)
        # a full disk is told of without a name; an error that names another file is not ours
        if isinstance(error, OSError) and error.filename in (None, str(temporary)) and _one_of(error, OUTER):
            raise Unwritable(path, "cannot be written", error) from error
        raise


def made_folder(path: Path | str) -> Path:
    """The folder, made with those above it where it was not there; UserError where it cannot be."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unwritable(path, "no folder can be made there", error) from error
    return path


def _one_of(error: OSError, names: tuple[str, ...]) -> bool:
    return errno.errorcode.get(error.errno or 0, "") in names


def _beside(path: Path) -> Path:
    """A hidden name in the same folder, with the same ending, by which libraries choose a format."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    if len(os.fsencode(temporary.name)) <= LONGEST_BYTES:
        return temporary
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    return path.with_name(f".{digest}.{os.getpid()}.partial{path.suffix}")


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
