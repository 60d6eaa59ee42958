"""Names of artists and pieces: two words each, dealt so that none comes twice before all pairs are used."""

import numpy as np

FIRST = (
    "Amber Arctic Brass Cedar Copper Crimson Distant Electric Feral Gentle Golden Hollow Indigo Ivory Lunar "
    "Marble Midnight Northern Paper Quiet Rusty Scarlet Silent Silver Solar Southern Velvet Wandering Wicked "
    "Winter"
)
LAST = (
    "Anchors Arcade Bandits Birds Bridges Canyons Carousel Choir Clocks Embers Engines Foxes Gardens Harbour "
    "Horses Kites Lanterns Machines Mirrors Orchard Parade Pilots Rivers Satellites Sisters Tides Trains Violets "
    "Wolves Zebras"
)
ADJECTIVES = (
    "Bitter Blue Borrowed Broken Burning Careless Empty Endless Fading First Foreign Frozen Green Hidden High "
    "Last Late Little Lonely Long Lost Lucky Narrow Nearly Never Old Open Painted Patient Restless Secret Second "
    "Simple Sleepless Slow Stolen Strange Sudden Sweet Tall Tender Unknown Upper Warm"
)
NOUNS = (
    "Afternoon Alley Answer August Avenue Balcony Bell Boat Candle City Corner Dance Daylight Dream Echo Fever "
    "Field Fire Ghost Hotel Island Journey Kitchen Ladder Letter Line Meadow Mile Moon Morning Ocean Picture "
    "Promise Rain Road Shadow Shore Signal Snow Song Station Storm Street Summer Sunday Telephone Thread Tower "
    "Valley Window"
)


def artist_names(rng: np.random.Generator, count: int) -> list[str]:
    """`count` different names.

    >>> len(set(artist_names(np.random.default_rng(0), 80)))
    80
    """
    return [f"The {name}" for name in _pairs(rng, FIRST.split(), LAST.split())[:count]]


def title(seed: int, index: int) -> str:
    """The title of piece `index`; neighbours differ.

    >>> len({title(0, index) for index in range(1000)})
    1000
    """
    titles = _pairs(np.random.default_rng([seed, 3]), ADJECTIVES.split(), NOUNS.split())
    return titles[index % len(titles)]


def _pairs(rng: np.random.Generator, firsts: list[str], lasts: list[str]) -> list[str]:
    order = rng.permutation(len(firsts) * len(lasts))
    return [f"{firsts[number // len(lasts)]} {lasts[number % len(lasts)]}" for number in order]
