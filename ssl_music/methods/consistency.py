"""Consistency: learns labels where there are some, and else to hear in a noisy clip what it hears in a clean one."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ssl_music.augment import Augmentation
from ssl_music.catalogs import Catalog, Track
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.losses import divergence, entropy
from ssl_music.methods.base import Method, Stage
from ssl_music.methods.parts.tagging import (
    batch_targets,
    labelled_examples,
    labelled_half,
    made_tagger,
    new_tagger,
    split_and_unlabelled,
    tag_logits,
    tag_losses,
    tag_targets,
    trivial_or_error,
    unlabelled_tracks,
)
from ssl_music.tagger import Tagger


class Consistency(Method):
    """Consistency training (UDA: Xie et al. 2020, "Unsupervised data augmentation for consistency training", arXiv
    1904.12848, equation 1) and entropy minimisation (Grandvalet & Bengio 2004), on half labelled, half unlabelled
    batches. Unlabelled music is that of the split, and what is in no split.

    The loss is the cross-entropy of the labelled clips + `weight` · KL(clean ‖ augmented) of the unlabelled ones +
    `entropy_weight` · the entropy of what is said of the clean ones. The clean prediction is the target: no gradient
    flows into it, `temperature` sharpens its logits, and where it is less sure than `least_confidence` it does not
    count: a clip by its highest probability, or where a track may have several tags each tag by itself, for or
    against. Weight 1, temperature 0.4 and confidence 0.8 are the paper's for the ten classes of CIFAR-10; of entropy
    minimisation nothing is the default.

    Unlike in the paper labelled clips are augmented too, as in `Supervised`, and none are held back at first
    (training signal annealing). One network hears both kinds at once, so that batch norm sees one distribution.
    Adam 1e-4 as in the 2020 comparison. Validated is against true labels only, and the best weights are kept.

    Shape: clips (B, 1, T) with targets (B, K), rows of NaN where there are no labels → losses ().

    >>> from ssl_music.encoders import SampleCNN
    >>> Consistency(SampleCNN(width=4), "genre", entropy_weight=0.1).temperature
    0.4
    """

    keeps: Literal["last", "best"] = "best"

    def __init__(
        self,
        encoder: Encoder,
        column: str | None = None,
        augment: Sequence[Augmentation] | str = (),
        *,
        tags: Sequence[str] | None = None,
        weight: float = 1.0,
        temperature: float = 0.4,
        least_confidence: float = 0.8,
        entropy_weight: float = 0.0,
        hidden_dim: int = 0,
        dropout: float = 0.0,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(encoder, augment=augment, learning_rate=learning_rate, weight_decay=weight_decay)
        self.column = column
        self.tags = tags
        self.weight = weight
        self.temperature = temperature
        self.least_confidence = least_confidence
        self.entropy_weight = entropy_weight
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.tagger: Tagger | None = None  # `prepare` makes it: only a catalog knows the tags
        self.trivial = 1.0  #: what the best constant answer to the labels costs, as soon as `prepare` has seen them
        if min(weight, entropy_weight) < 0 or not temperature > 0 or not 0 <= least_confidence < 1:
            raise UserError(
                f"Consistency: weight {weight}, entropy_weight {entropy_weight}, temperature {temperature}, "
                f"least_confidence {least_confidence}; wanted 0 or more, twice, above 0, and 0 up to below 1"
            )

    def training_tracks(self, catalog: Catalog, split: str) -> list[Track]:
        return split_and_unlabelled(catalog, split, self.column, self.tags)

    def precede(self, catalog: Catalog, tracks: Sequence[Track], stage: Stage) -> None:
        unlabelled_tracks(catalog, tracks, self.column, self.tags, method="Consistency")  # or the error

    def examples(self, catalog: Catalog, tracks: Sequence[Track]) -> tuple[list[Track], np.ndarray | None]:
        targets = tag_targets(catalog, tracks, self.column, self.tags)
        targets[~targets.any(axis=1)] = np.nan
        return list(tracks), targets

    def valid_examples(self, catalog: Catalog, tracks: Sequence[Track]) -> tuple[list[Track], np.ndarray | None]:
        return labelled_examples(catalog, tracks, self.column, self.tags)

    def halves(self, catalog: Catalog, tracks: Sequence[Track]) -> np.ndarray | None:
        return labelled_half(catalog, tracks, self.column, self.tags)

    def prepare(self, catalog: Catalog, tracks: Sequence[Track]) -> None:
        self.tagger = new_tagger(self, catalog, tracks)
        self.trivial = trivial_or_error(self.tagger, labelled_examples(catalog, tracks, self.column, self.tags)[1])

    def losses(self, clips: Clips) -> dict[str, Tensor]:
        tagger, wave = self.artefact(), clips.view(0)
        targets = batch_targets(clips, wave.new_empty(len(clips), len(tagger.tags)), method="Consistency")  # (B, K)
        multi_label, unlabelled = tagger.multi_label, targets.isnan().any(dim=1)  # (B,)
        if not self.training:
            found = tag_losses(tag_logits(self, tagger, wave.to(self.dtype)), targets, multi_label=multi_label)
            return {**found, "loss_over_trivial": found["loss"].detach() / self.trivial}
        waves = torch.cat([self.augmented(wave), wave[unlabelled].to(self.dtype)])  # (B + U, 1, T)
        noisy, clean = tag_logits(self, tagger, waves).tensor_split([len(wave)])  # (B, K), (U, K)
        found = tag_losses(noisy[~unlabelled], targets[~unlabelled], multi_label=multi_label)
        loss, labelled_loss = found["loss"], found.pop("loss").detach()
        found |= {"labelled_loss": labelled_loss, "loss_over_trivial": labelled_loss / self.trivial}
        if not len(clean):  # a batch without unlabelled clips says nothing of the rest
            return {"loss": loss, **found}
        sure = _sure(tagger.squashed(clean.detach()), multi_label, self.least_confidence)  # (U,) or (U, K)
        strayed = self._divergence(noisy[unlabelled], clean.detach() / self.temperature, sure, multi_label)
        unsure = entropy(clean, multi_label=multi_label)
        loss = loss + self.weight * strayed + self.entropy_weight * unsure
        apart = {"divergence": strayed.detach(), "entropy": unsure.detach(), "sure": sure.float().mean()}
        return {"loss": loss, **found, **apart}

    def _divergence(self, student: Tensor, teacher: Tensor, sure: Tensor, multi_label: bool) -> Tensor:
        """The mean over all rows (and tags), in which what is not sure counts 0."""
        if not sure.any():
            return student.new_zeros((), dtype=torch.float32)
        student, teacher = (its[sure].reshape(-1, 1 if multi_label else its.shape[1]) for its in (student, teacher))
        return divergence(student, teacher, multi_label=multi_label) * sure.float().mean()

    def artefact(self) -> Tagger:
        return made_tagger(self.tagger, method="Consistency")


def _sure(probabilities: Tensor, multi_label: bool, least: float) -> Tensor:
    """Where a prediction is sure enough: (U,) of one-of-K tags, (U, K) of several, each there or not."""
    if multi_label:
        return torch.maximum(probabilities, 1 - probabilities) >= least
    return probabilities.amax(dim=1) >= least
