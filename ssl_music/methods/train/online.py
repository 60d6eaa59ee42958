"""A probe while the encoder learns: what its embeddings tell of some labels, which the loss does not say."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pytorch_lightning import Callback, LightningModule, Trainer

from ssl_music import metrics
from ssl_music.catalogs import Catalog, Track
from ssl_music.clips import Waves, draws
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError, unknown_name
from ssl_music.methods.base import Method
from ssl_music.methods.train.average import Average
from ssl_music.methods.train.embedded import embedded
from ssl_music.methods.train.throughput import Throughput
from ssl_music.probe.features import TaskKind
from ssl_music.probe.linear import linear_path
from ssl_music.probe.neighbours import neighbour_scores

KINDS = ("knn", "linear")
#: of the linear probe, in the units of `linear_path`; not chosen on the tracks that it is scored on
L2_STRENGTH = 0.01


@dataclass(frozen=True)
class OnlineProbe:
    """What is asked of the embeddings now and then: the tags of one label column. The training does not notice it.

    It is there to see a training go wrong. What can be read from an encoder, `ssl-music probe` says. The first answer
    is that of random weights, whose batch norms have not seen any music yet.

    Args:
        column: the label column; may be left out where the catalog has only one.
        kind: knn, a vote of the nearest tracks, or linear, logistic regression fitted anew each time.
        every_epochs: how often; before the first step and after the last one in any case.
        every_steps: how often, in place of every_epochs, where epochs are long.
        neighbours: tracks that vote (knn).
        clips: of each track, evenly spaced; their embeddings are averaged.
        tracks: at most so many of either split, always the same.
        split: the tracks whose tags are known.
        valid_split: the tracks that are asked about.
    """

    column: str | None = None
    kind: Literal["knn", "linear"] = "knn"
    every_epochs: int = 5
    every_steps: int | None = None
    neighbours: int = 20
    clips: int = 1
    tracks: int = 1000
    split: str = "train"
    valid_split: str = "valid"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("kind of online probe", self.kind, list(KINDS))
        for name in ("every_epochs", "every_steps", "neighbours", "clips", "tracks"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"online.{name} {value}; wanted 1 or more")


class Online(Callback):
    """Asks the probe's question before the first step of an epoch, and logs the answer at once.

    Asked are the weights that the run would leave: their average where it keeps one, before which this stands in the
    list of callbacks. A checkpoint lies before each answer, and a run that resumes gives it again. With several
    processes the first one answers, and the others wait for it at their next gradient.
    """

    def __init__(
        self,
        probe: OnlineProbe,
        catalog: Catalog,
        waves: Waves,
        *,
        batch_size: int,
        average: Average | None,
        throughput: Throughput,
    ) -> None:
        self.probe = probe
        self.waves = waves
        self.batch_size = batch_size
        self.average = average
        self.throughput = throughput
        self.latest: dict[str, float] = {}  #: the last answer
        self._asked_at = -1
        self.column = column = catalog.column(probe.column)
        self.multi_label = catalog.columns[column]
        row = {track.id: number for number, track in enumerate(catalog.tracks)}
        known, asked = (_labelled(catalog, split, column, probe.tracks) for split in (probe.split, probe.valid_split))
        if {track.id for track in known} & {track.id for track in asked}:
            raise UserError(
                f"online: the splits {probe.split!r} and {probe.valid_split!r} share tracks; a probe wants two that "
                "share none"
            )
        self.known, self.asked = (np.array([row[track.id] for track in tracks]) for tracks in (known, asked))
        self.targets, self.truth = (catalog.targets(tracks, column) for tracks in (known, asked))  # (N, K)
        self._leave_out_what_cannot_be_scored()
        if probe.kind == "knn" and probe.neighbours > len(self.known):
            raise UserError(
                f"online.neighbours {probe.neighbours}: the split {probe.split!r} has only {len(self.known)} tracks "
                f"with a tag in the column {column!r}; give at most so many"
            )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        if self.probe.every_steps is not None:
            due = trainer.global_step % self.probe.every_steps == 0
        else:
            due = batch_idx == 0 and trainer.current_epoch % self.probe.every_epochs == 0
        if due:
            self._ask(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._ask(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._ask(trainer, pl_module)  # killed behind the last step: a run that resumes there has no train end

    def answer(self, encoder: Encoder) -> dict[str, float]:
        """The scores of the encoder as it is now, by name."""
        embeddings = embedded(
            encoder, self.waves, np.concatenate([self.known, self.asked]), self.probe.clips, self.batch_size
        )
        known, asked = embeddings[: len(self.known)], embeddings[len(self.known) :]
        if self.probe.kind == "knn":
            scores = neighbour_scores(known, self.targets, asked, self.probe.neighbours)
        else:
            kind: TaskKind = "multi" if self.multi_label else "single"
            (score,) = linear_path(known, self.targets, kind=kind, l2_strengths=[L2_STRENGTH])
            scores = score(asked)
        name = f"valid/{self.probe.kind}_"
        if self.multi_label:
            return {name + "roc_auc": metrics.macro(metrics.roc_auc(self.truth, scores)).value}
        truth, predicted = self.truth.argmax(axis=1), scores.argmax(axis=1)
        return {
            name + "accuracy": float(metrics.accuracy(truth, predicted)),
            name + "balanced_accuracy": float(metrics.balanced_accuracy(truth, predicted)),
        }

    def _ask(self, trainer: Trainer, pl_module: LightningModule) -> None:
        step = trainer.global_step
        if step == self._asked_at:
            return
        self._asked_at = step
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, Method)
        with self.throughput.pause(), self.average.in_place(pl_module) if self.average else nullcontext():
            self.latest = self.answer(pl_module.encoder)
        for logger in trainer.loggers:
            logger.log_metrics({"epoch": trainer.current_epoch, **self.latest}, step)

    def _leave_out_what_cannot_be_scored(self) -> None:
        """Tags that no known track has, asked tracks without another; for areas also tags that all or none have."""
        scored = self.targets.any(axis=0)
        if self.multi_label:
            scored &= self.truth.any(axis=0) & ~self.truth.all(axis=0)
        else:
            answerable = self.truth[:, scored].any(axis=1)
            self.asked, self.truth = self.asked[answerable], self.truth[answerable]
        if scored.sum() < (1 if self.multi_label else 2) or not len(self.asked):
            raise UserError(
                f"online: no tag of the column {self.column!r} can be scored: {len(self.known)} tracks of "
                f"{self.probe.split!r} and {len(self.asked)} of {self.probe.valid_split!r} are not enough, or tell "
                "nothing apart; name another column, or other splits"
            )
        self.targets, self.truth = self.targets[:, scored], self.truth[:, scored]


def _labelled(catalog: Catalog, split: str, column: str, most: int) -> Sequence[Track]:
    """At most `most` tracks of a split that have a tag, always the same ones."""
    tracks = catalog.labelled(catalog.split(split), column)
    if not tracks:
        raise UserError(
            f"online: no track of the split {split!r} has a tag in the column {column!r}; name another column or "
            "split, or leave online out"
        )
    chosen = np.sort(draws.permutation(len(tracks), 0)[:most])
    return [tracks[number] for number in chosen.tolist()]
