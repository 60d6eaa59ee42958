"""The classifier that fits nothing: a vote of the nearest items."""

import numpy as np

#: of the weights exp(similarity / τ) of neighbours: Wu et al. 2018, arXiv 1805.01978, section 3.4
TEMPERATURE = 0.07
#: numbers in one block of similarities: 32 MB
BLOCK_NUMBERS = 1 << 22


def neighbour_scores(known: np.ndarray, targets: np.ndarray, asked: np.ndarray, neighbours: int) -> np.ndarray:
    """What share of the nearest known rows has each tag, by cosine around the mean of the known.

    A neighbour weighs exp(similarity / 0.07), as in Wu et al. 2018 (arXiv 1805.01978, section 3.4). Targets that are
    numbers are averaged with these weights.

    Shape: known (M, D), targets (M, K), asked (N, D) → (N, K).

    >>> known, targets = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]), np.eye(3)
    >>> neighbour_scores(known, targets, np.array([[2.0, 0.1]]), neighbours=2).round(3)
    array([[1., 0., 0.]])
    """
    middle = known.mean(axis=0)
    units = _unit(known - middle)
    scores = np.empty((len(asked), targets.shape[1]))
    block = max(1, BLOCK_NUMBERS // len(known))
    for start in range(0, len(asked), block):
        some = slice(start, start + block)
        similarity = _unit(asked[some] - middle) @ units.T  # (n, M)
        nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :neighbours]  # (n, k)
        near = np.take_along_axis(similarity, nearest, axis=1)
        weights = np.exp((near - near[:, :1]) / TEMPERATURE)
        weights /= weights.sum(axis=1, keepdims=True)
        scores[some] = np.einsum("nk,nkt->nt", weights, targets[nearest])
    return scores


def _unit(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)
