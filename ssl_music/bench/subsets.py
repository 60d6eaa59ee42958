"""Fewer labels, as if fewer had been made: random subsets of the tracks in which every tag keeps its share.

Iterative stratification (Sechidis, Tsoumakas & Vlahavas, ECML PKDD 2011, "On the stratification of multi-label data",
algorithm 1): of the tags that still want tracks, the one with the fewest tracks left is served first, for it cannot
be made up for later. Each takes a random one of its tracks; among these, one whose other tags still want it too.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssl_music.errors import UserError

SHOWN, DROPPABLE = 5, 20  # tags that an error names, and those that it offers to drop


def nested_subsets(
    targets: np.ndarray,
    ids: Sequence[str],
    groups: Sequence[str],
    *,
    tags: Sequence[str],
    fractions: Sequence[float],
    seed: int,
    where: str,
) -> list[np.ndarray]:
    """Which tracks belong to each fraction: one mask (N,) a fraction, each within the next larger one.

    A tag of n tracks has ⌊f · n + ½⌋ of them in fraction f, or as near as its tracks' other tags allow (a few more,
    not fewer), and of a tag that most tracks have the tracks without it keep their share too; where that is none, the
    fraction is an error that names the tag. Without tags (K = 0, a regression) tracks are drawn evenly.

    Tracks of one `group` (takes of a piece, clips of a recording) carry nearly the same information: one track of
    every group would be nearly all of it. So groups are drawn, and a group gives all its tracks before the next one
    is begun: a tenth of the labels comes from about a tenth of the groups, the last one cut short.

    The draw is a function of `seed` and of the tracks, not of their order, and a fraction that is added above the
    others leaves those as they are.

    Shape: targets (N, K) of 0 and 1.

    >>> genre = np.eye(2)[[0] * 60 + [1] * 20]
    >>> names = [f"{number}" for number in range(80)]
    >>> tenth, half = nested_subsets(
    ...     genre, names, [""] * 80, tags=["folk", "jazz"], fractions=[0.1, 0.5], seed=0, where="music"
    ... )
    >>> genre[tenth].sum(axis=0), genre[half].sum(axis=0), bool((half | tenth == half).all())
    (array([6., 2.]), array([30., 10.]), True)
    """
    kinds = _kinds(np.asarray(targets, np.float64).reshape(len(ids), len(tags)), tags)
    order = _drawn_order(ids, groups, seed)
    has = np.column_stack([kind.has for kind in kinds])[order]  # (N, J)
    totals = has.sum(axis=0)
    taken = np.zeros(len(ids), bool)
    masks = []
    for fraction in sorted(fractions):
        # a hair more, lest 0.29 · 50 come out below 14.5
        quotas = np.floor(fraction * totals + 0.5 + 1e-9)
        _check(fraction, quotas, totals, kinds, where)
        if fraction == 1:
            taken[:] = True
        else:
            _grow(taken, has, quotas)
        masks.append(taken[np.argsort(order)])
    return [masks[sorted(fractions).index(fraction)] for fraction in fractions]


def check_fractions(fractions: Sequence[float]) -> None:
    """Shares above 0 and up to 1, each once.

    >>> check_fractions([1, 10])
    Traceback (most recent call last):
    ...
    ssl_music.errors.UserError: fractions 1, 10: wanted shares above 0 and up to 1, each once, such as 0.01, 0.1, 1
    """
    if not fractions or len(set(fractions)) < len(fractions) or not all(0 < one <= 1 for one in fractions):
        came = ", ".join(f"{one:g}" for one in fractions) or "none"
        raise UserError(f"fractions {came}: wanted shares above 0 and up to 1, each once, such as 0.01, 0.1, 1")


class _Kind(NamedTuple):
    """A kind of tracks that keeps its share: those with a tag, those without one that most have, all."""

    name: str
    tag: str
    has: np.ndarray  # (N,)


def _kinds(targets: np.ndarray, tags: Sequence[str]) -> list[_Kind]:
    kinds = [_Kind(f"with {tag!r}", tag, column) for tag, column in zip(tags, targets.T, strict=True)]
    if not (targets.sum(axis=1) == 1).all():  # else the other tags are what is without it
        kinds += [
            _Kind(f"without {tag!r}", tag, 1 - column)
            for tag, column in zip(tags, targets.T, strict=True)
            if column.mean() > 0.5
        ]
    return [*kinds, _Kind("at all", "", np.ones(len(targets)))]


def _drawn_order(ids: Sequence[str], groups: Sequence[str], seed: int) -> np.ndarray:
    """Row numbers, group by group in a drawn order, and within each group in a drawn order too. Shape: (N,)."""
    generator = np.random.default_rng(seed)
    units = np.array([group or f"\0{name}" for name, group in zip(ids, groups, strict=True)])
    ranks = []
    for names in (units, np.array(ids)):
        known, place = np.unique(names, return_inverse=True)  # sorted: the order of the tracks does not matter
        ranks.append(generator.permutation(len(known))[place])
    return np.lexsort(ranks[::-1])


def _grow(taken: np.ndarray, has: np.ndarray, quotas: np.ndarray) -> None:
    """Adds tracks to `taken` until no quota is open. The last kind, all tracks, is the most frequent one."""
    have, left = has[taken].sum(axis=0), has[~taken].sum(axis=0)
    while (open_ := have < quotas).any():
        kind = np.flatnonzero(open_)[np.argmin(left[open_])]
        candidates = np.flatnonzero(~taken & (has[:, kind] > 0))
        beyond = has[candidates] @ (have >= quotas)  # how many of its kinds have enough
        chosen = candidates[np.argmin(beyond)]  # the first of equals, in the order drawn
        taken[chosen] = True
        have, left = have + has[chosen], left - has[chosen]


def _check(fraction: float, quotas: np.ndarray, totals: np.ndarray, kinds: Sequence[_Kind], where: str) -> None:
    lost = [(kind, int(total)) for kind, quota, total in zip(kinds, quotas, totals, strict=True) if not quota]
    if not lost:
        return
    enough = math.ceil(0.5 / min(total for _, total in lost) * 1e4) / 1e4
    named = ", ".join(f"{kind.name} ({total} there)" for kind, total in lost[:SHOWN])
    more = f" and {len(lost) - SHOWN} more kinds" if len(lost) > SHOWN else ""
    tags = sorted({kind.tag for kind, _ in lost if kind.tag})
    others = {kind.tag for kind in kinds} - {*tags, ""}
    drop = f", or leave tags out: drop={tags}" if len(others) > 1 and 0 < len(tags) <= DROPPABLE else ""
    raise UserError(
        f"{where}: a fraction of {fraction:g} of {int(totals[-1])} labelled tracks leaves no track {named}{more}; "
        f"begin with {enough:g}{drop}"
    )
