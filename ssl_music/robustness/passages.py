"""A track of any length through an effect, in passages of bounded length, so that ten hours cost no more than a song.

A track of up to a minute is altered as a whole. A longer one is cut into passages of half a minute; each is altered
together with what comes before and after it, as far as the effect asks for that (the tail of a room, the first frames
of a codec), and where an effect looks ahead, neighbours are faded into each other over 20 ms.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ssl_music.errors import UserError

PASSAGE_SECONDS = 30.0
FADE_SECONDS = 0.02


@dataclass(frozen=True)
class Effect:
    """What is done to a wave.

    `change` takes a passage (T,) float32 and its number in the track, and returns T / speed samples or some more. It
    needs `before_seconds` of music in front and `after_seconds` behind for its answer to be right. `skip_seconds` of
    the track are left out before anything else; without a `change` that is all.
    """

    change: Callable[[np.ndarray, int], np.ndarray] | None = None
    before_seconds: float = 0.0
    after_seconds: float = 0.0
    speed: float = 1.0
    skip_seconds: float = 0.0


class _Passage(NamedTuple):
    """`wave` begins at sample `begins` of the track; what is to be altered for good goes from `start` to `stop`."""

    wave: np.ndarray
    begins: int
    start: int
    stop: int


def altered(
    blocks: Iterable[np.ndarray], effect: Effect, *, sample_rate: int, least_samples: int = 1
) -> Iterator[np.ndarray]:
    """The track after the effect. A track shorter than `least_samples` is looped to that length before its change.

    Raises UserError where the track ends before `skip_seconds`. Shape: blocks (n,) float32 → blocks (n,) float32.

    >>> half = Effect(lambda wave, number: wave / 2)
    >>> np.concatenate(list(altered([np.ones(3), np.ones(2)], half, sample_rate=8000)))
    array([0.5, 0.5, 0.5, 0.5, 0.5])
    """
    blocks = _behind(blocks, round(effect.skip_seconds * sample_rate), effect.skip_seconds)
    if effect.change is None:
        yield from blocks
        return
    fade = round(min(effect.after_seconds, FADE_SECONDS) * sample_rate)
    tail = np.empty(0, np.float32)  # of the last passage, which fades out into the next
    for number, passage in enumerate(_passages(blocks, effect, sample_rate, fade, least_samples)):
        changed = effect.change(passage.wave, number)
        first = round(passage.begins / effect.speed)
        start, stop = (round(at / effect.speed) - first for at in (passage.start, passage.stop))
        out = changed[start:stop].copy()
        if len(tail):
            rise = (np.arange(len(tail), dtype=np.float32) + 0.5) / len(tail)
            out[: len(tail)] = tail * (1 - rise) + out[: len(tail)] * rise
        yield out
        tail = changed[stop : stop + fade]


def _passages(
    blocks: Iterable[np.ndarray], effect: Effect, sample_rate: int, fade: int, least_samples: int
) -> Iterator[_Passage]:
    """Passages with what the effect asks for around them; the last is up to twice as long as the others."""
    core, before, after = (
        round(seconds * sample_rate) for seconds in (PASSAGE_SECONDS, effect.before_seconds, effect.after_seconds)
    )
    held, begins, start = np.empty(0, np.float32), 0, 0  # held[0] is sample number `begins` of the track
    for block in blocks:
        held = np.concatenate([held, block])
        while begins + len(held) - start >= 2 * core + after + fade:
            yield _Passage(held[: start + core + after + fade - begins], begins, start, start + core)
            start += core
            dropped = max(0, start - before - begins)
            held, begins = held[dropped:], begins + dropped
    if len(held) < least_samples and not begins:
        held = np.resize(held, least_samples)
    yield _Passage(held, begins, start, begins + len(held))


def _behind(blocks: Iterable[np.ndarray], skip: int, seconds: float) -> Iterator[np.ndarray]:
    """The blocks without their first `skip` samples."""
    left, samples = skip, 0
    for block in blocks:
        samples += len(block)
        if left < len(block):
            yield block[left:]
        left = max(0, left - len(block))
    if samples <= skip:
        raise UserError(f"ends before {seconds:g} s, where it was to begin")
