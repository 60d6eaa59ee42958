"""Two kinds of examples in equal parts, such as labelled and unlabelled ones: the larger once an epoch, the smaller
as often as it takes."""

import numpy as np

from ssl_music.clips import draws


def interleaved(first: np.ndarray, second: np.ndarray, *, seed: int, epoch: int, shuffle: bool) -> np.ndarray:
    """The slots of an epoch: one of `first`, one of `second`, and so on, until the larger kind was visited once.

    Any even number of slots from an even place on is half of each kind: batches, and the shares of ranks in them.
    The smaller kind begins anew in a fresh order whenever it is at its end; a slot is the number of an example plus
    the passes before it times the number of all examples, so that a repeated track has other crops.

    Shape: first (N,), second (M,), together the numbers 0 … N + M - 1 → (2 · max(N, M),).

    >>> interleaved(np.array([0, 1]), np.array([2, 3, 4]), seed=0, epoch=0, shuffle=False)
    array([0, 2, 1, 3, 5, 4])
    """
    longest, total = max(len(first), len(second)), len(first) + len(second)

    def visited(kind: np.ndarray, number: int) -> np.ndarray:
        passes = [
            again * total + kind[draws.permutation(len(kind), seed, draws.ORDER, epoch, number, again)]
            if shuffle
            else again * total + kind
            for again in range(-(-longest // len(kind)))
        ]
        return np.concatenate(passes)[:longest]

    return np.stack([visited(first, 1), visited(second, 2)], axis=1).reshape(-1)
