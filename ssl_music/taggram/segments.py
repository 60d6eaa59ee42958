"""A song's segments and what each is tagged as."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ssl_music.errors import UserError
from ssl_music.taggram.poolings import THRESHOLD, pool


@dataclass(frozen=True, eq=False)
class Taggram:
    """The scores that the segments of one song got for each tag.

    A segment lasts `window_seconds` from its entry in `starts_seconds`; a song shorter than one window is one
    segment. `multi_label` says whether tags go together or share one probability.

    Shape: starts_seconds (n,), scores (n, K) in the order of `tags`.

    >>> scores = np.array([[0.9, 0.1], [0.3, 0.7]])
    >>> taggram = Taggram(["calm", "loud"], np.array([0.0, 3.0]), 3.0, scores, multi_label=False)
    >>> taggram.pooled(), taggram.top(1), taggram.rows()[1]
    (array([0.6, 0.4]), ['calm'], {'start_seconds': 3.0, 'end_seconds': 6.0, 'calm': 0.3, 'loud': 0.7})
    """

    tags: list[str]
    starts_seconds: np.ndarray
    window_seconds: float
    scores: np.ndarray
    multi_label: bool

    def __post_init__(self) -> None:
        wanted = (len(self.starts_seconds), len(self.tags))
        if np.shape(self.scores) != wanted or not wanted[0]:
            raise UserError(f"a taggram wants scores of {wanted}, one row a segment; came {np.shape(self.scores)}")

    def pooled(self, pooling: str = "mean", *, thresholds: np.ndarray | float = THRESHOLD) -> np.ndarray:
        """The song's score for each tag, as `pool`. Shape: (K,)."""
        return pool(self.scores, pooling, multi_label=self.multi_label, thresholds=thresholds)

    def top(self, count: int, pooling: str = "mean") -> list[str]:
        """The tags that the song scores highest for, the highest first; of equals, those that come first."""
        return [self.tags[index] for index in np.argsort(-self.pooled(pooling), kind="stable")[:count]]

    def rows(self) -> list[dict[str, Any]]:
        """One row a segment: when it begins and ends, and its score for every tag."""
        spans = [(float(start), float(start) + self.window_seconds) for start in self.starts_seconds]
        return [
            {"start_seconds": round(start, 3), "end_seconds": round(end, 3)}
            | {tag: round(float(score), 4) for tag, score in zip(self.tags, row, strict=True)}
            for (start, end), row in zip(spans, self.scores, strict=True)
        ]
