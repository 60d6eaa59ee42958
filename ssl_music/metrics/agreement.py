"""How much a prediction as a whole looks like the tags of an item."""

import numpy as np

from ssl_music.metrics.base import targets_and_scores, weighted_mean, weighting


def average_cosine_similarity(
    targets: np.ndarray, scores: np.ndarray, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Mean over items of t · y / (|t| |y|), between the 0/1 vector of an item's tags and the vector of its scores.

    Items without a tag have no direction and are left out; scores that are all 0 have a similarity of 0. Shape:
    (N, K), (N, K) → (), or (R,) with weights (R, N).

    >>> float(average_cosine_similarity(np.array([[1, 0], [1, 1]]), np.array([[0.6, 0.8], [0.5, 0.5]])))
    0.8
    """
    targets, scores = targets_and_scores(targets, scores)
    lengths = np.linalg.norm(scores, axis=1)
    along = (targets * scores).sum(axis=1) / np.where(lengths > 0, lengths, 1.0)
    with np.errstate(invalid="ignore"):  # 0/0 is meant: no tags
        cosines = along / np.linalg.norm(targets, axis=1)
    return weighted_mean(cosines, weighting(weights, len(targets)))
