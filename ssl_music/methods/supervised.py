"""Supervised: an encoder and a head learn the tags of one label column."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ssl_music.augment import Augmentation
from ssl_music.catalogs import Catalog, Track
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder
from ssl_music.methods.base import Method
from ssl_music.methods.parts.tagging import (
    balance,
    batch_targets,
    labelled_examples,
    made_tagger,
    new_tagger,
    tag_logits,
    tag_losses,
    tag_targets,
    trivial_or_error,
)
from ssl_music.tagger import Tagger


class Supervised(Method):
    """Tagging, from scratch, by fine-tuning (give the encoder pretrained weights) or, with `frozen`, the head alone.

    A column where a track may have several tags is learnt with binary cross-entropy, each tag for itself; one where
    it has one tag with cross-entropy over the tags: the catalog says which. `column` may be left out where the
    catalog has only one. `tags` names those to learn, by default all of the column. Tracks without any of them take
    no part. A tag without a track that is trained on is an error; one that another split lacks is named in a warning.

    `balanced` makes rare tags count as much as frequent ones (see `tagging.balance`); what comes out is then no
    longer a probability among tracks like those of the training split. `loss_over_trivial` is against the best that
    can be had by one answer for all tracks: a network at 1 knows how frequent the tags are, and nothing else.

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
    weights: Tensor | None

    def __init__(
        self,
        encoder: Encoder,
        column: str | None = None,
        augment: Sequence[Augmentation] | str = (),
        *,
        tags: Sequence[str] | None = None,
        frozen: bool = False,
        balanced: bool = False,
        hidden_dim: int = 0,
        dropout: float = 0.0,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(encoder, augment=augment, learning_rate=learning_rate, weight_decay=weight_decay)
        self.column = column
        self.tags = tags
        self.frozen = frozen
        self.balanced = balanced
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.tagger: Tagger | None = None  # `prepare` makes it: only a catalog knows the tags
        self.trivial = 0.0
        self.register_buffer("weights", None, persistent=False)
        if frozen:
            encoder.requires_grad_(False)
        self.train()

    def examples(self, catalog: Catalog, tracks: Sequence[Track]) -> tuple[list[Track], np.ndarray | None]:
        return labelled_examples(catalog, tracks, self.column, self.tags)

    def prepare(self, catalog: Catalog, tracks: Sequence[Track]) -> None:
        self.tagger = new_tagger(self, catalog, tracks)
        targets, multi_label = tag_targets(catalog, tracks, self.column, self.tags), self.tagger.multi_label
        weights = balance(targets, multi_label=multi_label) if self.balanced else None
        self.trivial = trivial_or_error(self.tagger, targets, weights)
        self.weights = None if weights is None else torch.from_numpy(weights).float()

    def losses(self, clips: Clips) -> dict[str, Tensor]:
        tagger, wave = self.artefact(), clips.view(0)
        logits = tag_logits(self, tagger, self.augmented(wave) if self.training else wave.to(self.dtype))  # (B, K)
        targets = batch_targets(clips, logits, method="Supervised")
        found = tag_losses(logits, targets, multi_label=tagger.multi_label, weights=self.weights)
        return {**found, "loss_over_trivial": found["loss"].detach() / self.trivial}

    def artefact(self) -> Tagger:
        return made_tagger(self.tagger, method="Supervised")

    def train(self, mode: bool = True) -> "Supervised":
        """As always, but a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self
