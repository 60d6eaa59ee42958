"""Every genre by name. An artist's number fixes its home, so the order is part of the music."""

from ssl_music.catalogs.synthesis.genres_acoustic import BLUES, BOSSA, FOLK, MARCH, ROCK, WALTZ
from ssl_music.catalogs.synthesis.genres_electronic import AMBIENT, CHIPTUNE, HOUSE, TECHNO

GENRES = {genre.name: genre for genre in (AMBIENT, TECHNO, HOUSE, WALTZ, BLUES, ROCK, CHIPTUNE, FOLK, MARCH, BOSSA)}
