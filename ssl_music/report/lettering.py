"""Names at a size: how wide they are, shortened to fit, flowing over lines, and kept apart.

Figures with names from outside are laid out by these widths and not by the renderer's: Matplotlib's own font lacks
many scripts and draws a small box for what a browser will draw as a letter twice as wide.
"""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from matplotlib import font_manager

from ssl_music.report.figures import FONT, drawable

POINTS_PER_INCH = 72
WIDE_EM, OTHER_EM, EMOJI_EM = 1.0, 0.75, 1.4  #: of letters that the font lacks; em is the size of the type
BOLD = 1.14  #: how much wider bold type is
_HINTED = 1.03  # how much wider than its outline a letter gets at most where it is fitted to pixels


def width_inches(text: str, *, points: float) -> float:
    """How wide a line of text is.

    >>> width_inches("日本", points=72), 1.9 < width_inches("WW", points=72) < 2.1
    (2.0, True)
    """
    return sum(_advance_em(letter) for letter in text) * points / POINTS_PER_INCH


def shortened(text: str, *, inches: float, points: float) -> str:
    """The text where it fits, else without its middle: names that begin alike often differ at the end.

    >>> shortened("simclr-of-a-thousand-hours-seed-1", inches=1.3, points=9)
    'simclr-of-…s-seed-1'
    """
    text = drawable(text).strip()
    if width_inches(text, points=points) <= inches:
        return text
    kept = next((n for n in range(len(text) - 1, 0, -1) if _halved_width(text, n, points) <= inches), 1)
    return _halved(text, kept)


def flowed(words: Sequence[str], *, inches: float, points: float, lines: int = 6) -> list[str]:
    """Words, with commas, as lines no wider than `inches`; of more lines than `lines`, the last tells what is left.

    >>> flowed(["calm", "dark", "happy", "sad"], inches=1.0, points=9)
    ['calm, dark,', 'happy, sad']
    >>> flowed(["calm", "dark", "happy", "sad"], inches=1.2, points=9, lines=1)
    ['calm, and 3 more']
    """
    fitting = inches - width_inches(",", points=points)
    words = [shortened(word, inches=fitting, points=points) for word in words]
    pieces = [f"{word}," for word in words[:-1]] + words[-1:]
    made = _filled(pieces, inches, points)
    kept = sum(line.count(",") + 1 for line in made[:lines])  # enough to start from: a word may hold commas
    while len(made) > lines and kept > 0:
        kept = min(kept, len(words)) - 1
        made = _filled([*pieces[:kept], f"and {len(words) - kept:,} more"], inches, points)
    return made


def wrapped(text: str, *, inches: float, points: float) -> list[str]:
    """A text as lines no wider than `inches`, broken between words.

    >>> wrapped("line: 95 % interval; dashed: chance", inches=1.5, points=9)
    ['line: 95 % interval;', 'dashed: chance']
    """
    return _filled(text.split(), inches, points)


def apart(wanted: Sequence[float] | np.ndarray, *, gap: float, low: float, high: float) -> np.ndarray:
    """Places as near (least squares) to those wanted as can be, `gap` or more apart, in order, within low and high.

    Labels beside the ends of lines. Less the gaps, such places are a rising sequence: isotonic regression (pool
    adjacent violators). Where there is no room for the gap, it is what room there is.

    >>> apart([1.0, 1.0, 5.0], gap=1.0, low=0.0, high=9.0)
    array([0.5, 1.5, 5. ])
    """
    wanted = np.asarray(wanted, float)
    if len(wanted) < 2:
        return np.clip(wanted, low, high)
    gap = min(gap, (high - low) / (len(wanted) - 1))
    order = np.argsort(wanted, kind="stable")
    steps = gap * np.arange(len(wanted))
    pools: list[list[float]] = []  # sum, count
    for value in wanted[order] - steps:
        pools.append([value, 1])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            total, count = pools.pop()
            pools[-1] = [pools[-1][0] + total, pools[-1][1] + count]
    level = np.concatenate([[total / count] * int(count) for total, count in pools])
    placed = np.empty(len(wanted))
    placed[order] = np.clip(level, low, high - steps[-1]) + steps
    return placed


@lru_cache(maxsize=4096)
def _advance_em(letter: str) -> float:
    if unicodedata.combining(letter):
        return 0.0
    font = font_manager.get_font(font_manager.findfont(FONT))
    if font.get_char_index(ord(letter)):
        font.set_size(POINTS_PER_INCH, POINTS_PER_INCH)
        return _HINTED * font.load_char(ord(letter)).linearHoriAdvance / 65536 / POINTS_PER_INCH
    if unicodedata.east_asian_width(letter) not in "WF":
        return OTHER_EM
    return EMOJI_EM if unicodedata.category(letter) == "So" else WIDE_EM


def _halved(text: str, kept: int) -> str:
    head, tail = kept - kept * 4 // 9, kept * 4 // 9
    return f"{text[:head].rstrip()}…{text[len(text) - tail :].lstrip()}"


def _halved_width(text: str, kept: int, points: float) -> float:
    return width_inches(_halved(text, kept), points=points)


def _filled(pieces: Sequence[str], inches: float, points: float) -> list[str]:
    """Pieces set one after the other, a new line where one would not fit."""
    space = width_inches(" ", points=points)
    lines: list[list[str]] = []
    room = -1.0
    for piece in pieces:
        width = width_inches(piece, points=points)
        if not lines or width > room:
            lines.append([])
            room = inches
        lines[-1].append(piece)
        room -= width + space
    return [" ".join(line) for line in lines]
