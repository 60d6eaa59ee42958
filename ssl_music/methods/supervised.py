"""Supervised: an encoder and a head learn the tags of one label column."""

import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
from torch import Tensor
from torch.nn import functional

from ssl_music.augment import Augmentation
from ssl_music.catalogs import Catalog, Track, missing_positives
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError, unknown_name
from ssl_music.methods.base import Method
from ssl_music.tagger import Tagger


class Supervised(Method):
    """Tagging, from scratch, by fine-tuning (give the encoder pretrained weights) or, with `frozen`, the head alone.

    A column where a track may have several tags is learnt with binary cross-entropy, each tag for itself; one where
    it has one tag with cross-entropy over the tags: the catalog says which. `column` may be left out where the
    catalog has only one. `tags` names those to learn, by default all of the column. Tracks without any of them take
    no part. A tag without a track that is trained on is an error; one that another split lacks is named in a warning.

    A frozen encoder stays in evaluation mode: neither its weights nor the statistics of its batch norms move.

    Defaults: Adam 1e-4 as in the 2020 comparison (Won et al., arXiv 2006.00751), one linear layer as head. The
    weights that are kept are those with the best validation loss, if a validation split is watched.

    Shape: clips (B, 1, T) with targets (B, K) → losses ().

    >>> from ssl_music.encoders import SampleCNN
    >>> method = Supervised(SampleCNN(width=4), column="genre", frozen=True)
    >>> method.frozen, method.encoder.training
    (True, False)
    """

    keeps: Literal["last", "best"] = "best"

    def __init__(
        self,
        encoder: Encoder,
        column: str | None = None,
        augment: Sequence[Augmentation] | str = (),
        *,
        tags: Sequence[str] | None = None,
        frozen: bool = False,
        hidden_dim: int = 0,
        dropout: float = 0.0,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(encoder, augment=augment, learning_rate=learning_rate, weight_decay=weight_decay)
        self.column = column
        self.tags = tags
        self.frozen = frozen
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.tagger: Tagger | None = None  # `prepare` makes it: only a catalog knows the tags
        if frozen:
            encoder.requires_grad_(False)
        self.train()

    def examples(self, catalog: Catalog, tracks: Sequence[Track]) -> tuple[list[Track], np.ndarray | None]:
        column, chosen = catalog.column(self.column), self._chosen(catalog)
        targets = catalog.targets(tracks, column)[:, [catalog.tags(column).index(tag) for tag in chosen]]
        rows = np.flatnonzero(targets.any(axis=1))
        if not len(rows):
            raise UserError(f"none of {len(tracks)} tracks has a tag in the column {column!r}; nothing to learn from")
        return [tracks[int(row)] for row in rows], targets[rows]

    def _chosen(self, catalog: Catalog) -> list[str]:
        """The tags to learn, in the order of the head."""
        column = catalog.column(self.column)
        known = catalog.tags(column)
        for tag in self.tags or ():
            if tag not in known:
                raise unknown_name(f"tag of the column {column!r}", tag, known)
        return known if self.tags is None else [tag for tag in known if tag in self.tags]

    def prepare(self, catalog: Catalog, tracks: Sequence[Track]) -> None:
        column = catalog.column(self.column)
        tags = self._chosen(catalog)
        held = {tag for track in tracks for tag in track.labels.get(column, ())}
        never = [tag for tag in tags if tag not in held]
        if never:
            raise UserError(
                f"no track that is trained on has {', '.join(map(repr, never))} (column {column!r}), and a tag "
                "without an example cannot be learnt; name the others as the method's tags, or make the split anew"
            )
        for split, missing in missing_positives(catalog, column).items():
            if lacking := [tag for tag in missing if tag in tags]:
                warnings.warn(
                    f"column {column!r}: no track of the split {split!r} has {', '.join(map(repr, lacking))}: "
                    "it cannot be judged there",
                    stacklevel=2,
                )
        if len(tags) < 2 and not catalog.columns[column]:
            raise UserError(f"the column {column!r} has the one tag {tags[0]!r}; there is nothing to tell apart")
        self.tagger = Tagger(
            self.encoder,
            tags,
            column=column,
            multi_label=catalog.columns[column],
            hidden_dim=self.hidden_dim,
            dropout=self.dropout,
        )

    def losses(self, clips: Clips) -> dict[str, Tensor]:
        tagger = self.artefact()
        wave = clips.view(0)
        embedding = self.encoded(self.augmented(wave) if self.training else wave.to(self.dtype))  # (B, D)
        self.watched = {"embedding": embedding.detach()}
        logits = tagger.head(embedding)  # (B, K)
        targets = _targets(clips, logits)
        if tagger.multi_label:
            return {"loss": functional.binary_cross_entropy_with_logits(logits, targets)}
        hits = (logits.argmax(dim=1) == targets.argmax(dim=1)).float().mean()
        return {"loss": functional.cross_entropy(logits, targets.argmax(dim=1)), "accuracy": hits}

    def artefact(self) -> Tagger:
        if self.tagger is None:
            raise UserError("Supervised has no head yet: prepare(catalog, tracks) makes it from the catalog's tags")
        return self.tagger

    def train(self, mode: bool = True) -> "Supervised":
        """As always, but a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self


def _targets(clips: Clips, logits: Tensor) -> Tensor:
    """The targets of the batch in the type of the logits, or the error that there are none."""
    if clips.targets is None or clips.targets.shape != logits.shape:
        came = "none" if clips.targets is None else tuple(clips.targets.shape)
        raise UserError(f"Supervised wants targets of shape {tuple(logits.shape)} with its clips; came {came}")
    return clips.targets.to(logits.dtype)
