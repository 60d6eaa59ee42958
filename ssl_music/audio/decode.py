"""Opens whatever a file's content says it is; decodes by libsndfile what libsndfile knows.

A file is opened by its descriptor: its name, which need not be UTF-8 and whose ending may lie, never reaches a
library. What libsndfile refuses goes to PyAV.
"""

import math
import os
import re
import stat
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import numpy as np
import soundfile

from ssl_music.audio import codecs, mpeg, vorbis
from ssl_music.audio.base import CHUNK_FRAMES, AnyPath, AudioError, Source, checked_info
from ssl_music.audio.quiet import quiet
from ssl_music.audio.splice import Spliced

# libsndfile seeks in these without error (measured against full decodes; Vorbis: see vorbis.py). Other decoders carry
# a state that a seek does not restore.
_EXACT = {
    *("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM"),
    *("ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"),
}
# An mp3 frame may need up to 511 bytes of earlier frames ("bit reservoir", ISO 11172-3, 2.4.2.7), at the lowest rates
# eight frames of 1,152. Without them seeks were off by up to 0.9 in our tests, with eight frames by nothing.
_MPEG_LEAD_FRAMES = 16 * 1_152
# What is no mp3 in an mp3 (other tags, holes of a broken download) mpg123 skips by the kilobyte, one at each call.
_MPEG_SKIPS = 4_096
# opening a Vorbis file a second time costs as much as decoding about this many frames
_VORBIS_NEAR_FRAMES = 1 << 16

# libsndfile repairs the length of raw sample data by the size of the file, and tells of it in its log only
_RAW = {"WAV", "WAVEX", "AIFF", "AU", "W64", "RF64", "CAF"}
_REPAIRED = re.compile(r"^ *(?:data|SSND|Data Size|riff|Riff size) *: *(\d+) \(should be (\d+)\)", re.MULTILINE)
_UNKNOWN_BYTES = 0xFFFF_FFFF  # what programs write that cannot seek back to put in the length
_UNKNOWN_FRAMES = (1 << 63) - 1


def open_source(path: AnyPath) -> Source:
    """The decoder for a file; AudioError for anything that holds no audio."""
    file = _open_file(path)
    try:
        try:
            return _Libsndfile(path, file)
        except soundfile.LibsndfileError as error:
            file.seek(0)
            return codecs.open_source(path, file, refusal=error.error_string)
    except BaseException:
        file.close()
        raise


def _open_file(path: AnyPath) -> FileIO:
    try:
        name = os.fsdecode(path)
        found = Path(name).stat()
        if stat.S_ISDIR(found.st_mode):
            raise AudioError(path, "is a folder, not an audio file")
        if not stat.S_ISREG(found.st_mode):  # opening a pipe would wait for its writer
            raise AudioError(path, "is no regular file")
        if found.st_size == 0:
            raise AudioError(path, "is empty (0 bytes)")
        return FileIO(name, "rb")
    except FileNotFoundError:
        raise AudioError(path, "no such file") from None
    except PermissionError:
        raise AudioError(path, "may not be read: permission denied") from None
    except OSError as error:
        raise AudioError(path, f"cannot be opened: {error.strerror}") from None


class _Forward(soundfile.SoundFile):
    """After each read python-soundfile seeks to where it already is; mpg123 then forgets its bit reservoir.

    So a plain loop over blocks of an mp3 has a click of up to full scale at each border. It leaves the seek out for
    files that say they cannot seek; `seek` itself works all the same.
    """

    @property
    def can_seek(self) -> bool:
        return super().seekable()

    def seekable(self) -> bool:
        return False


