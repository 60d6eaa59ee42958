"""The length of mp3 files that do not say it.

An mp3 of varying bit rate says how many frames it has in a Xing (or VBRI) frame at its beginning; cut and streamed
files have lost it. Then mpg123 divides the file's size by the size of the first frames, and libsndfile reads no
further than that: a piece with a quiet intro loses two thirds of itself without a word. So where a file of varying
bit rate lacks that frame, `with_length` counts the frames and puts one in front.
Format: ISO 11172-3, 2.4.2.3 (frame header); the Xing frame as LAME writes it.
"""

from collections.abc import Iterator
from io import FileIO

from ssl_music.audio.splice import Spliced, peek

# by whether it is MPEG-1; layer III only, the others carry no Xing frame and do not vary
_KBPS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG1_RATES_HZ = (44_100, 48_000, 32_000)
_WINDOW = 1 << 16
# places in the file at which, and frames for which, the bit rate is looked at before all frames are counted
_PROBES, _PROBE_FRAMES = 5, 16


def says_length(file: FileIO) -> bool:
    """Whether the first frame is a Xing, Info or VBRI frame: else a length is mpg123's estimate, or ours."""
    for _, offset in _frames(file, _music_offset(file)):
        frame = peek(file, offset, 48)
        return any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))
    return False


def with_length(file: FileIO) -> Spliced | None:
    """A view of a layer III file with a Xing frame; None where the bit rate is constant, which needs none."""
    start, end = _music_offset(file), file.seek(0, 2)
    rates = set()
    for probe in range(_PROBES):
        frames = _frames(file, start + (end - start) * probe // _PROBES)
        for _, (header, _) in zip(range(_PROBE_FRAMES), frames, strict=False):
            rates.add(header[2] >> 4)
    if len(rates) < 2:
        return None
    header, offset = next(_frames(file, start))
    count = sum(1 for _ in _frames(file, start))
    return Spliced(file, _xing_frame(header, count), offset)


def _xing_frame(header: bytes, count: int) -> bytes:
    # without checksum, and with a bit rate index that leaves room; the frame is not played, so any would do
    header = bytes([header[0], header[1] | 1, 0x50 | header[2] & 0x0C, header[3]])
    mpeg1, mono = header[1] & 0x08, header[3] >> 6 == 3
    side = (17 if mono else 32) if mpeg1 else (9 if mono else 17)
    frames_field_only = 1
    body = b"Xing" + frames_field_only.to_bytes(4, "big") + count.to_bytes(4, "big")
    return (header + bytes(side) + body).ljust(_frame_bytes(header), b"\0")


def _music_offset(file: FileIO) -> int:
    """Behind the ID3v2 tags, whose sizes are four times seven bits."""
    offset = 0
    while (tag := peek(file, offset, 10))[:3] == b"ID3" and len(tag) == 10:
        size = sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True))
        offset += 10 + size + (10 if tag[5] & 0x10 else 0)
    return offset


def _frames(file: FileIO, offset: int) -> Iterator[tuple[bytes, int]]:
    """The header of each layer III frame from byte `offset` on; a place counts if another frame follows on it."""
    window, base, at = peek(file, offset, _WINDOW), offset, 0
    synced = False
    while True:
        if at + 4 > len(window) or (not synced and at + 4096 > len(window) == _WINDOW):
            base, at = base + at, 0
            window = peek(file, base, _WINDOW)
            if len(window) < 4:
                return
        header = window[at : at + 4]
        size = _frame_bytes(header)
        if size and (synced or _frame_bytes(window[at + size : at + size + 4])):
            yield header, base + at
            synced = True
            at += size
        else:
            synced = False
            at = window.find(b"\xff", at + 1)
            at = len(window) if at < 0 else at


def _frame_bytes(header: bytes) -> int:
    """The length of the layer III frame that has this header; 0 where it is none (or of "free" bit rate)."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return 0
    version, rate, kbps = header[1] >> 3 & 3, header[2] >> 2 & 3, header[2] >> 4
    if version == 1 or rate == 3 or kbps in (0, 15):
        return 0
    mpeg1 = version == 3
    rate_hz = _MPEG1_RATES_HZ[rate] // (1 if mpeg1 else 2 if version == 2 else 4)
    return (144_000 if mpeg1 else 72_000) * _KBPS[mpeg1][kbps] // rate_hz + (header[2] >> 1 & 1)
