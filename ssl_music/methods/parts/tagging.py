"""What methods that learn tags are put together from: which tags, who has them, the head for them, their losses."""

import warnings
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from scipy.special import entr
from torch import Tensor
from torch.nn import functional

from ssl_music.catalogs import Catalog, Track, missing_positives
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError, unknown_name
from ssl_music.losses import soft_binary_cross_entropy, soft_cross_entropy
from ssl_music.losses.base import at_least_float32
from ssl_music.methods.base import Method
from ssl_music.tagger import Tagger


def chosen_tags(catalog: Catalog, column: str | None, tags: Sequence[str] | None = None) -> list[str]:
    """Those of `tags` in the order of the head; None is every tag of the column."""
    column = catalog.column(column)
    known = catalog.tags(column)
    for tag in tags or ():
        if tag not in known:
            raise unknown_name(f"tag of the column {column!r}", tag, known)
    return known if tags is None else [tag for tag in known if tag in tags]


def tag_targets(
    catalog: Catalog, tracks: Sequence[Track], column: str | None, tags: Sequence[str] | None = None
) -> np.ndarray:
    """1 where a track has a chosen tag; a row of zeros is a track without labels. Shape: (N, K) float32."""
    column = catalog.column(column)
    places = [catalog.tags(column).index(tag) for tag in chosen_tags(catalog, column, tags)]
    return catalog.targets(tracks, column)[:, places]


def labelled_examples(
    catalog: Catalog, tracks: Sequence[Track], column: str | None, tags: Sequence[str] | None = None
) -> tuple[list[Track], np.ndarray]:
    """The tracks with at least one chosen tag, and their targets (N, K); none at all is an error."""
    targets = tag_targets(catalog, tracks, column, tags)
    rows = np.flatnonzero(targets.any(axis=1))
    if not len(rows):
        column = catalog.column(column)
        raise UserError(f"none of {len(tracks)} tracks has a tag in the column {column!r}; nothing to learn from")
    return [tracks[int(row)] for row in rows], targets[rows]


def labelled_half(
    catalog: Catalog, tracks: Sequence[Track], column: str | None, tags: Sequence[str] | None = None
) -> np.ndarray | None:
    """Which tracks have a chosen tag, for batches of half these and half others; None where all have one."""
    labelled = np.asarray(tag_targets(catalog, tracks, column, tags).any(axis=1))
    return None if labelled.all() else labelled


class LearnsTags(Protocol):
    """A method with what its tagger is made of, under the names of the constructor's arguments."""

    encoder: Encoder
    column: str | None
    tags: Sequence[str] | None
    hidden_dim: int
    dropout: float


def new_tagger(method: LearnsTags, catalog: Catalog, tracks: Sequence[Track]) -> Tagger:
    """A tagger with a fresh head for what can be learnt from `tracks`.

    A chosen tag that none of `tracks` has is an error; one that another split lacks is named in a warning.
    """
    column = catalog.column(method.column)
    chosen = chosen_tags(catalog, column, method.tags)
    held = {tag for track in tracks for tag in track.labels.get(column, ())}
    if never := [tag for tag in chosen if tag not in held]:
        raise UserError(
            f"no track that is trained on has {', '.join(map(repr, never))} (column {column!r}), and a tag "
            "without an example cannot be learnt; name the others as the method's tags, or make the split anew"
        )
    for split, missing in missing_positives(catalog, column).items():
        if lacking := [tag for tag in missing if tag in chosen]:
            warnings.warn(
                f"column {column!r}: no track of the split {split!r} has {', '.join(map(repr, lacking))}: "
                "it cannot be judged there",
                stacklevel=3,
            )
    multi_label = catalog.columns[column]
    if len(chosen) < 2 and not multi_label:
        raise UserError(f"the column {column!r} has the one tag {chosen[0]!r}; there is nothing to tell apart")
    return Tagger(
        method.encoder,
        chosen,
        column=column,
        multi_label=multi_label,
        hidden_dim=method.hidden_dim,
        dropout=method.dropout,
    )


def batch_targets(clips: Clips, logits: Tensor, *, method: str) -> Tensor:
    """The targets of the batch in the type of the logits (B, K), or the error that there are none."""
    if clips.targets is None or clips.targets.shape != logits.shape:
        came = "none" if clips.targets is None else tuple(clips.targets.shape)
        raise UserError(f"{method} wants targets of shape {tuple(logits.shape)} with its clips; came {came}")
    return clips.targets.to(logits.dtype)