class _Libsndfile(Source):
    def __init__(self, path: AnyPath, file: FileIO) -> None:
        self._file = file
        self._whole: FileIO | Spliced = file
        self._sound = _open_sound(file)
        self._moved, self._position = False, 0  # whether a read would not begin at frame 0; the next frame
        try:
            if self._sound.subtype == "MPEG_LAYER_III":
                self._mend_length()
            self._frames = self._sound.frames
            self.info = checked_info(
                path,
                sample_rate=self._sound.samplerate,
                channels=self._sound.channels,
                frames=self._claimed_frames(),
                format=f"{self._sound.format} {self._sound.subtype}",
            )
        except BaseException:
            self._sound.close()
            raise

    def chunks(self, start: int, count: int | None) -> Iterator[np.ndarray]:
        self.failure = ""
        at = self._go_near(start)
        # a view of the end of a Vorbis file may hold some frames more than the file, whose beginning was cut
        end = self._frames if count is None else min(start + count, self._frames)
        buffer = np.empty((CHUNK_FRAMES, self._sound.channels), np.float32)
        while at < end:
            got = self._read(buffer[: end - at])
            if at + got > start:
                yield buffer[max(0, start - at) : got]
            at += got
            if got == 0 or self.failure:
                return

    def close(self) -> None:
        self._sound.close()
        self._file.close()

    def _reopen(self, file: FileIO | Spliced) -> None:
        self._sound.close()
        self._sound = _open_sound(file)
        self._moved, self._position = False, 0  # whether a read would not begin at frame 0; the next frame

    def _read(self, out: np.ndarray) -> int:
        """Frames decoded into `out`; 0 at the end."""
        self._moved = True
        with quiet():
            if self._sound.subtype.startswith("MPEG"):
                return self._read_mpeg(out)
            try:
                got = len(self._sound.read(out=out))
                self._position += got
                return got
            except soundfile.LibsndfileError as error:
                # a flac that was cut short: what came before the cut is in `out`; only the position tells how much
                self.failure = error.error_string.rstrip(".")
                return max(0, self._sound.tell() - self._position) if self._sound.can_seek else 0

    def _read_mpeg(self, out: np.ndarray) -> int:
        reason = ""
        for _ in range(_MPEG_SKIPS):
            out[:, 0] = np.nan  # what has been decoded when libsndfile raises shows only by this
            try:
                return len(self._sound.read(out=out))
            except soundfile.LibsndfileError as error:
                left = np.isnan(out[:, 0])
                got = int(left.argmax()) if left.any() else len(out)
                if got:
                    return got
                reason = error.error_string.rstrip(".")
        self.failure = reason
        return 0

    def _go_near(self, start: int) -> int:
        """Puts the decoder at a frame not after `start`, from where it decodes as if from the beginning."""
        subtype = self._sound.subtype
        if subtype == "VORBIS" and start > _VORBIS_NEAR_FRAMES:
            return self._go_to_page(start)
        if start == 0 or subtype not in _EXACT or not self._sound.can_seek:
            return self._go_to_beginning()
        target = max(0, start - _MPEG_LEAD_FRAMES) if subtype.startswith("MPEG") else start
        self._moved = True
        try:
            with quiet():
                self._position = self._sound.seek(target)
            return target
        except soundfile.LibsndfileError:
            # in a file cut short libsndfile may fail to find a place before the cut; behind the cut there is nothing
            return self._go_to_beginning()

    def _go_to_beginning(self) -> int:
        if self._moved:
            self._reopen(self._whole)
        return 0

    def _go_to_page(self, start: int) -> int:
        self._moved = True
        if place := vorbis.restart(self._file, start):
            view, first = place
            try:
                self._reopen(view)
                self._moved = True
                return first
            except soundfile.LibsndfileError:
                pass
        return self._go_to_beginning()

    def _mend_length(self) -> None:
        at = self._file.tell()
        if mpeg.says_length(self._file):
            self._file.seek(at)  # where libsndfile left it
            return
        self.promised = False
        self._whole = mpeg.with_length(self._file) or self._file
        self._reopen(self._whole)

    def _claimed_frames(self) -> int:
        """What the header says; where it says nothing, what can be decoded."""
        held = self._sound.frames
        if held == _UNKNOWN_FRAMES:
            self.promised = False
            return sum(len(chunk) for chunk in self.chunks(0, None))
        if self._sound.format not in _RAW or not (repair := _REPAIRED.search(self._sound.extra_info)):
            return held
        claimed_bytes, held_bytes = int(repair[1]), int(repair[2])
        if claimed_bytes == _UNKNOWN_BYTES or held == 0:
            return held
        return held + math.ceil((claimed_bytes - held_bytes) * held / held_bytes)


def _open_sound(file: FileIO | Spliced) -> _Forward:
    file.seek(0)
    with quiet():
        return _Forward(file.fileno(), closefd=False) if isinstance(file, FileIO) else _Forward(file)
