"""A file shown to a decoder other than it lies on disk: with another beginning, or without its first part."""

from io import FileIO


class Spliced:
    """`head`, then `file` from byte `offset` on, as one file that can be read and sought in.

    >>> import tempfile
    >>> with tempfile.TemporaryFile(buffering=0) as file:
    ...     _ = file.write(b"0123456789")
    ...     view = Spliced(file, b"ab", 7)
    ...     view.read(3), view.tell(), view.read(9), view.seek(-2, 2), view.read(9)
    (b'ab7', 3, b'89', 3, b'89')
    """

    def __init__(self, file: FileIO, head: bytes, offset: int) -> None:
        self._file = file
        self._head = head
        self._offset = offset
        self._length = len(head) + file.seek(0, 2) - offset
        self._at = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        """As in `io`."""
        self._at = max(0, offset + (0, self._at, self._length)[whence])
        return self._at

    def tell(self) -> int:
        """As in `io`."""
        return self._at

    def read(self, count: int) -> bytes:
        """As in `io`; fewer than `count` bytes at the end only."""
        data = self._head[self._at : self._at + count]
        if len(data) < count:
            data += peek(self._file, self._offset + self._at + len(data) - len(self._head), count - len(data))
        self._at += len(data)
        return data


def peek(file: FileIO, offset: int, count: int) -> bytes:
    """Up to `count` bytes from byte `offset` on; moves the file's position."""
    file.seek(offset)
    return file.read(count)
