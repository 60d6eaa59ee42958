"""Percussion: voice → one stroke, on a drum kit (skins and metal) or a drum machine (oscillators and noise)."""

import numpy as np

from ssl_music.catalogs.synthesis.instruments import angle, time_seconds

#: relative loudness of the voices
LEVELS = {
    "kick": 1.0,
    "snare": 0.6,
    "clap": 0.6,
    "hat": 0.22,
    "open": 0.28,
    "ride": 0.22,
    "crash": 0.35,
    "shaker": 0.2,
    "rim": 0.4,
    "tom": 0.7,
}


def stroke(voice: str, kit: str, tune: float, rng: np.random.Generator) -> np.ndarray:
    """One stroke, float32, peak 1; `tune` in [-1, 1] moves pitch and length together as another drum would.

    >>> float(np.abs(stroke("kick", "drum kit", 0.0, np.random.default_rng(0))).max())
    1.0
    """
    wave = _STROKES[voice](kit == "drum machine", 2.0 ** (tune / 3), rng)
    return (wave / np.abs(wave).max()).astype(np.float32)


def _decay(t: np.ndarray, seconds: float) -> np.ndarray:
    """Falls by 60 dB in `seconds`."""
    return np.exp(-6.9 * t / seconds)


def _noise(t: np.ndarray, rng: np.random.Generator, order: int) -> np.ndarray:
    """White noise, differenced `order` times: each difference takes 6 dB an octave out of the lows."""
    return np.diff(rng.standard_normal(len(t) + order), n=order)


def _glide(t: np.ndarray, from_hz: float, to_hz: float, seconds: float) -> np.ndarray:
    """A sine that falls exponentially from one frequency to another."""
    turns = to_hz * t + (from_hz - to_hz) * seconds * (1 - np.exp(-t / seconds))
    return np.sin(angle(turns))


def _kick(machine: bool, tune: float, rng: np.random.Generator) -> np.ndarray:
    t = time_seconds(0.45 if machine else 0.28)
    if machine:
        return _glide(t, 260 * tune, 48 * tune, 0.025) * _decay(t, 0.6)
    skin = _glide(t, 160 * tune, 62 * tune, 0.03) * _decay(t, 0.3)
    return skin + 0.12 * _noise(t, rng, 0) * _decay(t, 0.03)


def _snare(machine: bool, tune: float, rng: np.random.Generator) -> np.ndarray:
    t = time_seconds(0.25)
    tone = _glide(t, 280 * tune, 185 * tune, 0.02) * _decay(t, 0.14)
    wires = _noise(t, rng, 1) * _decay(t, 0.18 if machine else 0.28)
    return tone * (1.0 if machine else 0.7) + 0.35 * wires


def _clap(machine: bool, tune: float, rng: np.random.Generator) -> np.ndarray:
    t = time_seconds(0.3)
    gaps = (0.0, 0.011, 0.023) if machine else (0.0, 0.006, 0.017, 0.029)
    shape = sum(np.where(t >= gap, _decay(np.maximum(t - gap, 0), 0.04), 0) for gap in gaps)
    band = np.convolve(_noise(t, rng, 1), np.hanning(9), "same")
    return band * (shape + 0.25 * _decay(t, 0.3))


def _metal(machine: bool, seconds: float, tune: float, rng: np.random.Generator) -> np.ndarray:
    """A cymbal: clashing square waves in a machine, shaped noise on a kit; high-passed by differences."""
    t = time_seconds(seconds)
    if machine:
        turns = np.outer(tune * np.array([2053, 3042, 3693, 5221, 5447, 8001]) / 2, t)
        wave = np.diff(np.sign(np.sin(2 * np.pi * turns)).sum(0), n=1, prepend=0)
        wave = wave + 0.3 * _noise(t, rng, 2)
    else:
        wave = (
            _noise(t, rng, 2) + 0.8 * np.sin(2 * np.pi * 4100 * tune * t) + 0.6 * np.sin(2 * np.pi * 6230 * tune * t)
        )
    return wave * _decay(t, seconds)


def _ride(machine: bool, tune: float, rng: np.random.Generator) -> np.ndarray:
    t = time_seconds(0.6)
    ping = sum(np.sin(2 * np.pi * ratio * 2900 * tune * t) for ratio in (1, 1.37, 1.83)) * _decay(t, 0.25)
    return ping + 0.5 * _metal(machine, 0.6, tune, rng)


def _shaker(machine: bool, tune: float, rng: np.random.Generator) -> np.ndarray:
    t = time_seconds(0.09)
    return _noise(t, rng, 1 if machine else 2) * np.sin(np.pi * np.minimum(1, t / 0.08)) ** 2


def _rim(machine: bool, tune: float, rng: np.random.Generator) -> np.ndarray:
    t = time_seconds(0.06)
    click = np.sin(2 * np.pi * 1700 * tune * t) + 0.6 * np.sin(2 * np.pi * (820 if machine else 2500) * tune * t)
    return click * _decay(t, 0.05)


def _tom(machine: bool, tune: float, rng: np.random.Generator) -> np.ndarray:
    t = time_seconds(0.4)
    skin = _glide(t, 180 * tune, 110 * tune, 0.05) * _decay(t, 0.45)
    return skin + (0.0 if machine else 0.05) * _noise(t, rng, 0) * _decay(t, 0.08)


_STROKES = {
    "kick": _kick,
    "snare": _snare,
    "clap": _clap,
    "hat": lambda machine, tune, rng: _metal(machine, 0.06 if machine else 0.09, tune, rng),
    "open": lambda machine, tune, rng: _metal(machine, 0.35, tune, rng),
    "crash": lambda machine, tune, rng: _metal(machine, 1.6, tune, rng),
    "ride": _ride,
    "shaker": _shaker,
    "rim": _rim,
    "tom": _tom,
}
