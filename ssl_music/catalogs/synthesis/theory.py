"""Pitches: scales, chord symbols, voicings. Pitch classes count semitones above the tonic; MIDI 69 is 440 Hz."""

from collections.abc import Sequence

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "major pentatonic": (0, 2, 4, 7, 9),
    "minor pentatonic": (0, 3, 5, 7, 10),
    "blues": (0, 3, 5, 6, 7, 10),
    # what melody and dominant seventh chords of a blues use together
    "blues mixture": (0, 2, 3, 4, 5, 6, 7, 9, 10, 11),
}

QUALITIES = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "5": (0, 7),
    "sus2": (0, 2, 7),
    "sus4": (0, 5, 7),
    "7": (0, 4, 7, 10),
    "m7": (0, 3, 7, 10),
    "maj7": (0, 4, 7, 11),
    "m9": (0, 3, 7, 10, 14),
    "maj9": (0, 4, 7, 11, 14),
    "6": (0, 4, 7, 9),
    "add9": (0, 4, 7, 14),
}

ROOTS = {"C": 0, "Db": 1, "D": 2, "Eb": 3, "E": 4, "F": 5, "Gb": 6, "G": 7, "Ab": 8, "A": 9, "Bb": 10, "B": 11}


def chord(symbol: str) -> tuple[int, ...]:
    """Semitones above the tonic C of the chord's tones, root first; tones may lie above the octave.

    >>> chord("Dm7"), chord("Bb")
    ((2, 5, 9, 12), (10, 14, 17))
    """
    root = symbol[:2] if symbol[:2] in ROOTS else symbol[:1]
    return tuple(ROOTS[root] + interval for interval in QUALITIES[symbol[len(root) :]])


def near(pitch: int, centre: int) -> int:
    """The MIDI note of the same pitch class as `pitch` that is nearest to `centre`.

    Voicing every tone of a chord near one centre leads the voices smoothly: no voice can leap.

    >>> near(0, 64), near(11, 60)
    (60, 59)
    """
    return centre - 6 + (pitch - centre + 6) % 12


def scale_notes(scale: Sequence[int], key: int, low: int, high: int) -> list[int]:
    """Every MIDI note of the scale on `key` from `low` up to `high`.

    >>> scale_notes(SCALES["major pentatonic"], 7, 60, 72)
    [62, 64, 67, 69, 71]
    """
    return [note for note in range(low, high + 1) if (note - key) % 12 in scale]


def frequency_hz(midi: float) -> float:
    """Equal temperament, A4 = 440 Hz.

    >>> frequency_hz(57)
    220.0
    """
    return float(440.0 * 2.0 ** ((midi - 69) / 12))
