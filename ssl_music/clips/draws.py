"""Random numbers without state: a hash of (seed, epoch, index, …), the same everywhere and in any order.

SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014): each word is mixed
into the hash of those before it.
"""

import numpy as np
from numpy.typing import ArrayLike

_WORD = (1 << 64) - 1
# what a number is drawn for, so that the order of tracks says nothing about where their crops lie
ORDER, CROP = 1, 2


def mixed(*words: ArrayLike) -> np.ndarray:
    """64 well-mixed bits of the words, broadcast against each other.

    The first output of SplitMix64 seeded with 0 (Vigna's reference code gives the same):

    >>> hex(int(mixed(0)))
    '0xe220a8397b1dcdaf'
    """
    bits = np.zeros((), np.uint64)
    with np.errstate(over="ignore"):
        for word in words:
            bits = bits ^ (np.uint64(word & _WORD) if isinstance(word, int) else np.asarray(word).astype(np.uint64))
            bits = bits + np.uint64(0x9E3779B97F4A7C15)
            bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            bits = bits ^ (bits >> np.uint64(31))
    return bits


def uniform(*words: ArrayLike) -> np.ndarray:
    """Numbers in [0, 1), from the upper 53 bits.

    >>> uniform(1, np.arange(3))
    array([0.37, 0.91, 0.74])
    """
    return (mixed(*words) >> np.uint64(11)) * 2.0**-53


def below(limit: np.ndarray, *words: ArrayLike) -> np.ndarray:
    """Whole numbers in [0, limit), limit ≥ 1."""
    return (uniform(*words) * limit).astype(np.int64)


def permutation(count: int, *words: ArrayLike) -> np.ndarray:
    """The numbers 0 … count - 1 in an order that the words decide.

    >>> permutation(5, 42, 0)
    array([4, 3, 0, 1, 2])
    """
    return np.argsort(mixed(*words, np.arange(count)), kind="stable")
