"""Any audio file → mono float32 at one rate: in blocks (`Stream`), whole or a slice (`read`).

Resampling is soxr's HQ: 9,800 × real time for 44.1 → 22.05 kHz with aliases below -140 dB; its MQ is no faster, its
QQ does not filter at all, and what other libraries do by default is slower, with aliases of up to -9 dB.
"""

import math
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import soxr

from ssl_music.audio.base import AnyPath, AudioError, Info, Source, TruncatedAudioWarning
from ssl_music.audio.decode import open_source
from ssl_music.errors import UserError

# soxr HQ answers to about 96 samples of the lower rate to each side; 256 leave an error of 1e-6, the one of float32
_CONTEXT_SAMPLES = 256
# less is within what decoders trim at the ends
_TRUNCATED_SECONDS = 0.1


def probe(path: AnyPath) -> Info:
    """What the header of an audio file claims. Where it gives no length, the samples are counted.

    >>> import tempfile
    >>> from ssl_music.audio import write
    >>> path = tempfile.mkdtemp() + "/silence.flac"
    >>> write(path, np.zeros(8_000), 16_000)
    >>> probe(path)
    Info(sample_rate=16000, channels=1, frames=8000, seconds=0.5, format='FLAC PCM_16')
    """
    source = open_source(path)
    source.close()
    return source.info


class Stream:
    """An audio file, or a part of it, as blocks of mono float32 at `sample_rate`, in bounded memory.

    The blocks put together are what `read` gives. All but the last have `round(block_seconds * sample_rate)` samples.
    The part begins at sample `round(start_seconds * sample_rate)` of the resampled file and has
    `round(seconds * sample_rate)` samples, or fewer where the file ends. Channels are averaged.

    After iteration `truncated` says whether the header had promised more than there was, and `held_seconds`
    how long the file really is (up to the part's end, if it was read no further).

    Shape of a block: (T,)

    >>> import tempfile
    >>> from ssl_music.audio import write
    >>> path = tempfile.mkdtemp() + "/tone.wav"
    >>> write(path, np.sin(np.arange(44_100) * 0.1), 44_100)
    >>> stream = Stream(path, 22_050, seconds=0.5, block_seconds=0.2)
    >>> [block.shape for block in stream], stream.truncated
    ([(4410,), (4410,), (2205,)], False)
    """

    def __init__(
        self,
        path: AnyPath,
        sample_rate: int,
        *,
        start_seconds: float = 0.0,
        seconds: float | None = None,
        block_seconds: float = 30.0,
    ) -> None:
        if sample_rate < 1 or sample_rate != int(sample_rate):
            raise UserError(f"sample rate {sample_rate}: a whole number of Hz is wanted, such as 22050")
        if not block_seconds * sample_rate >= 1:
            raise UserError(f"block_seconds {block_seconds}: at least one sample is wanted")
        if not 0 <= start_seconds < math.inf:
            raise AudioError(path, f"cannot start at {start_seconds} s: a start from 0 s on is wanted")
        if seconds is not None and not 0.5 < seconds * sample_rate < math.inf:
            raise AudioError(path, f"cannot give {seconds} s of it: at least one sample is wanted")
        self.path = path
        self.sample_rate = int(sample_rate)
        self.start_seconds = start_seconds
        self.seconds = seconds
        self.block_seconds = block_seconds
        self._source: Source | None = open_source(path)
        self.info = self._source.info
        self.truncated = False
        #: why decoding stopped before the end, as the decoder says it; empty where it did not
        self.failure = ""
        self.held_seconds = self.info.seconds
        if round(start_seconds * sample_rate) >= self.info.seconds * sample_rate:
            self.close()
            raise AudioError(path, f"cannot start at {start_seconds:g} s: it lasts {self.info.seconds:.2f} s")

    def __iter__(self) -> Iterator[np.ndarray]:
        source, self._source = self._source or open_source(self.path), None
        first = round(self.start_seconds * self.sample_rate)
        count = None if self.seconds is None else round(self.seconds * self.sample_rate)
        part = _part(self.info.sample_rate, self.sample_rate, first, count)
        size = round(self.block_seconds * self.sample_rate)
        empty = True
        try:
            for block in _blocks(self._resampled(source, part), skip=part.skip, count=count, size=size):
                empty = False
                yield block
            if empty:
                raise AudioError(self.path, self._why_empty(source))
        finally:
            source.close()

    def close(self) -> None:
        """Closes the file of a stream that is not iterated; iteration does so at its end."""
        if self._source is not None:
            self._source.close()
            self._source = None

    def _resampled(self, source: Source, part: "_Part") -> Iterator[np.ndarray]:
        """The part and its context, mono, in pieces as they come."""
        resampler = None
        if self.info.sample_rate != self.sample_rate:
            resampler = soxr.ResampleStream(self.info.sample_rate, self.sample_rate, 1, dtype="float32", quality="HQ")
        at = part.start
        for chunk in source.chunks(part.start, part.frames):
            mono = _mono(chunk)
            finite = np.isfinite(mono)
            if not finite.all():
                where = (at + int(finite.argmin())) / self.info.sample_rate
                raise AudioError(self.path, f"holds NaN or infinite samples, the first at {where:.3f} s")
            at += len(mono)
            yield mono if resampler is None else resampler.resample_chunk(mono)
        if part.frames is None or at < part.start + part.frames:
            self._ended(source, at)
        if resampler is not None:
            yield resampler.resample_chunk(np.empty(0, np.float32), last=True)

    def _ended(self, source: Source, frames: int) -> None:
        self.held_seconds = frames / self.info.sample_rate
        missing = self.info.seconds - self.held_seconds
        self.truncated = missing > _TRUNCATED_SECONDS and (source.promised or bool(source.failure))
        self.failure = source.failure

    def _why_empty(self, source: Source) -> str:
        held = sum(len(chunk) for chunk in source.chunks(0, None)) / self.info.sample_rate
        promise = f"its header promises {self.info.seconds:.2f} s"
        failure = f" ({source.failure})" if source.failure else ""
        if held == 0:
            return f"holds no audio that can be decoded, though {promise}{failure}"
        return (
            f"nothing from {self.start_seconds:g} s on: only {held:.2f} s can be decoded, though {promise}{failure}"
        )


