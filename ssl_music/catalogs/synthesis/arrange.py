"""A piece's facts → its notes and drum hits: form, accompaniment, bass, melody, percussion, timing."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import numpy as np

from ssl_music.catalogs.synthesis.plan import Plan, prefer
from ssl_music.catalogs.synthesis.theory import SCALES, chord, near, scale_notes

STEPS_PER_BEAT = 4
COMP_CENTRE, BASS_CENTRE, LEAD_CENTRE = 60, 39, 73  # MIDI
CHORD_TONE = {"1": 0, "3": 1, "5": 2, "7": 3}
HIT_VELOCITY = {"X": 1.0, "x": 0.75, "o": 0.4, "?": 0.45}
FILL_CHANCE = 0.4


class Note(NamedTuple):
    """One tone of one instrument."""

    start_seconds: float
    seconds: float
    midi: int
    velocity: float


class Hit(NamedTuple):
    """One stroke of one drum."""

    start_seconds: float
    voice: str
    velocity: float


class Section(NamedTuple):
    """A stretch of the form, in steps from the beginning of the piece."""

    letter: str
    start: int
    stop: int
    roles: frozenset[str]


@dataclass(frozen=True)
class Score:
    """Everything that sounds: role → notes, and the drum hits."""

    notes: dict[str, list[Note]]
    hits: list[Hit]


def arrange(piece: Plan, seconds: float) -> Score:
    """The score of `piece`, `seconds` long.

    >>> from ssl_music.catalogs.synthesis.plan import plan
    >>> score = arrange(plan(0, 1), 4.0)
    >>> sorted(score.notes), len(score.hits) > 8
    (['bass', 'comp', 'lead'], True)
    """
    rng = piece.rng(1)
    clock = _Clock(piece)
    parts = {"comp": _comp, "bass": _bass, "lead": _lead}
    notes: dict[str, list[Note]] = {role: [] for role in parts if role in piece.players}
    hits: list[Hit] = []
    for section in _form(piece, seconds, rng):
        for role in notes:
            if role in section.roles:
                notes[role] += parts[role](piece, section, clock, rng)
        if "drums" in section.roles:
            hits += _drums(piece, section, clock, rng)
    return Score(notes, hits)


class _Clock:
    """Steps → seconds, with the genre's swing and the artist's looseness."""

    def __init__(self, piece: Plan) -> None:
        self.beat_seconds = 60 / piece.bpm
        self.pair = 2 * piece.genre.swing_beats
        self.swing = piece.swing
        self.looseness_seconds = piece.artist.looseness_seconds

    def at(self, step: float) -> float:
        pairs, within = divmod(step / STEPS_PER_BEAT / self.pair, 1)
        early = within < 0.5
        swung = within * 2 * self.swing if early else self.swing + (within - 0.5) * 2 * (1 - self.swing)
        return (pairs + swung) * self.pair * self.beat_seconds

    def played(self, step: float, rng: np.random.Generator) -> float:
        return max(0.0, self.at(step) + float(rng.normal()) * self.looseness_seconds)


def _form(piece: Plan, seconds: float, rng: np.random.Generator) -> list[Section]:
    """An introduction with fewer players where there is time for one, then A, then B."""
    bar = piece.genre.beats * STEPS_PER_BEAT
    bars = ceil(seconds * piece.bpm / 60 / piece.genre.beats)
    everyone = frozenset(piece.players)
    intro = 2 if bars >= 14 else 1 if bars >= 5 and rng.random() < 0.5 else 0
    silent = ["lead", str(rng.choice(["lead", "comp", "bass", "drums"]))]
    few = everyone - set(silent)
    if not few & {"comp", "drums"}:
        few = everyone - {"lead"}
    turn = intro + max(1, (bars - intro) // 2)
    sections = [
        Section("intro", 0, intro * bar, few),
        Section("A", intro * bar, turn * bar, everyone),
        Section("B", turn * bar, bars * bar, everyone),
    ]
    return [section for section in sections if section.stop > section.start]


def _events(pattern: str, section: Section, change: int) -> Iterator[tuple[int, int, str]]:
    """(step, steps held, symbol) of a pattern repeated over the section; a new chord strikes a held note anew."""
    started, sounding = section.start, "."
    for step in range(section.start, section.stop + 1):
        symbol = pattern[(step - section.start) % len(pattern)] if step < section.stop else "."
        if symbol == "-" and (step % change or sounding == "."):
            continue
        if sounding != ".":
            yield started, step - started, sounding
        if symbol != "-":
            sounding = symbol
        started = step


def _chord_at(piece: Plan, step: int, change: int) -> tuple[int, ...]:
    symbols = piece.song.chords.split()
    return chord(symbols[step // change % len(symbols)])


def _change_steps(piece: Plan) -> int:
    chord_beats = piece.genre.chord_beats
    return STEPS_PER_BEAT * chord_beats[piece.artist.habit[1] % len(chord_beats)]


def _touch(step: int, rng: np.random.Generator) -> float:
    """How hard a note is played: beats are stressed."""
    return (1.0 if step % STEPS_PER_BEAT == 0 else 0.8) * float(rng.uniform(0.8, 1.0))


def _comp(piece: Plan, section: Section, clock: _Clock, rng: np.random.Generator) -> list[Note]:
    pattern = prefer(rng, piece.artist, 3 if section.letter == "B" else 2, piece.genre.comp)
    change = _change_steps(piece)
    power = piece.players["comp"] == "distorted guitar"
    notes = []
    for step, held, symbol in _events(pattern, section, change):
        tones = _chord_at(piece, step, change)
        root = near(piece.key + tones[0], COMP_CENTRE - 6)
        if symbol in CHORD_TONE or symbol == "8":
            pitches = [root + _interval(tones, symbol)]
        elif power:
            # more than root and fifth through a distortion is noise
            pitches = [root - 12, root - 5, root]
        else:
            pitches = sorted({near(piece.key + tone, COMP_CENTRE) for tone in tones[len(tones) // 5 :]})
        start, touch = clock.played(step, rng), _touch(step, rng)
        length = clock.at(step + held) - clock.at(step)
        notes += [Note(start, length, pitch, touch / len(pitches) ** 0.5) for pitch in pitches]
    return notes


def _interval(tones: tuple[int, ...], symbol: str) -> int:
    return 12 if symbol == "8" else tones[min(CHORD_TONE[symbol], len(tones) - 1)] - tones[0]


def _bass(piece: Plan, section: Section, clock: _Clock, rng: np.random.Generator) -> list[Note]:
    pattern = prefer(rng, piece.artist, 4, piece.genre.bass)
    change = _change_steps(piece)
    notes = []
    for step, held, symbol in _events(pattern, section, change):
        tones = _chord_at(piece, step, change)
        pitch = near(piece.key + tones[0], BASS_CENTRE) + _interval(tones, symbol)
        length = clock.at(step + held) - clock.at(step)
        notes.append(Note(clock.played(step, rng), length, pitch, _touch(step, rng)))
    return notes


def _lead(piece: Plan, section: Section, clock: _Clock, rng: np.random.Generator) -> list[Note]:
    """A motif: its rhythm and its moves along the scale come back, its pitches follow the chords."""
    pattern = prefer(rng, piece.artist, 6 if section.letter == "B" else 5, piece.genre.lead)
    change = _change_steps(piece)
    centre = LEAD_CENTRE + piece.artist.habit[7] % 8 - 4
    scale = scale_notes(SCALES[piece.song.melody], piece.key, centre - 12, centre + 12)
    moves = rng.integers(-piece.genre.leap, piece.genre.leap + 1, 7)
    notes = []
    place, count = len(scale) // 2, 0
    for step, held, _ in _events(pattern, section, section.stop + 1):
        if (step - section.start) % len(pattern) < STEPS_PER_BEAT and held > 1:
            place, count = (place + len(scale) // 2) // 2, 0
        place = int(np.clip(place + moves[count % len(moves)], 0, len(scale) - 1))
        count += 1
        if step % (2 * STEPS_PER_BEAT) == 0:
            place = _nearest_chord_tone(scale, place, piece.key, _chord_at(piece, step, change))
        length = clock.at(step + held) - clock.at(step)
        notes.append(Note(clock.played(step, rng), length, scale[place], _touch(step, rng)))
    return notes


def _nearest_chord_tone(scale: list[int], place: int, key: int, tones: tuple[int, ...]) -> int:
    classes = {(key + tone) % 12 for tone in tones}
    at_hand = [index for index, note in enumerate(scale) if note % 12 in classes]
    return min(at_hand or [place], key=lambda index: abs(index - place))


def _drums(piece: Plan, section: Section, clock: _Clock, rng: np.random.Generator) -> list[Hit]:
    hits = []
    bar = piece.genre.beats * STEPS_PER_BEAT
    fill_from = section.stop - STEPS_PER_BEAT if rng.random() < FILL_CHANCE else section.stop
    for number, (voice, patterns) in enumerate(piece.genre.drums.items()):
        pattern = prefer(rng, piece.artist, 8 + number, patterns)
        for step in range(section.start, section.stop):
            symbol = pattern[(step - section.start) % len(pattern)]
            missed = symbol == "?" and rng.random() < 0.5
            if symbol != "." and not missed and not (step >= fill_from and voice in ("snare", "clap", "hat")):
                velocity = HIT_VELOCITY[symbol] * float(rng.uniform(0.85, 1.0))
                hits.append(Hit(clock.played(step, rng), voice, velocity))
    fill_voice = next((voice for voice in ("snare", "clap", "rim", "shaker") if voice in piece.genre.drums), "tom")
    for step in range(max(fill_from, section.stop - bar), section.stop):
        if rng.random() < 0.8:
            hits.append(Hit(clock.played(step, rng), fill_voice, float(rng.uniform(0.4, 0.8))))
    return hits
