"""A wave through a lossy codec and back: really encoded and decoded, and as long as it was, sample on sample.

An mp3 comes back 1105 samples late: 576 of the encoder (LAME's ENCDELAY) and 529 of every decoder. LAME notes that in
a tag in the file's first frame, and decoders take it out; where the frame is too small for the tag (below 64 kbit/s
at 22,050 Hz) it is taken out here. Vorbis has no delay.
"""

import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
import soxr

from ssl_music.audio.stream import read
from ssl_music.audio.write import encode
from ssl_music.errors import UserError

_MP3_DELAY_SAMPLES = 1105
#: kbit/s, from … to, by the least sample rate in Hz (MPEG-1, MPEG-2, MPEG-2.5): between them libsndfile's
#: "compression level" from 0 to 1 runs evenly, and LAME takes the bit rate of the standard that is nearest
_MP3_KBIT = ((32_000, 320.0, 32.0), (16_000, 160.0, 8.0), (0, 64.0, 8.0))
#: libsndfile refuses a level of 1 for mp3 at a constant rate; this is less than 0.1 kbit/s from it
_LAST_LEVEL = 0.9999


def through_mp3(wave: np.ndarray, sample_rate: int, *, kbit_per_second: float) -> np.ndarray:
    """`wave` after MPEG layer III at a constant bit rate (LAME). Shape: (T,) → (T,) float32.

    Bit rates below 32 kbit/s exist up to 24 kHz only: faster waves are halved in rate for them, and doubled again,
    as the lame program does by itself. LAME's settings for most rates make the wave 5 % quieter, against clipping.

    >>> tone = 0.5 * np.sin(2 * np.pi * 440 / 22050 * np.arange(22050)).astype(np.float32)
    >>> heard = through_mp3(tone, 22050, kbit_per_second=64)
    >>> heard.shape, float(np.corrcoef(heard, tone)[0, 1])
    ((22050,), 0.9999...)
    """
    most, least = next((most, least) for rate, most, least in _MP3_KBIT if sample_rate >= rate)
    if 8 <= kbit_per_second < least:
        half = soxr.resample(_checked(wave), sample_rate, sample_rate // 2, quality="HQ")
        back = through_mp3(half, sample_rate // 2, kbit_per_second=kbit_per_second)
        doubled = soxr.resample(back, sample_rate // 2, sample_rate, quality="HQ")
        return np.pad(doubled, (0, max(0, len(wave) - len(doubled))))[: len(wave)]
    if not least <= kbit_per_second <= most:
        raise UserError(f"mp3 at {sample_rate} Hz: {kbit_per_second:g} kbit/s came, from 8 to {most:g} is wanted")
    level = min((most - kbit_per_second) / (most - least), _LAST_LEVEL)
    heard = _through(wave, sample_rate, ".mp3", level, constant=True)
    late = 0 if len(heard) == len(wave) else _MP3_DELAY_SAMPLES
    return heard[late : late + len(wave)]


def through_ogg(wave: np.ndarray, sample_rate: int, *, quality: float) -> np.ndarray:
    """`wave` after Ogg Vorbis at a quality from 0 to 10, as oggenc's -q counts it. Shape: (T,) → (T,) float32.

    >>> tone = 0.5 * np.sin(2 * np.pi * 440 / 22050 * np.arange(22050)).astype(np.float32)
    >>> heard = through_ogg(tone, 22050, quality=10)
    >>> heard.shape, float(np.corrcoef(heard, tone)[0, 1])
    ((22050,), 0.9999...)
    """
    if not 0 <= quality <= 10:
        raise UserError(f"Ogg Vorbis: quality {quality:g} came, from 0 to 10 is wanted")
    return _through(wave, sample_rate, ".ogg", 1 - quality / 10)[: len(wave)]


def _through(wave: np.ndarray, sample_rate: int, ending: str, level: float, constant: bool = False) -> np.ndarray:
    # a file, so that the one decoder of this package reads it, with its mends of libsndfile
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"wave{ending}"
        mode: Literal["CONSTANT"] | None = "CONSTANT" if constant else None
        encode(path, _checked(wave), sample_rate, compression_level=level, bitrate_mode=mode)
        return read(path, sample_rate)


def _checked(wave: np.ndarray) -> np.ndarray:
    wave = np.asarray(wave, np.float32)
    if wave.ndim != 1 or not len(wave):
        raise UserError(f"a wave of shape (T,) is wanted to be encoded; came {wave.shape}")
    return wave