def read(
    path: AnyPath, sample_rate: int | None = None, *, start_seconds: float = 0.0, seconds: float | None = None
) -> np.ndarray:
    """An audio file, or a part of it, as mono float32 at `sample_rate` (None: the file's own).

    A part equals the same part of the whole file read at this rate to about 1e-6, and costs what it is long; `Stream`
    says how it is bounded. Where the header promised more than the file holds, a `TruncatedAudioWarning` says so.

    Shape: (T,)

    >>> import tempfile
    >>> from ssl_music.audio import write
    >>> path = tempfile.mkdtemp() + "/tone.wav"
    >>> write(path, np.sin(np.arange(44_100) * 0.1), 44_100)
    >>> read(path, 22_050, start_seconds=0.5, seconds=0.25).shape
    (5512,)
    """
    rate = probe(path).sample_rate if sample_rate is None else sample_rate
    stream = Stream(path, rate, start_seconds=start_seconds, seconds=seconds)
    blocks = list(stream)
    if stream.truncated:
        warning = TruncatedAudioWarning(path, stream.info.seconds, stream.held_seconds, stream.failure)
        warnings.warn(warning, stacklevel=2)
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


class _Part(NamedTuple):
    start: int  # first frame to decode
    frames: int | None  # how many to decode
    skip: int  # samples of context to leave out after resampling


def _part(rate_in: int, rate_out: int, first: int, count: int | None) -> _Part:
    """What to decode for `count` samples from sample `first` on at `rate_out`.

    The start is a frame that falls on a sample of the output, so that both grids lie as for the whole file:
    44,100 frames are 22,050 samples, so every second frame is one; at most one second has to be gone back.
    """
    if rate_in == rate_out:
        return _Part(first, count, 0)
    common = math.gcd(rate_in, rate_out)
    step_in, step_out = rate_in // common, rate_out // common
    context_out = math.ceil(_CONTEXT_SAMPLES * max(1, rate_out / rate_in))
    steps = max(0, first - context_out) // step_out
    start, skip = steps * step_in, first - steps * step_out
    if count is None:
        return _Part(start, None, skip)
    context_in = math.ceil(_CONTEXT_SAMPLES * max(1, rate_in / rate_out))
    end = -(-(first + count) * rate_in // rate_out) + context_in
    return _Part(start, end - start, skip)


def _mono(chunk: np.ndarray) -> np.ndarray:
    """The mean over channels; (n, channels) → (n,). Adding columns is 30 times as fast as `mean(axis=1)`."""
    channels = chunk.shape[1]
    if channels == 1:
        return np.ascontiguousarray(chunk[:, 0])
    total = chunk[:, 0] + chunk[:, 1]
    for channel in range(2, channels):
        total += chunk[:, channel]
    total *= np.float32(1 / channels)
    return total


def _blocks(pieces: Iterator[np.ndarray], *, skip: int, count: int | None, size: int) -> Iterator[np.ndarray]:
    """The pieces without the first `skip` samples, `count` samples at most, cut to blocks of `size`."""
    left = math.inf if count is None else count
    block, filled = np.empty(int(min(size, left)), np.float32), 0
    for piece in pieces:
        rest = piece[skip:]
        skip = max(0, skip - len(piece))
        rest = rest[: int(min(left, len(rest)))]
        left -= len(rest)
        while len(rest):
            taken = min(len(rest), len(block) - filled)
            block[filled : filled + taken] = rest[:taken]
            filled, rest = filled + taken, rest[taken:]
            if filled == len(block):
                yield block
                block, filled = np.empty(size, np.float32), 0
        if left == 0:
            break
    if filled:
        yield block[:filled].copy()
