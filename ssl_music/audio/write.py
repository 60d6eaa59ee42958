"""Writes wav, flac, ogg and mp3, chosen by the ending; the file is whole or absent."""

import os
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from ssl_music._files import replacing
from ssl_music.audio.base import AnyPath, AudioError
from ssl_music.audio.quiet import quiet
from ssl_music.errors import unknown_name

_FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
# libvorbis keeps a block on the stack: one call for a long piece overflows it
_BLOCK_FRAMES = 1 << 16


def write(path: AnyPath, wave: np.ndarray, sample_rate: int) -> None:
    """Writes a wave, (T,) or (T, channels), as wav, flac (16 bit both), ogg or mp3. Beyond ±1 it is clipped.

    >>> import tempfile
    >>> from ssl_music.audio import read
    >>> path = tempfile.mkdtemp() + "/ramp.wav"
    >>> write(path, np.linspace(-1, 1, 5), 16_000)
    >>> read(path).round(2)
    array([-1. , -0.5,  0. ,  0.5,  1. ], dtype=float32)
    """
    path = Path(os.fsdecode(path))
    with replacing(path) as temporary:
        encode(temporary, wave, sample_rate, named=path)


def encode(
    path: Path,
    wave: np.ndarray,
    sample_rate: int,
    *,
    named: Path | None = None,
    compression_level: float | None = None,
    bitrate_mode: Literal["CONSTANT"] | None = None,
) -> None:
    """Writes straight to `path`, with the encoder's settings as libsndfile takes them; errors call it `named`."""
    named = path if named is None else named
    ending = named.suffix.lower()
    if ending not in _FORMATS:
        raise unknown_name("ending of an audio file to write", ending, list(_FORMATS))
    wave = np.asarray(wave, np.float32)
    if wave.ndim not in (1, 2) or wave.size == 0:
        raise AudioError(named, f"cannot write a wave of shape {wave.shape}; (T,) or (T, channels) is wanted")
    if not np.isfinite(wave).all():
        raise AudioError(named, "cannot write NaN or infinite samples")
    format, subtype = _FORMATS[ending]
    channels = 1 if wave.ndim == 1 else wave.shape[1]
    with path.open("wb") as handle, quiet():
        try:
            with soundfile.SoundFile(
                handle.fileno(),
                "w",
                int(sample_rate),
                channels,
                subtype,
                format=format,
                closefd=False,
                compression_level=compression_level,
                bitrate_mode=bitrate_mode,
            ) as sound:
                for start in range(0, len(wave), _BLOCK_FRAMES):
                    sound.write(wave[start : start + _BLOCK_FRAMES])
        except soundfile.LibsndfileError as error:
            raise AudioError(named, f"cannot be written at {sample_rate} Hz: {error.error_string}") from None
