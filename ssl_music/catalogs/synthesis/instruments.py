"""Timbres. Every instrument is a function (frequency_hz, seconds, colour, rng) → float32 wave at 22,050 Hz.

`seconds` is how long the note is held; the wave is longer by its release. `colour` runs from -1 (dark) to 1
(bright). Phase is computed in float64 and wrapped before float32 sines are taken.
"""

from collections.abc import Callable

import numpy as np
from scipy import fft

SAMPLE_RATE = 22_050
HIGHEST_HZ = 10_000.0
Instrument = Callable[[float, float, float, np.random.Generator], np.ndarray]


def time_seconds(seconds: float) -> np.ndarray:
    return np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE


def angle(turns: np.ndarray) -> np.ndarray:
    """Turns → radians in [0, 2π), float32."""
    return ((2 * np.pi) * (turns - np.floor(turns))).astype(np.float32)


def envelope(t: np.ndarray, held_seconds: float, attack_seconds: float, release_seconds: float) -> np.ndarray:
    """Rises over the attack, stays at one, falls to zero over the release after the held time.

    >>> envelope(np.array([0.0, 0.05, 0.5, 1.0, 1.1]), 1.0, 0.1, 0.1).tolist()
    [0.0, 0.5, 1.0, 1.0, 0.0]
    """
    rise = np.minimum(1, t / min(attack_seconds, 0.6 * held_seconds))
    fall = np.clip((held_seconds + release_seconds - t) / release_seconds, 0, 1)
    return (rise * fall).astype(np.float32)


def sawtooth(turns: np.ndarray, rolloff: np.ndarray | float, frequency_hz: float) -> np.ndarray:
    """Σ r^k sin(kθ) for all harmonics k below 10 kHz, in closed form (Moorer, 1976): band-limited at any pitch.

    Cost does not grow with the number of harmonics; `rolloff` r may move in time like a filter.
    """
    count = max(1, int(HIGHEST_HZ / frequency_hz))
    theta = angle(turns)
    r = np.asarray(rolloff, np.float32)
    top = r**count
    above = r * top * (np.sin((count + 1) * theta) - r * np.sin(count * theta))
    return (r * np.sin(theta) - above) / (1 + r * r - 2 * r * np.cos(theta))


