"""Which recordings share audio, by their fingerprints: exact look-ups give alignments, bit errors decide.

As in Haitsma & Kalker (ISMIR 2002), section 5: of the thousands of frames of two copies some are free of errors, so
it is enough to look at the alignments at which frames are equal. A block of 256 frames (3 s) is the same audio where
few of its bits differ. The paper calls 35 % few; here it is 30 %: of all pairs among 1,197 clips of music, two of
different compositions were below .35, none below .30, and clips through mp3 and Vorbis stand at medians of .03 to .09
and at .21 at most (benchmarks/results/fingerprint.md).
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from ssl_music.fingerprint.bits import HOP_SECONDS

BLOCK_FRAMES = 256  #: 3 s
#: what is shorter than this half block, or holds fewer frames with something to compare, is not matched
SHORTEST_FRAMES = 128
LIMIT = 0.30
#: equal frames at one alignment that make it worth a look
HITS = 2
#: alignments of two recordings that are looked at, those with most equal frames first
ALIGNMENTS = 8
LOOKED_UP_AT_ONCE = 1 << 16
_ZERO = 1 << 31  # of alignments, which may be negative
_BITS = np.unpackbits(np.arange(1 << 16, dtype=np.uint16).view(np.uint8).reshape(-1, 2), axis=1).sum(
    axis=1, dtype=np.uint8
)


class Match(NamedTuple):
    """A passage of a query that is in a reference too; seconds from the beginnings of the recordings."""

    query: str
    reference: str
    query_seconds: float
    reference_seconds: float
    seconds: float  #: how long the passage is
    bit_error_rate: float  #: of the best 3 s


def near_duplicates(
    queries: Mapping[str, np.ndarray], references: Mapping[str, np.ndarray], *, progress: bool = True
) -> list[Match]:
    """The pairs of recordings that share at least 3 s of audio (or all of it, from 1.9 s on), best first.

    Fingerprints (F,) uint32 by id, a dictionary or `Fingerprints`; of the queries 12 bytes a frame are held, of the
    references one at a time. Copies are found through mp3 and Vorbis, gain, resampling and a different beginning,
    most through noise and at a speed of 1 % more; not in another tempo or key, and of single notes of two and three
    seconds many are not found (benchmarks/results/fingerprint.md). Frames without change (silence, held tones) are
    never compared. Bits that are alike because each recording has hardly any variation in them prove nothing: the
    error rate must also be at most 60 % of that between recordings with the same share of ones in each bit.

    >>> noise = np.random.default_rng(0).integers(1, 2**32, 3000, dtype=np.uint32)
    >>> (match,) = near_duplicates({"copy": noise[1000:2000]}, {"song": noise, "other": noise[::-1]}, progress=False)
    >>> match.reference, match.reference_seconds, match.seconds, match.bit_error_rate
    ('song', 11.61, 11.61, 0.0)
    """
    index = _Index(queries)
    found: list[Match] = []
    for name in tqdm(references, unit="track", desc="comparing", disable=None if progress else True):
        prints = references[name]
        alignments = sorted(index.alignments(prints), key=lambda one: one[0])
        best: dict[str, Match] = {}
        for query, offset in alignments:
            match = _compared(query, queries[query], name, prints, offset)
            if match and (query not in best or match.bit_error_rate < best[query].bit_error_rate):
                best[query] = match
        found += best.values()
    return sorted(found, key=lambda match: (match.bit_error_rate, match.query, match.reference))


class _Index:
    """Where each sub-fingerprint of the queries is. Of equal ones in a row the first is kept."""

    def __init__(self, queries: Mapping[str, np.ndarray]) -> None:
        self.names = list(queries)
        kept = [_beginnings(queries[name]) for name in self.names]
        values = np.concatenate(
            [np.empty(0, np.uint32), *(queries[n][at] for n, at in zip(self.names, kept, strict=True))]
        )
        order = np.argsort(values, kind="stable")
        self.values = values[order]
        self.owners = np.repeat(np.arange(len(kept), dtype=np.int32), [len(at) for at in kept])[order]
        self.frames = np.concatenate([np.empty(0, np.int32), *kept])[order].astype(np.int32)

    def alignments(self, prints: np.ndarray) -> Iterator[tuple[str, int]]:
        """Query and frame of the query less frame of `prints`, for every alignment that is worth a look."""
        at = _beginnings(prints)
        keys = [np.empty(0, np.int64)]
        for first in range(0, len(at), LOOKED_UP_AT_ONCE):
            some = at[first : first + LOOKED_UP_AT_ONCE]
            low, high = (np.searchsorted(self.values, prints[some], side) for side in ("left", "right"))
            count = high - low
            entries = np.repeat(low - np.cumsum(count) + count, count) + np.arange(count.sum())
            offsets = self.frames[entries].astype(np.int64) - np.repeat(some, count)
            keys.append((self.owners[entries].astype(np.int64) << 32) + offsets + _ZERO)
        key, hits = np.unique(np.concatenate(keys), return_counts=True)
        # the grids of frames of two copies need not lie on each other: an alignment counts with its neighbours
        beside = np.diff(key) == 1
        total = hits.copy()
        total[1:] += beside * hits[:-1]
        total[:-1] += beside * hits[1:]
        key, total = key[total >= HITS], total[total >= HITS]
        owner = key >> 32
        order = np.lexsort((-total, owner))
        taken: dict[int, int] = {}
        for entry in order:
            query = int(owner[entry])
            taken[query] = taken.get(query, 0) + 1
            if taken[query] <= ALIGNMENTS:
                yield self.names[query], int(key[entry] & 0xFFFFFFFF) - _ZERO


def _beginnings(prints: np.ndarray) -> np.ndarray:
    """The frames that are not zero and not as the one before."""
    return np.flatnonzero((prints != 0) & np.append(True, prints[1:] != prints[:-1])[: len(prints)])


def _compared(query: str, ours: np.ndarray, reference: str, theirs: np.ndarray, offset: int) -> Match | None:
    """The passage in which frame n of `theirs` is frame n + offset of `ours`; None where there is none."""
    first, behind = max(0, -offset), min(len(theirs), len(ours) - offset)
    size = min(BLOCK_FRAMES, behind - first)
    if size < SHORTEST_FRAMES:
        return None
    ours, theirs = ours[first + offset : behind + offset], theirs[first:behind]
    heard = (ours != 0) & (theirs != 0)
    count = _windows(heard, size)
    wrong = np.where(heard, _ones(ours ^ theirs), 0)
    rate = _windows(wrong, size) / np.maximum(32 * count, 1)
    # as many deviations from one half for fewer frames: the deviation goes with the root of their number
    limit = 0.5 - (0.5 - LIMIT) * np.sqrt(BLOCK_FRAMES / np.maximum(count, 1))
    same = (count >= SHORTEST_FRAMES) & (rate <= limit)
    if not same.any():
        return None
    best = int(np.where(same, rate, 1.0).argmin())
    block = slice(best, best + size)
    expected = _expected(ours[block][heard[block]], theirs[block][heard[block]])
    if rate[best] > expected * 2 * limit[best]:
        return None
    # the passage around this block: as far as errors stay nearer to those of the block than to one half
    score = np.concatenate([[0.0], np.cumsum(np.where(heard, 16 * (rate[best] + 0.5) - wrong, 0))])
    begin = int(score[: best + 1].argmin())
    end = best + size + int(score[best + size :].argmax())
    return Match(
        query,
        reference,
        round((first + offset + begin) * HOP_SECONDS, 2),
        round((first + begin) * HOP_SECONDS, 2),
        round((end - begin) * HOP_SECONDS, 2),
        round(float(rate[best]), 4),
    )


def _windows(values: np.ndarray, size: int) -> np.ndarray:
    """Sums over every `size` neighbours. Shape: (F,) → (F − size + 1,)."""
    total = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    return total[size:] - total[:-size]


def _ones(values: np.ndarray) -> np.ndarray:
    """How many bits are 1. Shape: (F,) uint32 → (F,)."""
    halves = _BITS[np.ascontiguousarray(values).view(np.uint16)].reshape(-1, 2)
    return halves[:, 0] + halves[:, 1]


def _expected(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The bit error rate of unrelated recordings with as many ones in each bit as these."""
    share, other = (
        np.unpackbits(np.ascontiguousarray(one).view(np.uint8)).reshape(-1, 32).mean(axis=0) for one in (ours, theirs)
    )
    return float((share * (1 - other) + other * (1 - share)).mean())
