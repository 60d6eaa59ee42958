"""The words that all of `audio` shares: the error, the warning, what a header claims, what a decoder gives."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssl_music.errors import UserError

#: what a path may be given as; bytes because a name on disk need not be UTF-8
AnyPath = str | bytes | os.PathLike

#: what the name of an audio file ends in, in letters of either case; endings of films (mp4, webm) are left out on
#: purpose
AUDIO_ENDINGS = frozenset(
    f".{ending}"
    for ending in (
        *("aac", "ac3", "aif", "aifc", "aiff", "ape", "au", "caf", "flac", "m4a", "m4b", "mka", "mp2", "mp3", "mpc"),
        *("oga", "ogg", "opus", "rf64", "snd", "tta", "w64", "wav", "wave", "wma", "wv"),
    )
)

# A header outside of these is damaged or no music; 768 kHz is the fastest converter that is sold.
CHANNELS = range(1, 9)
SAMPLE_RATES_HZ = range(1_000, 768_001)

#: frames decoded at a time: half a megabyte of stereo float32 stays in a core's cache
CHUNK_FRAMES = 65_536


class AudioError(UserError):
    """A file that gives no audio, or not the audio asked for: `str(error)` is "path: reason".

    >>> str(AudioError("songs/absent.wav", "no such file"))
    'songs/absent.wav: no such file'
    """

    def __init__(self, path: AnyPath, reason: str) -> None:
        self.path = Path(os.fsdecode(path))
        self.reason = reason
        super().__init__(f"{self.path}: {reason}")

    def __reduce__(self) -> tuple[Any, ...]:
        # errors cross process borders; the default would call __init__ with the message alone
        return type(self), (self.path, self.reason)


class TruncatedAudioWarning(UserWarning):
    """A file's header promised more than the file holds; what it holds was given.

    >>> str(TruncatedAudioWarning("a.mp3", 47.8, 17.6))
    'a.mp3: the header promises 47.80 s, but only 17.60 s can be decoded'
    """

    def __init__(self, path: AnyPath, claimed_seconds: float, held_seconds: float, failure: str = "") -> None:
        self.path = Path(os.fsdecode(path))
        self.claimed_seconds = claimed_seconds
        self.held_seconds = held_seconds
        self.failure = failure
        promise = f"the header promises {claimed_seconds:.2f} s, but only {held_seconds:.2f} s can be decoded"
        super().__init__(f"{self.path}: {promise}" + (f" ({failure})" if failure else ""))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.claimed_seconds, self.held_seconds, self.failure)


class Info(NamedTuple):
    """What a file's header claims, true or not; `format` is container and codec, for people.

    >>> Info(sample_rate=44_100, channels=2, frames=88_200, seconds=2.0, format="FLAC PCM_16").seconds
    2.0
    """

    sample_rate: int
    channels: int
    frames: int
    seconds: float
    format: str


class Source(ABC):
    """An opened file. A decoder gives `info`, `chunks` and `close`.

    `promised`: the length in `info` stands in the header, so that falling short of it means a truncated file;
    False where it is an estimate or was counted. `failure`: why decoding stopped early, empty if it did not.
    """

    info: Info
    promised: bool = True
    failure: str = ""

    @abstractmethod
    def chunks(self, start: int, count: int | None) -> Iterator[np.ndarray]:
        """Up to `count` frames from frame `start` on, (n, channels) float32; ends early where the audio does.

        The same frames as in a decode of the whole file. A chunk is valid until the next one is drawn.
        """

    @abstractmethod
    def close(self) -> None:
        """Gives back everything but the file."""


def checked_info(path: AnyPath, *, sample_rate: int, channels: int, frames: int, format: str) -> Info:
    """The Info of a header that makes sense; else AudioError. Called before anything is allocated by it."""
    if channels not in CHANNELS:
        raise AudioError(path, f"its header claims {channels} channels; from 1 to {CHANNELS[-1]} can be read")
    if sample_rate not in SAMPLE_RATES_HZ:
        raise AudioError(
            path,
            f"its header claims {sample_rate} samples a second; "
            f"from {SAMPLE_RATES_HZ[0]} to {SAMPLE_RATES_HZ[-1]} can be read",
        )
    if frames <= 0:
        raise AudioError(path, f"holds no audio: its header ({format}) says that it has no samples")
    return Info(sample_rate, channels, frames, frames / sample_rate, format)