def string(
    frequency_hz: float, seconds: float, *, ring_seconds: float, damping: float, bright: float, pick: float, rng
) -> np.ndarray:
    """A plucked string after Karplus & Strong (1983), one period a row, in closed form.

    Their loop averages neighbouring samples once a period; in the frequency domain that multiplies harmonic h by
    cos(π h f / rate), so period k of the noise burst has its spectrum times that number to the power k.
    `bright` is the burst's own rolloff per harmonic, `pick` where along the string it is plucked.
    """
    size = 256
    harmonic = np.arange(min(size // 2, int(HIGHEST_HZ / frequency_hz)) + 1)
    burst = rng.normal(size=len(harmonic)) + 1j * rng.normal(size=len(harmonic))
    burst /= np.abs(burst) + 1e-9
    burst *= bright**harmonic * np.sin(np.pi * harmonic * pick)
    loop = np.cos(np.pi * np.minimum(0.49, harmonic * frequency_hz / SAMPLE_RATE)) ** damping
    loop *= 10 ** (-3 / (frequency_hz * ring_seconds))
    turns = frequency_hz * time_seconds(seconds)
    stride = max(1, int(frequency_hz / 110))  # periods a row: the tone changes little in nine milliseconds
    rows = np.arange(0, int(turns[-1]) + 1, stride)
    table = fft.irfft((burst * np.exp(np.outer(rows, np.log(loop)))).astype(np.complex64), n=size, axis=1)
    flat = np.concatenate([table, table[:, :1]], axis=1)
    row = (turns / stride).astype(np.int64)
    column = (turns - np.floor(turns)) * size
    left = column.astype(np.int64)
    index = row * (size + 1) + left
    weight = (column - left).astype(np.float32)
    values = flat.reshape(-1).astype(np.float32)
    return values[index] * (1 - weight) + values[index + 1] * weight


def guitar(frequency_hz: float, seconds: float, colour: float, rng: np.random.Generator) -> np.ndarray:
    """A plucked string that is damped when let go."""
    wave = string(
        frequency_hz,
        seconds + 0.12,
        ring_seconds=3,
        damping=1.5 - colour,
        bright=0.93 + 0.04 * colour,
        pick=0.21,
        rng=rng,
    )
    return wave * envelope(time_seconds(seconds + 0.12), seconds, 0.002, 0.12)


def distorted_guitar(frequency_hz: float, seconds: float, colour: float, rng: np.random.Generator) -> np.ndarray:
    """The string only: the distortion acts on the sum of all strings, in `render`."""
    wave = string(
        frequency_hz, seconds + 0.08, ring_seconds=6, damping=0.6, bright=0.9 + 0.04 * colour, pick=0.13, rng=rng
    )
    return wave * envelope(time_seconds(seconds + 0.08), seconds, 0.003, 0.08)


def electric_piano(frequency_hz: float, seconds: float, colour: float, rng: np.random.Generator) -> np.ndarray:
    """Frequency modulation (Chowning, 1973), 1:1 for the body and 1:14 for the tine."""
    t = time_seconds(seconds + 0.25)
    turns = frequency_hz * t
    index = ((1.1 + 0.6 * colour) * np.exp(-t * 3)).astype(np.float32)
    body = np.sin(angle(turns) + index * np.sin(angle(turns)))
    tine = np.sin(angle(turns) + 0.4 * np.sin(angle(min(14, int(HIGHEST_HZ / frequency_hz)) * turns)))
    tine *= (0.35 * np.exp(-t * 14)).astype(np.float32)
    return (body + tine) * np.exp(-t * 1.6).astype(np.float32) * envelope(t, seconds, 0.003, 0.25)


def bell(frequency_hz: float, seconds: float, colour: float, rng: np.random.Generator) -> np.ndarray:
    """Frequency modulation at an inharmonic ratio; it rings on after the note."""
    t = time_seconds(seconds + 0.9)
    index = ((1.6 + 0.8 * colour) * np.exp(-t * 4)).astype(np.float32)
    wave = np.sin(angle(frequency_hz * t) + index * np.sin(angle(3.51 * frequency_hz * t)))
    return wave * np.exp(-t * 2.6).astype(np.float32) * envelope(t, seconds, 0.002, 0.9)


def organ(frequency_hz: float, seconds: float, colour: float, rng: np.random.Generator) -> np.ndarray:
    """Drawbars: a sum of sines, with the slow beating of a rotating loudspeaker."""
    t = time_seconds(seconds + 0.06)
    bars = {
        0.5: 0.5,
        1: 1.0,
        2: 0.7,
        3: 0.5 + 0.2 * colour,
        4: 0.35 + 0.3 * colour,
        6: 0.15 + 0.12 * colour,
        8: 0.15 + 0.15 * colour,
    }
    turns = frequency_hz * t + 0.02 * np.sin(2 * np.pi * 5.8 * t)
    wave = sum(
        level * np.sin(angle(ratio * turns)) for ratio, level in bars.items() if ratio * frequency_hz < HIGHEST_HZ
    )
    tremolo = (1 - 0.15 * np.sin(2 * np.pi * 5.8 * t)).astype(np.float32)
    return wave * tremolo * envelope(t, seconds, 0.008, 0.06)


def flute(frequency_hz: float, seconds: float, colour: float, rng: np.random.Generator) -> np.ndarray:
    """Few harmonics, breath, and a vibrato that sets in late."""
    t = time_seconds(seconds + 0.1)
    # 5 Hz, 15 cents to either side
    deviation = 0.0087 / (2 * np.pi * 5) * np.minimum(1, t / 0.4) * np.sin(2 * np.pi * 5 * t)
    turns = frequency_hz * (t + deviation)
    wave = np.sin(angle(turns)) + (0.3 + 0.2 * colour) * np.sin(angle(2 * turns)) + 0.1 * np.sin(angle(3 * turns))
    breath = rng.standard_normal(len(t), dtype=np.float32)
    breath[1:] += 0.7 * breath[:-1]
    return (wave + (0.06 + 0.04 * colour) * breath) * envelope(t, seconds, 0.06, 0.1)


def strings(frequency_hz: float, seconds: float, colour: float, rng: np.random.Generator) -> np.ndarray:
    """Two bowed players, slightly apart, each with a vibrato of its own."""
    t = time_seconds(seconds + 0.2)
    wave = np.zeros(len(t), np.float32)
    for cents, rate in ((-5, 5.3), (6, 5.9)):
        pitch = frequency_hz * 2 ** (cents / 1200)
        turns = pitch * (t - 0.0001 * np.cos(2 * np.pi * rate * t)) + rate
        wave += sawtooth(turns, 0.78 + 0.1 * colour, frequency_hz)
    return wave * envelope(t, seconds, 0.09, 0.2)


def brass(frequency_hz: float, seconds: float, colour: float, rng: np.random.Generator) -> np.ndarray:
    """Brightness follows loudness (Risset, 1965): the harmonics come in as the tone swells."""
    t = time_seconds(seconds + 0.08)
    shape = envelope(t, seconds, 0.05, 0.08)
    swell = shape * np.exp(-t * 0.8).astype(np.float32)
    return sawtooth(frequency_hz * t, 0.3 + (0.5 + 0.08 * colour) * swell, frequency_hz) * shape


def synth_pad(frequency_hz: float, seconds: float, colour: float, rng: np.random.Generator) -> np.ndarray:
    """Three detuned saws behind a filter that opens and closes slowly."""
    t = time_seconds(seconds + 0.5)
    rolloff = (0.68 + 0.12 * colour + 0.1 * np.sin(2 * np.pi * 0.17 * t)).astype(np.float32)
    voices = [
        sawtooth(frequency_hz * ratio * t + start, rolloff, frequency_hz)
        for ratio, start in ((0.995, 0.1), (1, 0.5), (1.006, 0.8))
    ]
    return sum(voices) * envelope(t, seconds, 0.3, 0.5)


def pulse_synth(frequency_hz: float, seconds: float, colour: float, rng: np.random.Generator) -> np.ndarray:
    """A pulse wave, the difference of two saws; colour sets its width."""
    t = time_seconds(seconds + 0.03)
    turns = frequency_hz * t
    wave = sawtooth(turns, 0.95, frequency_hz) - sawtooth(turns + 0.32 - 0.18 * colour, 0.95, frequency_hz)
    return wave * np.exp(-t * 1.2).astype(np.float32) * envelope(t, seconds, 0.002, 0.03)


def upright_bass(frequency_hz: float, seconds: float, colour: float, rng: np.random.Generator) -> np.ndarray:
    """A heavily damped string with the knock of the finger."""
    wave = string(
        frequency_hz,
        seconds + 0.1,
        ring_seconds=1.6,
        damping=8 - 3 * colour,
        bright=0.8 + 0.06 * colour,
        pick=0.3,
        rng=rng,
    )
    t = time_seconds(seconds + 0.1)
    knock = rng.standard_normal(len(t), dtype=np.float32) * np.exp(-t * 180).astype(np.float32)
    return (wave + 0.1 * np.abs(wave[:200]).max() * knock) * envelope(t, seconds, 0.003, 0.1)


def synth_bass(frequency_hz: float, seconds: float, colour: float, rng: np.random.Generator) -> np.ndarray:
    """A sub oscillator under a saw whose filter closes after the attack."""
    t = time_seconds(seconds + 0.04)
    turns = frequency_hz * t
    rolloff = (0.45 + 0.1 * colour + (0.3 + 0.12 * colour) * np.exp(-t * 9)).astype(np.float32)
    return (np.sin(angle(turns)) + sawtooth(turns, rolloff, frequency_hz)) * envelope(t, seconds, 0.004, 0.04)


INSTRUMENTS: dict[str, Instrument] = {
    "guitar": guitar,
    "distorted guitar": distorted_guitar,
    "electric piano": electric_piano,
    "bell": bell,
    "organ": organ,
    "flute": flute,
    "strings": strings,
    "brass": brass,
    "synth pad": synth_pad,
    "pulse synth": pulse_synth,
    "upright bass": upright_bass,
    "synth bass": synth_bass,
}
