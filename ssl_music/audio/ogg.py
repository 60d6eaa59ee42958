"""Exact seeking in Ogg Vorbis, by starting the decoder at a page.

libsndfile 1.2's own seek is not exact here (its issue 885, "Vorbis Seeking Not Always Sample Exact"): between pages
it counts the packets that it skips as if neighbouring blocks were equally long. NNN

Decoding from a page on is exact. So the file is shown to libsndfile as its header pages followed by the pages from
some page on (`Spliced`); the length that libsndfile finds for that view, subtracted from the length of the whole
file, says which frame the page begins with, because both end at the same last page.
Format: RFC 3533 (pages), Vorbis I specification, 4.2.2 (identification header).
"""

from collections.abc import Iterator
from io import FileIO
from typing import NamedTuple

# 27 bytes of header, 255 lacing values, 255 segments of 255 bytes (RFC 3533, section 6)
_LONGEST_PAGE = 27 + 255 + 255 * 255
# header pages hold comments too, with cover art at times; beyond this the file is read from its beginning
_LONGEST_HEAD = 1 << 24


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
            data += _peek(self._file, self._offset + self._at + len(data) - len(self._head), count - len(data))
        self._at += len(data)
        return data


def restart(file: FileIO, frame: int) -> Spliced | None:
    """A view of a Vorbis file that begins shortly before `frame`; None where only its beginning will do."""
    first = _page(file, 0)
    if first is None or first.body[:7] != b"\x01vorbis" or len(first.body) < 30:
        return None
    start = _audio_offset(file, first.serial)
    if start is None:
        return None
    # A decoder that begins at a page gives its first frame up to one long block after the end of the page before.
    longest_block = 1 << (first.body[28] >> 4)
    offset = _offset_before(file, first.serial, start, frame - longest_block)
    return None if offset is None else Spliced(file, _peek(file, 0, start), offset)


class _Page(NamedTuple):
    end: int
    granule: int  # frames that are complete with this page; -1 where no packet ends in it
    serial: int
    last: bool
    packets: int  # how many end in it
    body: bytes


def _page(file: FileIO, offset: int) -> _Page | None:
    """The page that begins at byte `offset`, with the first bytes of its body."""
    data = _peek(file, offset, 27 + 255 + 32)
    if len(data) < 27 or data[:5] != b"OggS\0":
        return None
    segments = data[26]
    lacing = data[27 : 27 + segments]
    return _Page(
        end=offset + 27 + segments + sum(lacing),
        granule=int.from_bytes(data[6:14], "little", signed=True),
        serial=int.from_bytes(data[14:18], "little"),
        last=bool(data[5] & 4),
        packets=sum(value < 255 for value in lacing),
        body=data[27 + segments :],
    )


def _audio_offset(file: FileIO, serial: int) -> int | None:
    """Where the three header packets end; audio begins on a fresh page (Vorbis I, A.2)."""
    offset = packets = 0
    while packets < 3:
        page = _page(file, offset)
        if page is None or page.serial != serial or page.end > _LONGEST_HEAD:
            return None
        packets += page.packets
        offset = page.end
    return offset if packets == 3 else None


def _offset_before(file: FileIO, serial: int, start: int, granule: int) -> int | None:
    """The end of the last page that is complete before `granule` and has more than the last page after it."""
    low, high = start, file.seek(0, 2)
    while high - low > 2 * _LONGEST_PAGE:
        middle = (low + high) // 2
        page = next(_timed_pages(file, serial, middle), None)
        if page is None or page.granule > granule:
            high = middle
        else:
            low = page.end
    # two longest pages back, so that there are pages to fall back to where the end of the stream is near
    found: list[_Page] = []
    for page in _timed_pages(file, serial, max(start, low - 2 * _LONGEST_PAGE)):
        found.append(page)
        if page.granule > granule or page.last:
            break
    # Begin with the last page found, but never with the last of the stream: libsndfile cannot place a view of
    # nothing but that one, because its granule position is trimmed to the length of the music.
    back = 2 if found and found[-1].granule > granule and not found[-1].last else 3
    return found[-back].end if len(found) >= back else None


def _timed_pages(file: FileIO, serial: int, offset: int) -> Iterator[_Page]:
    """The pages of one stream in which a packet ends, from the first that begins at or after byte `offset`."""
    while True:
        page = _page(file, offset)
        if page is None:
            gap = _peek(file, offset + 1, _LONGEST_PAGE + 4).find(b"OggS\0")
            if gap < 0:
                return
            offset += 1 + gap
            continue
        if page.serial == serial and page.granule >= 0:
            yield page
        offset = page.end


def _peek(file: FileIO, offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)
