"""NoisyStudent: a teacher labels the music that nobody has labelled; a student learns from both, and hears noise."""

import copy
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from ssl_music import checkpoint
from ssl_music.augment import Augmentation
from ssl_music.catalogs import Catalog, Track
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError, unknown_name
from ssl_music.methods.base import Method, Stage
from ssl_music.methods.parts.pseudo import as_targets, check_sizes, check_tags, pseudo_labels, wait_for
from ssl_music.methods.parts.tagging import (
    batch_targets,
    chosen_tags,
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

FORMS = ("expansion", "distillation")


class NoisyStudent(Method):
    """Self-training with a noisy student (Xie et al. 2020, arXiv 1911.04252, algorithm 1) for music tagging (Won,
    Choi & Serra, ISMIR 2021, arXiv 2111.13457), from a catalog where only some tracks have labels.

    A teacher is trained on the labelled tracks, with the same augmentations, unless `teacher` names its weights (a
    tagger); `teacher_encoder` gives it another encoder than the student's, of which it is else a copy, first weights
    included. It labels clean music; the student hears augmented music through `dropout`. Half of each batch has true
    labels (Won et al.), half the teacher's: its probabilities, or with `soft=False` decisions; tracks whose highest
    probability is below `least_confidence` are left out (Xie et al. take 0.3). `rounds` above 1 makes the student the
    next teacher; it gave nothing more on the Million Song Dataset (Won et al.). `rounds=0` is the teacher: the
    labelled tracks alone. Form "expansion" wants a student of at least the teacher's size, "distillation" a smaller.

    Unlabelled music is that of the split, and what is in no split. Teacher, earlier students and pseudo-labels stand
    in the run's folder and are not made twice. Unlike in the papers, labels are a track's (the mean over 16 chunks),
    and classes are not balanced. Adam 1e-4 is Won et al.'s, dropout 0.5 on the last layer Xie et al.'s (section 3.1).
    Validated is against true labels only, and the weights with the best validation loss are kept.

    Shape: clips (B, 1, T) with targets (B, K) → losses ().

    >>> from ssl_music.encoders import SampleCNN
    >>> NoisyStudent(SampleCNN(width=4), "genre", form="distillation", teacher_encoder=SampleCNN(width=8)).rounds
    1
    """

    keeps: Literal["last", "best"] = "best"
    teacher_encoder: Encoder | None

    def __init__(
        self,
        encoder: Encoder,
        column: str | None = None,
        augment: Sequence[Augmentation] | str = (),
        *,
        tags: Sequence[str] | None = None,
        teacher: Path | None = None,
        teacher_encoder: Encoder | None = None,
        form: Literal["expansion", "distillation"] = "expansion",
        rounds: int = 1,
        soft: bool = True,
        least_confidence: float = 0.0,
        chunks_per_track: int = 16,
        hidden_dim: int = 0,
        dropout: float = 0.5,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(encoder, augment=augment, learning_rate=learning_rate, weight_decay=weight_decay)
        self.column = column
        self.tags = tags
        self.teacher = teacher
        self.__dict__["teacher_encoder"] = teacher_encoder  # no part of this module: it does not learn here
        self.form = form
        self.rounds = rounds
        self.soft = soft
        self.least_confidence = least_confidence
        self.chunks_per_track = chunks_per_track
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.tagger: Tagger | None = None  # `prepare` makes it: only a catalog knows the tags
        self.trivial = 1.0  #: what the best constant answer costs, as soon as `prepare` has seen the tags
        self._pseudo: dict[str, np.ndarray] | None = None if rounds else {}  # track id → what it is taken for, (K,)
        if rounds < 0 or chunks_per_track < 1 or not 0 <= least_confidence < 1:
            raise UserError(
                f"NoisyStudent: rounds {rounds}, chunks_per_track {chunks_per_track}, least_confidence "
                f"{least_confidence}; wanted 0 or more, 1 or more, and 0 up to below 1"
            )
        if form not in FORMS:
            raise unknown_name("form of a noisy student", form, list(FORMS))
        if teacher is not None and teacher_encoder is not None:
            raise UserError(
                "NoisyStudent: teacher names weights that are there, teacher_encoder one to train: give one"
            )
        if form == "distillation" and (rounds > 1 or (teacher is None and teacher_encoder is None)):
            raise UserError(
                "NoisyStudent: a distillation is one round from a larger teacher; give its weights as teacher or its "
                f"encoder as teacher_encoder, and rounds 1 (came {rounds})"
            )

    def training_tracks(self, catalog: Catalog, split: str) -> list[Track]:
        return split_and_unlabelled(catalog, split, self.column, self.tags)

    def precede(self, catalog: Catalog, tracks: Sequence[Track], stage: Stage) -> None:
        if not self.rounds:
            return
        unlabelled = unlabelled_tracks(catalog, tracks, self.column, self.tags, method="NoisyStudent")
        weights = self.teacher
        if weights is None:
            first = self.teacher_encoder or self.encoder
            check_sizes(self.encoder, first, self.form)
            weights = stage(self._again(encoder=copy.deepcopy(first), rounds=0), "teacher")
        for number in range(1, self.rounds):
            weights = stage(self._again(teacher=weights), f"round-{number}")
        wait_for(weights)
        teacher, column = checkpoint.load_tagger(weights), catalog.column(self.column)
        multi_label, tags = catalog.columns[column], chosen_tags(catalog, column, self.tags)
        check_sizes(self.encoder, teacher.encoder, self.form)
        check_tags(teacher, tags, column=column, multi_label=multi_label)
        file, chunks = stage.out / "pseudo_labels.npz", self.chunks_per_track
        beliefs = pseudo_labels(teacher, catalog, unlabelled, file, chunks_per_track=chunks, device=stage.device)
        targets, sure = as_targets(
            beliefs, multi_label=multi_label, soft=self.soft, least_confidence=self.least_confidence
        )
        self._pseudo = {unlabelled[row].id: targets[row] for row in np.flatnonzero(sure)}

    def examples(self, catalog: Catalog, tracks: Sequence[Track]) -> tuple[list[Track], np.ndarray | None]:
        targets = tag_targets(catalog, tracks, self.column, self.tags)
        if self._pseudo is None and not targets.any(axis=1).all():
            raise UserError("NoisyStudent has no pseudo-labels yet: precede(catalog, tracks, stage) has them made")
        kept = []
        for row, track in enumerate(tracks):
            if not targets[row].any():
                if track.id not in (self._pseudo or {}):
                    continue
                targets[row] = (self._pseudo or {})[track.id]
            kept.append(row)
        return [tracks[row] for row in kept], targets[kept]

    def valid_examples(self, catalog: Catalog, tracks: Sequence[Track]) -> tuple[list[Track], np.ndarray | None]:
        return labelled_examples(catalog, tracks, self.column, self.tags)

    def halves(self, catalog: Catalog, tracks: Sequence[Track]) -> np.ndarray | None:
        return labelled_half(catalog, tracks, self.column, self.tags)

    def prepare(self, catalog: Catalog, tracks: Sequence[Track]) -> None:
        self.tagger = new_tagger(self, catalog, tracks)
        used, targets = self.examples(catalog, tracks)
        halves, assumed = self.halves(catalog, used), np.asarray(targets)
        kinds = [assumed] if halves is None else [assumed[halves].mean(axis=0), assumed[~halves].mean(axis=0)]
        self.trivial = trivial_or_error(self.tagger, np.vstack(kinds))  # each kind is half of what is learnt from

    def losses(self, clips: Clips) -> dict[str, Tensor]:
        tagger, wave = self.artefact(), clips.view(0)
        logits = tag_logits(self, tagger, self.augmented(wave) if self.training else wave.to(self.dtype))  # (B, K)
        targets = batch_targets(clips, logits, method="NoisyStudent")
        found = tag_losses(logits, targets, multi_label=tagger.multi_label)
        return {**found, "loss_over_trivial": found["loss"].detach() / self.trivial}

    def artefact(self) -> Tagger:
        return made_tagger(self.tagger, method="NoisyStudent")

    def _again(self, **changes: Any) -> "NoisyStudent":
        """A method as this one, first weights included, for another stage."""
        same = {name: copy.deepcopy(getattr(self, name)) for name in inspect.signature(type(self)).parameters}
        another = {"teacher": None, "teacher_encoder": None, "form": "expansion", "rounds": 1}
        return type(self)(**{**same, **another, **changes})
