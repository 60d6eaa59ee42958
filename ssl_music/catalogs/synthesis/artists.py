"""Who plays: eighty artists, eight at home in each genre, each with instruments, habits and a sound of its own.

What an artist brings (equaliser, room, hiss, levels, playing) varies between artists of one genre as much as between
genres, so that how bright or loud a piece is tells little of its genre. Three in ten artists play a second genre.
Splits are artist-disjoint: of the eight at home in a genre five are for training, one for validation, two for the
test. (More artists to learn from matter more than more pieces of each; two for the test narrow its interval.)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ssl_music.catalogs.synthesis.genre import BASSES, COMPS, KITS, LEADS, Genre
from ssl_music.catalogs.synthesis.genres import GENRES
from ssl_music.catalogs.synthesis.names import artist_names

ARTISTS_PER_GENRE = 8
SPLIT_OF_RANK = ("train", "test", "valid", "train", "train", "test", "train", "train")
#: chance that an artist takes an instrument that its genre does not usually have
UNUSUAL = 0.1
#: chance that an artist plays a second genre
SECOND_GENRE = 0.3
#: habits of an artist: the first choose songs and patterns, the last four instruments
HABITS = 24
#: a multiple of the length of every list that a habit chooses from
MANY = 60


@dataclass(frozen=True)
class Band:
    """Which instrument an artist gives each role in one of its genres."""

    lead: str
    comp: str
    bass: str
    kit: str


@dataclass(frozen=True)
class Artist:
    """A fixed preference of instruments, patterns and sound; everything else differs from piece to piece."""

    name: str
    split: str
    bands: Mapping[str, Band]  # genre → who plays there; the first genre is home
    habit: tuple[int, ...]  # which of a genre's patterns and songs come first to mind
    colour: float  # -1 dark … 1 bright playing
    tempo_lean: float  # below 0 prefers slow, above 0 fast
    levels_db: Mapping[str, float]  # role → above the usual level
    tilt_db_per_octave: float  # of the whole mix, around 1 kHz
    peak_hz: float
    peak_db: float
    high_cut_hz: float
    reverb_seconds: float
    reverb_level: float
    drive: float  # of the saturation on the mix
    hiss_db: float
    looseness_seconds: float  # standard deviation of the playing's timing


@lru_cache(maxsize=8)
def artists(seed: int) -> tuple[Artist, ...]:
    """The eighty artists of a seed; their first pieces hold, split by split, every instrument.

    Artist `n` is at home in genre `n % 10`. Drawings in which a split lacks an instrument are drawn again.

    >>> cast = artists(0)
    >>> len(cast), len({artist.name for artist in cast}), sorted({artist.split for artist in cast})
    (80, 80, ['test', 'train', 'valid'])
    """
    everything = {*LEADS, *COMPS, *BASSES, *KITS}
    attempt = 0
    while True:
        rng = np.random.default_rng([seed, 1, attempt])
        cast = _draw(rng)
        if all(_heard(cast, split) == everything for split in set(SPLIT_OF_RANK)):
            return cast
        attempt += 1


def _heard(cast: tuple[Artist, ...], split: str) -> set[str]:
    """The instruments that are certain to play in the first piece of every artist of a split."""
    heard: set[str] = set()
    for artist in cast:
        if artist.split == split:
            home, band = next(iter(artist.bands.items()))
            heard |= {band.lead, band.comp}
            heard |= {band.bass} if GENRES[home].bass_chance == 1 else set()
            heard |= {band.kit} if GENRES[home].drums_chance == 1 else set()
    return heard


def _draw(rng: np.random.Generator) -> tuple[Artist, ...]:
    habits = {
        (home, split): _habits(rng, SPLIT_OF_RANK.count(split))
        for home in GENRES
        for split in sorted(set(SPLIT_OF_RANK))
    }
    cast = []
    for number, name in enumerate(artist_names(rng, ARTISTS_PER_GENRE * len(GENRES))):
        turn, home = divmod(number, len(GENRES))
        # the ranks of one turn run through all splits, so that even a small catalog has every split
        split = SPLIT_OF_RANK[(turn + home) % ARTISTS_PER_GENRE]
        genre = list(GENRES.values())[home]
        cast.append(_artist(rng, genre, name, split, habits[genre.name, split].pop()))
    return tuple(cast)


def _habits(rng: np.random.Generator, count: int) -> list[tuple[int, ...]]:
    """Habits of the artists of one genre and split: each has others, as far as the choices reach, so that training
    meets every usual instrument and pattern of the genre; otherwise it is luck what can be learned."""
    turns = rng.permuted(np.tile(np.arange(count)[:, None], (1, HABITS)), axis=0)
    return [tuple(int(value) for value in row) for row in turns + rng.integers(0, MANY, HABITS)]


def _artist(rng: np.random.Generator, home: Genre, name: str, split: str, habit: tuple[int, ...]) -> Artist:
    bands = {home.name: _band(rng, home, habit)}
    if rng.random() < SECOND_GENRE:
        second = str(rng.choice([name for name in GENRES if name != home.name]))
        bands[second] = _band(rng, GENRES[second], habit)
    return Artist(
        name=name,
        split=split,
        bands=bands,
        habit=habit,
        colour=float(rng.uniform(-1, 1)),
        tempo_lean=float(rng.uniform(-0.8, 0.8)),
        levels_db={role: float(rng.uniform(-2.5, 2.5)) for role in ("lead", "comp", "bass", "drums")},
        tilt_db_per_octave=float(rng.uniform(-1.4, 1.4)),
        peak_hz=float(np.exp(rng.uniform(np.log(250), np.log(5000)))),
        peak_db=float(rng.uniform(-5, 5)),
        high_cut_hz=float(np.exp(rng.uniform(np.log(5500), np.log(11000)))),
        reverb_seconds=float(rng.uniform(0.2, 2.2)),
        reverb_level=float(rng.uniform(0, 0.4) ** 1.5),
        drive=float(rng.uniform(0.3, 2)),
        hiss_db=float(rng.uniform(-75, -46)),
        looseness_seconds=float(rng.uniform(0, 0.010)),
    )


def _band(rng: np.random.Generator, genre: Genre, habit: tuple[int, ...]) -> Band:
    comp = _instrument(rng, genre.comps, COMPS, habit[-1])
    lead = _instrument(rng, genre.leads, LEADS, habit[-2])
    if lead == comp:
        lead = str(rng.choice([other for other in (*genre.leads, *LEADS) if other != comp]))
    bass = _instrument(rng, genre.basses, BASSES, habit[-3])
    return Band(lead, comp, bass, _instrument(rng, genre.kits, KITS, habit[-4]))


def _instrument(rng: np.random.Generator, usual: tuple[str, ...], every: tuple[str, ...], habit: int) -> str:
    return str(rng.choice(every)) if rng.random() < UNUSUAL else usual[habit % len(usual)]
