"""The pages of an Ogg file (RFC 3533) and the headers of Vorbis in it (Vorbis I specification, 4.2)."""

from collections.abc import Iterator
from io import FileIO
from typing import NamedTuple

from ssl_music.audio.splice import peek

# 27 bytes of header, 255 lacing values, 255 segments of 255 bytes (RFC 3533, section 6)
LONGEST_PAGE = 27 + 255 + 255 * 255
# header pages hold comments too, with cover art at times; beyond this the file is read from its beginning
_LONGEST_HEAD = 1 << 24


class Page(NamedTuple):
    """One page. `granule` is where the last packet that ends in it ends, in frames; -1 where none does."""

    begin: int
    end: int
    granule: int
    serial: int
    continued: bool  # begins in the middle of a packet
    last: bool  # of its stream; its granule position is cut to the length of the music
    lacing: bytes  # sizes of segments; a packet ends with the first segment that is shorter than 255 bytes

    @property
    def body(self) -> int:
        """Where the segments begin."""
        return self.begin + 27 + len(self.lacing)


class VorbisHead(NamedTuple):
    """What the header packets say; audio begins on a fresh page, at byte `end` (Vorbis I, A.2)."""

    end: int
    serial: int
    block_frames: tuple[int, ...]  # by mode


def pages(file: FileIO, serial: int, offset: int) -> Iterator[Page]:
    """The pages of one stream, from the first that begins at or after byte `offset`."""
    while True:
        page = _page(file, offset)
        if page is None:
            gap = peek(file, offset + 1, LONGEST_PAGE + 4).find(b"OggS\0")
            if gap < 0:
                return
            offset += 1 + gap
        else:
            if page.serial == serial:
                yield page
            offset = page.end


def vorbis_head(file: FileIO) -> VorbisHead | None:
    """The headers of a file that holds one Vorbis stream; None for any other."""
    first = _page(file, 0)
    if first is None:
        return None
    packets = [b""]
    end = 0
    while len(packets) <= 3:
        page = _page(file, end)
        if page is None or page.serial != first.serial or page.end > _LONGEST_HEAD:
            return None
        body = peek(file, page.body, page.end - page.body)
        for size in page.lacing:
            packets[-1] += body[:size]
            body = body[size:]
            if size < 255:
                packets.append(b"")
        end = page.end
    if len(packets) != 4 or packets[0][:7] != b"\x01vorbis" or len(packets[0]) != 30 or packets[3]:
        return None
    exponents = packets[0][28]
    sizes = 1 << (exponents & 15), 1 << (exponents >> 4)
    modes = _long_modes(packets[2])
    return VorbisHead(end, first.serial, tuple(sizes[is_long] for is_long in modes)) if modes else None


def _page(file: FileIO, offset: int) -> Page | None:
    data = peek(file, offset, 27 + 255)
    if len(data) < 27 or data[:5] != b"OggS\0":
        return None
    lacing = data[27 : 27 + data[26]]
    return Page(
        begin=offset,
        end=offset + 27 + len(lacing) + sum(lacing),
        granule=int.from_bytes(data[6:14], "little", signed=True),
        serial=int.from_bytes(data[14:18], "little"),
        continued=bool(data[5] & 1),
        last=bool(data[5] & 4),
        lacing=lacing,
    )


def _long_modes(setup: bytes) -> list[bool]:
    """Whether each mode has the long block, from the end of the setup header, where the modes stand (4.2.4).

    Backwards there are: a framing bit; for each mode eight bits of mapping, two times 16 bits of zero, one bit of
    block size; then six bits with the count of modes less one. Where several counts fit, the largest is right, as
    the fields before would have to look like modes by chance.
    """
    bits = int.from_bytes(setup, "little")
    at = bits.bit_length() - 1  # the framing bit is the last one that is set
    long: list[bool] = []
    fitting = 0
    while at > 47 and len(long) < 64:
        at -= 41
        if bits >> (at + 1) & 0xFFFF_FFFF or bits >> (at + 33) & 0xFF >= 64:
            break
        long.append(bool(bits >> at & 1))
        if (bits >> (at - 6) & 0x3F) + 1 == len(long):
            fitting = len(long)
    return long[:fitting][::-1]
