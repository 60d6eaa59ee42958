"""One clip of a file, and others of the same file, as training cuts and stores them."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssl_music import audio
from ssl_music.errors import UserError


class Excerpts(NamedTuple):
    """The clip to look at in the first row, other clips of the file below it."""

    waves: np.ndarray  #: (1 + others, T) float32
    start_seconds: float
    file_seconds: float  #: how much of the file can be decoded, as far as it was needed to know
    repeated: bool  #: the file is shorter than a clip, and goes on from its beginning


def excerpts(
    path: Path | str, *, sample_rate: int, input_samples: int, start_seconds: float | None, others: int
) -> Excerpts:
    """The clip at `start_seconds` (None: the middle of the file), and so many others spread evenly over the file.

    A file shorter than a clip is repeated, as training does (`short: loop`).
    """
    info = audio.probe(path)
    claimed = int(info.frames * sample_rate // info.sample_rate)
    cut = partial(_cut, Path(path), rate=sample_rate, count=input_samples, start_seconds=start_seconds, others=others)
    try:
        return cut(samples=claimed)
    except _Shorter:  # the header promises more than there is
        return cut(samples=sum(len(block) for block in audio.Stream(path, sample_rate)))


class _Shorter(Exception):
    """A slice came out shorter than the length of the file allows."""


def _cut(path: Path, *, rate: int, count: int, start_seconds: float | None, others: int, samples: int) -> Excerpts:
    whole = samples >= count
    last = samples - count if whole else max(samples - 1, 0)
    place = (last // 2 if whole else 0) if start_seconds is None else start_seconds * rate
    if not -0.5 <= place <= last + 0.5:
        wanted = f"a clip is {count / rate:.2f} s long: " if whole else ""
        raise UserError(
            f"{path}: start_seconds {start_seconds:g} is not within it; it lasts {samples / rate:.2f} s, "
            f"{wanted}start between 0 and {last / rate:.2f}"
        )
    start = min(max(round(place), 0), last)
    starts = [start, *np.linspace(0, last, others, dtype=int)]
    if whole:
        waves = np.stack([_read(path, rate, at, count) for at in starts])
    else:
        short = _read(path, rate, 0, samples)
        waves = np.stack([short[(at + np.arange(count)) % len(short)] for at in starts])
    # a pack and the training's files are 16 bit: what a loud master has beyond ±1 is cut off there too
    waves = np.clip(np.rint(waves * 32768.0), -32768, 32767).astype(np.float32) / 32768
    return Excerpts(waves, start / rate, samples / rate, not whole)


def _read(path: Path, rate: int, start: int, count: int) -> np.ndarray:
    try:
        wave = audio.read(path, rate, start_seconds=start / rate, seconds=count / rate)
    except audio.AudioError:
        if start == 0:
            raise
        raise _Shorter from None
    if len(wave) != count:
        raise _Shorter
    return wave
