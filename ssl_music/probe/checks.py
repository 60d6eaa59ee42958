"""What is checked before a probe is fitted: an error where no score can be had, a warning where only some can."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from ssl_music.errors import UserError, unknown_name
from ssl_music.vectors import Vectors

#: tags whose counts an error shows, and how many it offers to drop: beyond, the split does not suit the column
SHOWN, DROPPABLE = 3, 20
#: what becomes of a probe whose test split shares groups with what it is fitted on
SHARING = ("refuse", "allow")


def check_rows(vectors: Vectors, column: str, splits: Mapping[str, str], rows: Mapping[str, np.ndarray]) -> None:
    """Every split has labelled tracks, no track stands in two, every vector is finite."""
    for role, found in rows.items():
        if not len(found):
            raise UserError(
                f"{vectors.root}: no track of the {role} split {splits[role]!r} has a tag in the column {column!r}; "
                "name another split, or label some"
            )
    together = np.concatenate(list(rows.values()))
    if len(np.unique(together)) < len(together):
        names = ", ".join(f"{role} {split!r}" for role, split in splits.items())
        raise UserError(f"{vectors.root}: the splits {names} share tracks; a probe wants three that share none")
    broken = together[~np.isfinite(vectors.pooled[together]).all(axis=1)]
    if len(broken):
        raise UserError(
            f"{vectors.root}: {len(broken)} of {len(together)} tracks have vectors with NaN or Inf, the first is "
            f"{vectors.rows[broken[0]].id!r}; the encoder has diverged: embed again with sound weights"
        )


def check_single_label(where: str, targets: Mapping[str, np.ndarray], tags: list[str]) -> None:
    """Each track has one tag, and there are two tags or more."""
    several = sum(int((matrix.sum(axis=1) > 1).sum()) for matrix in targets.values())
    if several:
        raise UserError(
            f"{where} is single-label, but {several} tracks have more than one of its tags; "
            "declare it multi-label in the catalog, or give each track one tag"
        )
    if len(tags) < 2:
        raise UserError(f"{where} has one tag only, {tags[0]!r}: there is nothing to tell apart")


def check_train(where: str, splits: Mapping[str, str], targets: Mapping[str, np.ndarray], tags: list[str]) -> None:
    """Every tag needs a track in train that has it, and one that has it not."""
    support = {role: matrix.sum(axis=0).astype(int) for role, matrix in targets.items()}
    absent = [index for index in range(len(tags)) if not support["train"][index]]
    full = [index for index in range(len(tags)) if support["train"][index] == len(targets["train"])]
    for indices, what in ((absent, "no"), (full, "every")):
        if indices:
            counts = "; ".join(
                f"{tags[index]}: {support['valid'][index]} in {splits['valid']!r}, "
                f"{support['test'][index]} in {splits['test']!r}"
                for index in indices[:SHOWN]
            )
            more = f"; and {len(indices) - SHOWN} more" if len(indices) > SHOWN else ""
            named = [tags[index] for index in indices]
            drop = f", or leave them out: drop={named}" if len(named) <= DROPPABLE else ""
            raise UserError(
                f"{where}: {what} track of the train split {splits['train']!r} has these tags, so they cannot be "
                f"learnt ({counts}{more}). Split anew{drop}"
            )


def unscored(where: str, split: str, targets: np.ndarray, tags: Sequence[str]) -> list[str]:
    """The tags that have no score in a split, which a warning names; all of them are an error."""
    found = constant(targets, tags)
    if len(found) == len(tags):
        raise UserError(f"{where}: nothing can be scored in {split!r}, whose tracks all have the same labels")
    if found:
        message = f"{where}: not scored in {split!r}, where no track or every track has the tag: {', '.join(found)}"
        warnings.warn(message, stacklevel=5)
    return found


def constant(targets: np.ndarray, tags: Sequence[str]) -> list[str]:
    """The tags of no track or of every track, numbers that are all the same: there is no score of them."""
    return [tag for tag, spread in zip(tags, np.ptp(targets, axis=0).tolist(), strict=True) if not spread]


def groups_on_both_sides(
    where: str, splits: Mapping[str, str], groups: Mapping[str, set[str]], shared_groups: str
) -> list[str]:
    """Groups with tracks in the test split and in what is fitted on: refused, or told of where they are allowed."""
    if shared_groups not in SHARING:
        raise unknown_name("shared_groups", shared_groups, list(SHARING))
    shared = sorted(((groups["train"] | groups["valid"]) & groups["test"]) - {""})
    if shared:
        told = (
            f"{where}: {len(shared)} groups have tracks in {splits['test']!r} and in {splits['train']!r} or "
            f"{splits['valid']!r}, the first is {shared[0]!r}: scores would be too good; split by group"
        )
        if shared_groups == "refuse":
            raise UserError(f"{told}, or say shared_groups allow to have the number all the same")
        warnings.warn(told, stacklevel=5)
    return shared


@contextmanager
def told_before() -> Iterator[None]:
    """Without the warnings of these checks: for fits to the same labels again."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*: (not scored in|\d+ groups have tracks in) ")
        yield
