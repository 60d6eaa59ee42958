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
    fraction is an error that names the tag. Tracks of one `group` come together, for a further take of the same piece
    is hardly a further label: then shares are those that whole groups can give.
    Without tags (K = 0, a regression) tracks are drawn evenly. The draw is a function of `seed` and of the tracks,
    not of their order, and a fraction that is added above the others leaves those as they are.

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
    units = [group or f"\0{name}" for name, group in zip(ids, groups, strict=True)]
    names, unit = np.unique(np.array(units), return_inverse=True)  # sorted: the order of the tracks does not matter
    unit = np.random.default_rng(seed).permutation(len(names))[unit]  # a number for each unit, drawn
    counts = np.zeros((len(names), len(kinds)))  # (G, J): how many tracks of each kind
    np.add.at(counts, unit, np.column_stack([kind.has for kind in kinds]))
    totals = counts.sum(axis=0)
    taken = np.zeros(len(names), bool)
    masks = []
    for fraction in sorted(fractions):
        # a hair more, lest 0.29 · 50 come out below 14.5
        quotas = np.floor(fraction * totals + 0.5 + 1e-9)
        _check(fraction, quotas, totals, kinds, where)
        if fraction == 1:
            taken[:] = True
        else:
            _grow(taken, counts, quotas)
        masks.append(taken[unit])
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


def _grow(taken: np.ndarray, counts: np.ndarray, quotas: np.ndarray) -> None:
    """Adds units to `taken` until no quota is open. The last kind, all tracks, is the most frequent one."""
    have = counts[taken].sum(axis=0)
    left = counts[~taken].sum(axis=0)
    closed = np.zeros(len(quotas), bool)
    while (open_ := (have < quotas) & ~closed).any():
        kind = np.flatnonzero(open_)[np.argmin(left[open_])]
        candidates = np.flatnonzero(~taken & (counts[:, kind] > 0))
        beyond = np.maximum(counts[candidates] - np.maximum(quotas - have, 0), 0).sum(axis=1)
        chosen = candidates[np.argmin(beyond)]  # units are numbered at random, so that the first of equals is drawn
        short = quotas[kind] - have[kind]
        if have[kind] and counts[chosen, kind] - short >= short:  # a group so large that without it one is nearer
            closed[kind] = True
            continue
        taken[chosen] = True
        have, left = have + counts[chosen], left - counts[chosen]


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
