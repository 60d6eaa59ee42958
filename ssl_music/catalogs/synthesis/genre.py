"""What a genre is: a table of what its pieces are drawn from. Rhythm, harmony and articulation make the genre; the
instruments are shared, for an artist takes them from the genre's usual ones or, at times, from anywhere.

Patterns are strings, one character a sixteenth note, repeated over the section (twelve characters a bar in 3/4).
Drums:  X accent · x hit · o ghost · ? ghost at times · . rest
Chords and bass:  x the whole chord · 1 3 5 7 one chord tone (root, third …) · 8 root an octave up · - hold · . rest
Melody:  x a note · - hold · . rest
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

TEMPO_BPM = {"slow": (66, 92), "medium": (104, 124), "fast": (138, 172)}
COMPS = ("guitar", "electric piano", "organ", "strings", "synth pad", "pulse synth", "bell", "distorted guitar")
LEADS = ("guitar", "flute", "brass", "strings", "pulse synth", "bell", "electric piano", "organ", "distorted guitar")
BASSES = ("upright bass", "synth bass")
KITS = ("drum kit", "drum machine")


class Song(NamedTuple):
    """A progression in C with its scale and the scale of its melody (names of `theory.SCALES`)."""

    scale: str
    melody: str
    chords: str


@dataclass(frozen=True)
class Genre:
    """What the pieces of one genre are drawn from."""

    name: str
    beats: int  # quarter notes a bar
    tempo: tuple[float, float, float]  # chances of slow, medium, fast
    songs: tuple[Song, ...]
    chord_beats: tuple[int, ...]  # how long a chord lasts
    comp: tuple[str, ...]
    bass: tuple[str, ...]
    lead: tuple[str, ...]
    drums: Mapping[str, tuple[str, ...]]
    leads: tuple[str, ...]  # the usual instruments
    comps: tuple[str, ...]
    basses: tuple[str, ...] = BASSES
    kits: tuple[str, ...] = KITS
    drums_chance: float = 1.0
    bass_chance: float = 1.0
    drums_db: float = 0.0  # against the other players
    pump: float = 0.0  # how far each kick drum pushes the other players down, 0 … 1
    reverb: float = 1.0  # times what the artist likes
    swing_beats: float = 0.5  # of two neighbouring notes this long …
    swing: tuple[float, float] = (0.5, 0.52)  # … the first takes this share of their time
    leap: int = 3  # widest step of the melody, in notes of its scale
