"""Synthetic music in any transposition, and how far a shifted version is from it: the measure of pitch shifters."""

import numpy as np

RATE = 22_050
SAMPLES = 59_049
SEMITONES = (-7, -3, 1, 4, 7)
SCALE = (0, 2, 4, 5, 7, 9, 11)


def render(piece: int, semitones: float = 0.0) -> np.ndarray:
    """Bass, chords and a melody of harmonic notes (drums in every fourth piece, which are not transposed).

    A transposition has the same notes, partial for partial, at rate times the frequency: those that are in the
    original (below half the sample rate), as far as they still are below it.
    """
    rng = np.random.default_rng(piece)
    beat, root = 60 / rng.uniform(80, 150), rng.integers(40, 52)
    brightness, damping = rng.uniform(0.6, 1.6, 3), rng.uniform(0.5, 5.0, 3)
    out = np.zeros(SAMPLES + RATE)
    for number in range(int(SAMPLES / RATE / beat) + 1):
        degree = rng.integers(0, 7)
        start = int(number * beat * RATE)
        notes = [(0, root + SCALE[degree], beat, 0.25, 0)]
        if number % 2 == 0:
            steps = [degree + third for third in (0, 2, 4)]
            notes += [(0, root + 12 + SCALE[step % 7] + 12 * (step // 7), 2 * beat, 0.12, 1) for step in steps]
        notes += [(half, root + 24 + SCALE[rng.integers(0, 7)], beat / 2, 0.2, 2) for half in (0, beat / 2)]
        for later, midi, seconds, gain, voice in notes:
            hz = 440 * 2 ** ((midi - 69) / 12)
            note = _note(rng, hz, seconds, semitones, brightness=brightness[voice], damping=damping[voice])
            first = start + int(later * RATE)
            room = max(0, len(out) - first)
            out[first : first + len(note)] += gain * note[:room]
        if piece % 4 == 3:
            out[start : start + 3000] += 0.15 * np.exp(-np.arange(3000) / 400) * rng.standard_normal(3000)
    return (0.3 * out[:SAMPLES]).astype(np.float32)


def _note(
    rng: np.random.Generator, hz: float, seconds: float, semitones: float, *, brightness: float, damping: float
) -> np.ndarray:
    time = np.arange(int(seconds * RATE)) / RATE
    envelope = np.minimum(1, time / 0.008) * np.minimum(1, (seconds - time) / 0.02)
    highest, rate = 0.98 * RATE / 2, 2 ** (semitones / 12)
    harmonics = np.arange(1, min(60, int(highest / hz)) + 1)
    phases = rng.uniform(0, 2 * np.pi, len(harmonics))
    note = np.zeros(len(time))
    for harmonic, phase in zip(harmonics, phases, strict=True):
        if harmonic * hz * rate < highest:
            decay = np.exp(-time * damping * (1 + 0.1 * harmonic))
            note += harmonic**-brightness * decay * np.sin(2 * np.pi * harmonic * hz * rate * time + phase)
    return envelope * note


def log_mel_distance(wave: np.ndarray, reference: np.ndarray) -> float:
    """The mean difference in dB over 96 mel bands and all frames, down to 80 dB below the loudest."""
    power, wanted = _mel(wave), _mel(reference)
    floor = 1e-8 * wanted.max()
    return float(np.abs(10 * np.log10((power + floor) / (wanted + floor))).mean())


def _mel(wave: np.ndarray, size: int = 1024, bands: int = 96) -> np.ndarray:
    hz = np.linspace(0, RATE / 2, size // 2 + 1)
    edges = 700 * (10 ** (np.linspace(0, np.log10(1 + RATE / 1400), bands + 2)) - 1)
    rise = (hz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - hz) / np.diff(edges)[1:, None]
    frames = np.lib.stride_tricks.sliding_window_view(wave, size)[::256] * np.hanning(size)
    return np.abs(np.fft.rfft(frames)) ** 2 @ np.maximum(0, np.minimum(rise, fall)).T
