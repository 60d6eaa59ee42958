"""Exact seeking in Ogg Vorbis, by starting the decoder at a page whose first frame is known.

libsndfile 1.2's own seek is not exact here (its issue 885, "Vorbis Seeking Not Always Sample Exact"): between pages
it counts the packets that it skips as if neighbouring blocks were equally long. Of 2,464 random seeks in real music
166 landed up to 1,025 frames beside the place, and all that was read from there on was shifted.

Decoding from a page on is exact, so the file is shown to libsndfile as its header pages followed by the pages from
some page on. Which frame that page begins with, its granule position alone does not say: FFmpeg writes a tenth of
them 224 frames off. So the frames are counted, packet by packet, over the pages around the place and over those at
the beginning of the file, and what two thirds of these pages agree on counts.
"""

from collections import Counter
from io import FileIO
from itertools import islice
from typing import NamedTuple

from ssl_music.audio.ogg import LONGEST_PAGE, Page, VorbisHead, pages, vorbis_head
from ssl_music.audio.splice import Spliced, peek

# How many pages are asked for their place at the beginning, and where they do not agree; a page is 4 kB or a second.
_ASKED = (12, 48)
# how far back pages are asked around a place, likewise
_BACK_BYTES = (LONGEST_PAGE, 4 * LONGEST_PAGE, 16 * LONGEST_PAGE)
# how many of them lie behind the place
_BEHIND = 3


def restart(file: FileIO, frame: int) -> tuple[Spliced, int] | None:
    """A view of a Vorbis file that begins shortly before `frame`, and the frame that it begins with.

    None where only the beginning of the file will do.
    """
    head = vorbis_head(file)
    if head is None:
        return None
    surveys = (_survey(file, head, list(islice(pages(file, head.serial, head.end), count))) for count in _ASKED)
    beginning = next(filter(None, surveys), None)
    if beginning is None:
        return None
    # granule position of the file's first frame
    zero = beginning.start + beginning.dropped
    # a decoder that begins at a page gives its first frame up to one long block after the end of the page before
    granule = zero + frame - max(head.block_frames)
    offset = _page_before(file, head, granule)
    for back in _BACK_BYTES:
        survey = _survey(file, head, _around(file, head, max(head.end, offset - back), granule))
        near = [(at, first - zero) for at, first in survey.agreed if 0 <= first - zero <= frame] if survey else []
        if near:
            at, first = near[-1]
            return Spliced(file, peek(file, 0, head.end), at), first
    return None


class _Survey(NamedTuple):
    """What most of some neighbouring pages agree on, in granule positions."""

    #: of the first frame from a decoder that begins with the first of the pages
    start: int
    #: the pages that agree: byte offset, and `start` of a decoder that begins there
    agreed: list[tuple[int, int]]
    #: Frames that libvorbis leaves out at the end of the first page where that page is said to hold fewer than it
    #: does. The specification means a cut at the beginning, but libvorbis has given that away when it gets to know.
    dropped: int


class _Counter:
    """Counts the frames that a decoder gives for the packets of pages in a row."""

    def __init__(self, file: FileIO, head: VorbisHead) -> None:
        self.frames = 0
        self.last = 0  # of these the last packet's
        self._file = file
        self._before = 0  # frames in the block of the packet before; 0 where the decoder has none
        self._block = (
            0  # frames in the block of the packet that is not complete yet; 0 where its beginning is missing
        )
        # by the first byte of a packet: one bit that is 0 for audio, then the mode (Vorbis I, 4.3.1)
        blocks = head.block_frames + (0,) * 64
        mode_mask = (1 << (len(head.block_frames) - 1).bit_length()) - 1
        self._blocks = [0 if byte & 1 else blocks[byte >> 1 & mode_mask] for byte in range(256)]

    def add(self, page: Page) -> int | None:
        """Counts a page; `frames` as it was when the first packet that begins in the page had been counted."""
        body = peek(self._file, page.body, page.end - page.body)
        at, begins, began = 0, not page.continued, False
        first = None
        for size in page.lacing:
            if begins:
                self._block = self._blocks[body[at]] if size and at < len(body) else 0
                began = True
            at += size
            begins = size < 255
            if begins and self._block:
                self.last = (self._before + self._block) // 4 if self._before else 0
                self.frames += self.last
                self._before, self._block = self._block, 0
                if began and first is None:
                    first = self.frames
        return first


def _survey(file: FileIO, head: VorbisHead, row: list[Page]) -> _Survey | None:
    """Asks pages in a row; None unless two thirds of them agree on where they are."""
    counter = _Counter(file, head)
    answers = []
    dropped = None
    for page in row:
        first = counter.add(page)
        if page.granule < 0:
            continue
        if dropped is None:
            dropped = min(max(0, counter.frames - page.granule), counter.last)
        if first is not None and not page.last:
            answers.append((page.begin, first, page.granule - counter.frames))
    for start, votes in Counter(start for _, _, start in answers).most_common(1):
        if 3 * votes >= 2 * len(answers):
            return _Survey(start, [(at, start + first) for at, first, vote in answers if vote == start], dropped or 0)
    return None


def _around(file: FileIO, head: VorbisHead, offset: int, granule: int) -> list[Page]:
    """The pages from byte `offset` to some behind `granule`."""
    row: list[Page] = []
    behind = 0
    for page in pages(file, head.serial, offset):
        row.append(page)
        behind += page.granule > granule
        if behind == _BEHIND:
            break
    return row


def _page_before(file: FileIO, head: VorbisHead, granule: int) -> int:
    """Where a page begins that holds `granule` or lies shortly before it."""
    low, high = head.end, file.seek(0, 2)
    while high - low > LONGEST_PAGE // 4:
        middle = (low + high) // 2
        page = next((page for page in pages(file, head.serial, middle) if page.granule >= 0), None)
        if page is None or page.granule > granule or page.end >= high:
            high = middle
        else:
            low = page.end
    return low
