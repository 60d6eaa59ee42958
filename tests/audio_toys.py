"""Waves, encoders and damage that the tests of `audio` share."""

import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssl_music import audio


def tone(hz: float, rate: int, seconds: float = 3.0, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)


def amplitude_at(wave: np.ndarray, hz: float, rate: int) -> float:
    """The amplitude of one frequency, by projection under a Hann window, without the ends."""
    wave = wave[rate // 4 : -rate // 4].astype(np.float64)
    window = np.hanning(len(wave))
    return float(2 * abs((wave * window) @ np.exp(-2j * np.pi * hz * np.arange(len(wave)) / rate)) / window.sum())


def music(rate: int, seconds: float, channels: int, seed: int = 0) -> np.ndarray:
    """Noise bursts over a quiet tone: attacks make coders switch their blocks and borrow bits."""
    random = np.random.default_rng(seed)
    time = np.arange(round(rate * seconds)) / rate
    bursts = random.standard_normal((len(time), channels)) * 0.25 * np.exp(-8 * (time % 0.4))[:, None]
    gate = (np.floor(time / 1.3) % 2)[:, None]
    return bursts * gate + 0.02 * np.sin(2 * np.pi * 300 * time)[:, None]


def encode(path: Path, kind: tuple[str, str, str], wave: np.ndarray, rate: int) -> Path:
    """Writes (n, channels) with PyAV; `kind` is FFmpeg's container, codec and sample format."""
    av = pytest.importorskip("av")
    container, codec, format = kind
    layout = {1: "mono", 2: "stereo"}[wave.shape[1]]
    # with aac_pns an AAC decoder fills bands with noise of its own, another one each time
    options = {"aac_pns": "0"} if codec == "aac" else {}
    with av.open(str(path), "w", format=container, options={"movflags": "faststart"}) as file:
        stream = file.add_stream(codec, rate=rate, options=options)
        stream.layout, stream.format, stream.bit_rate = layout, format, 128_000
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave.T, np.float32), format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        stream.codec_context.open()
        resampler = av.AudioResampler(format, layout, rate, stream.codec_context.frame_size or 1024)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    return path


def patched(data: bytes, offset: int, format: str, value: float) -> bytes:
    """The bytes with one number overwritten."""
    changed = bytearray(data)
    struct.pack_into(format, changed, offset, value)
    return bytes(changed)


def with_granules(data: bytes, granule_of: Callable[[int, int, bool], int]) -> bytes:
    """An Ogg file whose pages say other positions: `granule_of(page number, position, is the last page)`."""
    changed = bytearray(data)
    at = number = 0
    while at < len(data):
        end = at + 27 + data[at + 26] + sum(data[at + 27 : at + 27 + data[at + 26]])
        position = struct.unpack_from("<q", data, at + 6)[0]
        if position > 0:
            struct.pack_into("<q", changed, at + 6, granule_of(number, position, bool(data[at + 5] & 4)))
            changed[at + 22 : at + 26] = bytes(4)
            struct.pack_into("<I", changed, at + 22, _ogg_checksum(changed[at:end]))
        at, number = end, number + 1
    return bytes(changed)


def _ogg_checksum(page: bytes) -> int:
    """RFC 3533, section 6: polynomial 0x04c11db7, not reflected, starting from zero."""
    checksum = 0
    for byte in page:
        checksum = (checksum << 8 & 0xFFFF_FFFF) ^ _OGG_TABLE[checksum >> 24 ^ byte]
    return checksum


def _ogg_table_entry(index: int) -> int:
    entry = index << 24
    for _ in range(8):
        entry = (entry << 1 & 0xFFFF_FFFF) ^ (0x04C1_1DB7 if entry >> 31 else 0)
    return entry


_OGG_TABLE = [_ogg_table_entry(index) for index in range(256)]


def without_xing(mp3: bytes) -> bytes:
    """An MPEG-1 layer III file without its first frame, the one that says the length."""
    assert b"Xing" in mp3[:64] or b"Info" in mp3[:64]
    kbps = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)[mp3[2] >> 4]
    rate = (44_100, 48_000, 32_000)[mp3[2] >> 2 & 3]
    return mp3[144_000 * kbps // rate + (mp3[2] >> 1 & 1) :]


def assert_slices_equal_whole(path: Path, rate: int, *, count: int = 6, tolerance: float = 1e-5) -> None:
    whole = audio.read(path, rate)
    random = np.random.default_rng(1)
    for start in [*random.integers(0, len(whole), count), len(whole) - 300]:
        for seconds in (0.3, None):
            part = audio.read(path, rate, start_seconds=start / rate, seconds=seconds)
            wanted = whole[start:] if seconds is None else whole[start : start + round(seconds * rate)]
            assert part.shape == wanted.shape
            assert np.abs(part - wanted).max() <= tolerance


def read_silently(path: Path, rate: int = 22050, **part: float) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return audio.read(path, rate, **part)


def cut(whole: Path, folder: Path, share: float = 0.4) -> Path:
    data = whole.read_bytes()
    path = folder / f"cut{whole.suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    return path
