"""What methods that learn tags are put together from: which tags, who has them, the head for them, their losses."""

import warnings
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ssl_music.catalogs import Catalog, Track, missing_positives
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError, unknown_name
from ssl_music.losses import soft_binary_cross_entropy, soft_cross_entropy
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


def new_tagger(
    encoder: Encoder,
    catalog: Catalog,
    tracks: Sequence[Track],
    *,
    column: str | None,
    tags: Sequence[str] | None = None,
    hidden_dim: int = 0,
    dropout: float = 0.0,
) -> Tagger:
    """A tagger with a fresh head for what can be learnt from `tracks`.

    A chosen tag that none of `tracks` has is an error; one that another split lacks is named in a warning.
    """
    column = catalog.column(column)
    chosen = chosen_tags(catalog, column, tags)
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
    return Tagger(encoder, chosen, column=column, multi_label=multi_label, hidden_dim=hidden_dim, dropout=dropout)


def batch_targets(clips: Clips, logits: Tensor, *, method: str) -> Tensor:
    """The targets of the batch in the type of the logits (B, K), or the error that there are none."""
    if clips.targets is None or clips.targets.shape != logits.shape:
        came = "none" if clips.targets is None else tuple(clips.targets.shape)
        raise UserError(f"{method} wants targets of shape {tuple(logits.shape)} with its clips; came {came}")
    return clips.targets.to(logits.dtype)


def tag_losses(logits: Tensor, targets: Tensor, *, multi_label: bool) -> dict[str, Tensor]:
    """Cross-entropy against labels or, the same formula, against a teacher's probabilities (B, K).

    Several tags are learnt each for itself; of one-of-K tags there is also how often the surest one is right.
    """
    if multi_label:
        return {"loss": soft_binary_cross_entropy(logits, targets)}
    hits = (logits.argmax(dim=1) == targets.argmax(dim=1)).float().mean()
    return {"loss": soft_cross_entropy(logits, targets), "accuracy": hits}


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