def tag_losses(
    logits: Tensor, targets: Tensor, *, multi_label: bool, weights: Tensor | None = None
) -> dict[str, Tensor]:
    """Cross-entropy against labels or, the same formula, against a teacher's probabilities (B, K).

    Several tags are learnt each for itself; of one-of-K tags there is also how often the surest one is right.
    `weights` (K,) are those of `balance`.
    """
    if multi_label:
        if weights is None:
            return {"loss": soft_binary_cross_entropy(logits, targets)}
        logits, targets = at_least_float32(logits, targets)
        return {"loss": functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights)}
    hits = (logits.argmax(dim=1) == targets.argmax(dim=1)).float().mean()
    if weights is None:
        return {"loss": soft_cross_entropy(logits, targets), "accuracy": hits}
    # soft_cross_entropy is linear in its targets; not over the sum of the weights, so that ranks may be averaged
    return {"loss": soft_cross_entropy(logits, targets * weights), "accuracy": hits}


def balance(targets: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """Weights under which rare tags count as much as frequent ones, from how often they are held.

    Of several tags, what a held one weighs against one that is not: (1 − p) / p, as if half of the tracks had it. Of
    one-of-K tags, what a track of each weighs: 1 / (K p), as if all were equally frequent; 1 on average.

    Shape: (N, K) → (K,).

    >>> balance(np.array([[1, 0], [1, 1], [1, 0], [0, 1.0]]), multi_label=True)
    array([0.33..., 1.        ])
    >>> balance(np.array([[1, 0], [1, 0], [1, 0], [0, 1.0]]), multi_label=False)
    array([0.66..., 2.        ])
    """
    rates = targets.mean(axis=0, dtype=np.float64)
    return (1 - rates) / rates if multi_label else 1 / (len(rates) * rates)


def trivial_tag_loss(targets: np.ndarray, *, multi_label: bool, weights: np.ndarray | None = None) -> float:
    """The least that can be had from `tag_losses` by the same answer for every track.

    Unweighted it is the entropy of the tags, each answered with how often it is held.

    Shape: targets (N, K), weights (K,) → ().

    >>> round(trivial_tag_loss(np.eye(4), multi_label=False), 4)  # ln 4
    1.3863
    """
    held = targets.mean(axis=0, dtype=np.float64) * (1.0 if weights is None else weights)  # (K,)
    if not multi_label:
        return float(entr(held / held.sum()).sum() * held.sum())
    absent = 1 - targets.mean(axis=0, dtype=np.float64)
    either = np.maximum(held + absent, np.finfo(np.float64).tiny)
    return float(((entr(held / either) + entr(absent / either)) * either).mean())


def trivial_or_error(tagger: Tagger, targets: np.ndarray, weights: np.ndarray | None = None) -> float:
    """`trivial_tag_loss` of what `tagger` shall learn, and the error where it leaves nothing to learn."""
    trivial = trivial_tag_loss(targets, multi_label=tagger.multi_label, weights=weights)
    if not trivial:
        raise UserError(
            f"all tracks that are trained on have the same tags in the column {tagger.column!r}; there is nothing to "
            "tell apart"
        )
    return trivial


def split_and_unlabelled(catalog: Catalog, split: str, column: str | None, tags: Sequence[str] | None) -> list[Track]:
    """The tracks of a split and those without a chosen tag that are in no split, in the order of the catalog.

    For a table of labels that gives splits too says nothing of the music that it does not name.
    """
    own = {track.id for track in catalog.split(split)}
    labelled = np.asarray(tag_targets(catalog, catalog.tracks, column, tags).any(axis=1))
    return [
        track for row, track in enumerate(catalog.tracks) if track.id in own or not (track.split or labelled[row])
    ]


def unlabelled_tracks(
    catalog: Catalog, tracks: Sequence[Track], column: str | None, tags: Sequence[str] | None, *, method: str
) -> list[Track]:
    """The tracks without a chosen tag; `method` needs both kinds, and only one of them is an error."""
    held = {track.id for track in labelled_examples(catalog, tracks, column, tags)[0]}
    if len(held) == len(tracks):
        raise UserError(
            f"{method}: all {len(tracks)} tracks to train on have labels, and there is nothing to add to them; give "
            "a catalog with more music than labels, or take Supervised"
        )
    return [track for track in tracks if track.id not in held]


def tag_logits(method: Method, tagger: Tagger, wave: Tensor) -> Tensor:
    """The logits of `wave` as it is, by the method's way through its encoder, whose embeddings may be watched.

    Shape: wave (B, 1, T) → (B, K).
    """
    embedding = method.encoded(wave)  # (B, D)
    method.watched = {"embedding": embedding.detach()}
    return tagger.head(embedding)


def made_tagger(tagger: Tagger | None, *, method: str) -> Tagger:
    """The tagger, or the error that `prepare` has not made it."""
    if tagger is None:
        raise UserError(f"{method} has no head yet: prepare(catalog, tracks) makes it from the catalog's tags")
    return tagger
