"""Decodes by PyAV (FFmpeg) what libsndfile does not know: m4a, aac, wma, ape and the rest. The extra `codecs`.

PyAV is imported when the first such file comes. A file is handed over as an object that can be read and sought in,
without its name, and no protocol is allowed: a playlist that is named like a song can open nothing.
"""

from collections.abc import Iterator
from fractions import Fraction
from io import FileIO
from types import ModuleType
from typing import Any

import numpy as np

from ssl_music.audio.base import CHUNK_FRAMES, AnyPath, AudioError, Source, checked_info

# An AAC packet overlaps with the one before it, with band replication (HE-AAC) with a few: four of the longest.
_LEAD_FRAMES = 4 * 2_048
# streams without a header, whose duration FFmpeg guesses from the first bit rate
_HEADERLESS = frozenset({"aac", "ac3", "eac3", "dts", "dtshd", "truehd", "mp3", "loas", "amr"})


def open_source(path: AnyPath, file: FileIO, *, refusal: str) -> Source:
    """The decoder for a file that libsndfile refused for the reason `refusal`."""
    av = _import_av()
    if av is None:
        raise AudioError(
            path,
            f"libsndfile cannot read it ({refusal.rstrip('.')}); "
            "if it is m4a, aac, wma or the like, install PyAV: pip install 'ssl-music[codecs]'",
        )
    try:
        return _PyAV(av, path, file)
    except (av.error.FFmpegError, StopIteration) as error:
        said = getattr(error, "strerror", None) or "no audio in it"
        raise AudioError(path, f"no audio that can be read (libsndfile: {refusal} FFmpeg: {said})") from None


def _import_av() -> ModuleType | None:
    try:
        import av
        import av.error
    except ImportError:
        return None
    return av


class _Nameless:
    """What PyAV needs of a file and no more; by its name FFmpeg would guess the format."""

    def __init__(self, file: FileIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


class _PyAV(Source):
    _container: Any = None
    _stream: Any
    _frames: Iterator[Any]

    def __init__(self, av: ModuleType, path: AnyPath, file: FileIO) -> None:
        self._av = av
        self._file = file
        self._open()
        try:
            container, codec = self._container.format.name, self._stream.codec_context.name
            # band replication may double the rate that the container gives: ask what was decoded
            first = next(self._frames)
            self._rate, self._kind = first.sample_rate, _kind(first)
            self._exact = container.startswith("mov") and self._ticks(1).denominator == 1
            self.info = checked_info(
                path,
                sample_rate=first.sample_rate,
                channels=len(first.layout.channels),
                frames=self._claimed_frames(container),
                format=f"{container.partition(',')[0].upper()} {codec.upper()}",
            )
            self._open()
        except BaseException:
            self._container.close()
            raise

    def chunks(self, start: int, count: int | None) -> Iterator[np.ndarray]:
        self.failure = ""
        at = self._go_near(start)
        # what mp4 holds beyond its length is the padding of the last packet
        end = self.info.frames if self._exact else None
        if count is not None:
            end = start + count if end is None else min(end, start + count)
        for samples in self._joined():
            wanted = samples[max(0, start - at) : None if end is None else max(0, end - at)]
            if len(wanted):
                yield wanted
            at += len(samples)
            if end is not None and at >= end:
                return

    def close(self) -> None:
        self._container.close()
        self._file.close()

    def _open(self) -> None:
        if self._container is not None:
            self._container.close()
        self._file.seek(0)
        self._container = self._av.open(_Nameless(self._file), options={"protocol_whitelist": "none"})
        self._stream = next(iter(self._container.streams.audio))
        self._frames = self._container.decode(self._stream)
        self._moved = False

    def _ticks(self, count: int) -> Fraction:
        """Frames in so many ticks of the stream's clock."""
        return count * self._stream.time_base * self._rate

    def _claimed_frames(self, container: str) -> int:
        if container in _HEADERLESS:
            self.promised = False
            self._open()
            return int(sum(self._ticks(packet.duration or 0) for packet in self._container.demux(self._stream)))
        if self._stream.duration is not None:
            return round(self._ticks(self._stream.duration))
        if self._container.duration is not None:
            return round(self._container.duration * self._rate / 1_000_000)
        self.promised = False
        self._open()
        return sum(frame.samples for frame in self._frames)

    def _go_near(self, start: int) -> int:
        if self._moved:
            self._open()
        self._moved = True
        # only mp4 counts time in samples; elsewhere a place found by its time would be off by some
        if not self._exact or start <= _LEAD_FRAMES:
            return 0
        try:
            self._container.seek(int((start - _LEAD_FRAMES) / self._ticks(1)), stream=self._stream)
            first = next(self._frames)
            at = int(self._ticks(first.pts))
        except (self._av.error.FFmpegError, StopIteration):
            at = start
        if at >= start:
            self._open()
            return 0
        self._frames = _chain(first, self._frames)
        return at

    def _joined(self) -> Iterator[np.ndarray]:
        """Decoded frames, joined to chunks worth the cost of a step, as (n, channels) float32."""
        held: list[np.ndarray] = []
        count = 0
        try:
            for frame in self._frames:
                if frame.sample_rate != self._rate or _kind(frame) != self._kind:
                    self.failure = "its rate or its channels change on the way"
                    break
                held.append(_as_float(frame))
                count += frame.samples
                if count >= CHUNK_FRAMES:
                    yield np.concatenate(held)
                    held, count = [], 0
        except self._av.error.FFmpegError as error:
            self.failure = error.strerror
        if held:
            yield np.concatenate(held)


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _kind(frame: Any) -> tuple[str, int]:
    return frame.format.name, len(frame.layout.channels)


def _as_float(frame: Any) -> np.ndarray:
    samples = frame.to_ndarray()  # planar: (channels, n); else (1, n * channels)
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, len(frame.layout.channels))
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    full_scale = float(1 << (8 * samples.dtype.itemsize - 1))
    zero = full_scale if samples.dtype.kind == "u" else 0.0
    return ((samples - zero) / full_scale).astype(np.float32)
