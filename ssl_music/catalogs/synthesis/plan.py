"""One piece's facts, before a note is written: who, what, how fast, in which key. Labels come from here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ssl_music.catalogs.synthesis.artists import Artist, artists
from ssl_music.catalogs.synthesis.genre import TEMPO_BPM, Genre, Song
from ssl_music.catalogs.synthesis.genres import GENRES
from ssl_music.catalogs.synthesis.names import title

Choice = TypeVar("Choice")
#: chance that an artist leaves its first habit for another pattern
WHIM = 0.2


@dataclass(frozen=True)
class Plan:
    """What is known of a piece. `players` says which instrument plays each role: lead, comp, bass, drums."""

    seed: int
    index: int
    artist: Artist
    genre: Genre
    title: str
    key: int  # semitones above C
    song: Song
    tempo: str
    bpm: float
    swing: float
    players: Mapping[str, str]

    def labels(self) -> dict[str, tuple[str, ...]]:
        """Label column → values, as a `Track` holds them."""
        return {
            "genre": (self.genre.name,),
            "instruments": tuple(sorted(set(self.players.values()))),
            "tempo": (self.tempo,),
            "artist": (self.artist.name,),
        }

    def rng(self, purpose: int) -> np.random.Generator:
        """A generator of its own for each purpose, so that a change in one leaves the others alone."""
        return np.random.default_rng([self.seed, 2, self.index, purpose])


def plan(seed: int, index: int) -> Plan:
    """The facts of piece `index`: artists take turns, so that any eighty neighbours hold every artist once.

    >>> piece = plan(0, 12)
    >>> piece.genre.name, piece.tempo in ("slow", "medium", "fast"), sorted(piece.labels())
    ('house', True, ['artist', 'genre', 'instruments', 'tempo'])
    """
    cast = artists(seed)
    turn, number = divmod(index, len(cast))
    artist = cast[number]
    name, band = list(artist.bands.items())[turn % len(artist.bands)]
    genre = GENRES[name]
    rng = np.random.default_rng([seed, 2, index, 0])
    chances = np.array(genre.tempo) * np.exp(artist.tempo_lean * np.array((-1, 0, 1)))
    tempo = str(rng.choice(list(TEMPO_BPM), p=chances / chances.sum()))
    players = {"lead": band.lead, "comp": band.comp}
    if rng.random() < genre.bass_chance:
        players["bass"] = band.bass
    if rng.random() < genre.drums_chance:
        players["drums"] = band.kit
    # the first turn keeps every player: there every split has to hold every instrument
    if turn % 3 == 2 and len(players) > 3:
        del players["lead"]
    return Plan(
        seed=seed,
        index=index,
        artist=artist,
        genre=genre,
        title=title(seed, index),
        key=int(rng.integers(12)),
        song=prefer(rng, artist, 0, genre.songs),
        tempo=tempo,
        bpm=float(rng.uniform(*TEMPO_BPM[tempo])),
        swing=float(rng.uniform(*genre.swing)),
        players=players,
    )


def prefer(rng: np.random.Generator, artist: Artist, purpose: int, choices: Sequence[Choice]) -> Choice:
    """The artist's habitual one of `choices`, or at a whim any of them."""
    habitual = choices[artist.habit[purpose] % len(choices)]
    whim = choices[int(rng.integers(len(choices)))]
    return whim if rng.random() < WHIM else habitual
