"""The contract of every method: clips in, losses out. Everything random is a function of (seed, position).

Lightning's own checkpoints do not hold the state of random generators. So there is none to hold: before every step
the generator of the augmentations and torch's global one (dropout) are seeded from the seed, the stage, the epoch,
the batch and the rank, and a training that resumes draws what an uninterrupted one would have drawn.
"""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from ssl_music.augment import Augmentation, Chain, presets
from ssl_music.catalogs import Catalog, Track
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.methods.optimize import Optimization
from ssl_music.methods.parts.chunks import in_chunks
from ssl_music.tagger import Tagger


class Stage(Protocol):
    """Trains another method on the same music, with the run's settings, into a folder `name` inside the run's.

    Returns its weights: at once where it was finished before.
    """

    @property
    def out(self) -> Path:
        """The run's folder."""

    @property
    def device(self) -> str:
        """Where models run that do not learn: cpu where the run is told to stay there, else auto."""

    def __call__(self, method: "Method", name: str) -> Path: ...


class Method(LightningModule, ABC):
    """One way of training an encoder.

    A subclass passes its encoder, augmentations and the optimizer's two numbers on, stores every argument under its
    own name, and writes `losses`. `augment` is a list of effects, or the name of a chain in `augment.presets`.

    `losses` changes nothing: what follows the weights (a momentum encoder, a queue) changes in `stepped`, behind
    every optimizer step, and lives in buffers or frozen parameters, so that a run resumes with it.
    """

    crops: int = 1  #: independent crops of a track in one example
    views: int = 1  #: clips that go through the encoder for one example
    #: whether the loss compares the rows of a batch, so that batches of validation too must be full ones
    compares_rows: bool = False
    #: which weights are the product: those at the end, or those with the best validation loss where there is one
    keeps: Literal["last", "best"] = "last"
    #: what to try when the training has collapsed, said with the alarm
    advice: str = "a lower learning_rate, less weight_decay, or weaker augmentations"

    def __init__(
        self, encoder: Encoder, *, augment: Sequence[Augmentation] | str, learning_rate: float, weight_decay: float
    ) -> None:
        super().__init__()
        if not learning_rate > 0 or not weight_decay >= 0:
            raise UserError(
                f"learning_rate {learning_rate}, weight_decay {weight_decay}: wanted above 0, and 0 or above"
            )
        self.encoder = encoder
        self.augment = augment if isinstance(augment, str) else list(augment)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        if isinstance(self.augment, str):
            self.chain = presets.named(self.augment, sample_rate=encoder.sample_rate)
        else:
            self.chain = Chain(self.augment, sample_rate=encoder.sample_rate)
        # `train` sets what the run says of these
        self.seed = 0
        self.optimization = Optimization()
        self.chunk_size: int | None = None  #: rows that go through the encoder at a time, where gradients are cached
        self.max_steps: int | None = None
        #: embeddings of the last batch, for whoever watches: name → (N, D), in the order in which they are made
        self.watched: dict[str, Tensor] = {}
        #: two views of the same tracks where the loss compares them: (B, D) each
        self.pairs: tuple[Tensor, Tensor] | None = None
        self._generator: torch.Generator | None = None

    @abstractmethod
    def losses(self, clips: Clips) -> dict[str, Tensor]:
        """Numbers of one batch of float clips: "loss" is minimised, every entry is logged."""

    def training_tracks(self, catalog: Catalog, split: str) -> list[Track]:
        """What a training on `split` may hear: `precede` and `examples` are asked about these."""
        return catalog.split(split)

    def examples(self, catalog: Catalog, tracks: Sequence[Track]) -> tuple[list[Track], np.ndarray | None]:
        """Those of `tracks` that the method can use, and their targets (N, K) if it wants any."""
        return list(tracks), None

    def valid_examples(self, catalog: Catalog, tracks: Sequence[Track]) -> tuple[list[Track], np.ndarray | None]:
        """As `examples`, of the tracks to validate with."""
        return self.examples(catalog, tracks)

    def halves(self, catalog: Catalog, tracks: Sequence[Track]) -> np.ndarray | None:
        """Which of the usable tracks make one half of every batch, the rest the other: (N,) bool, or None for any."""
        return None

    def prepare(self, catalog: Catalog, tracks: Sequence[Track]) -> None:
        """Called once before training, with the usable tracks of the training split: builds what depends on them."""

    def artefact(self) -> Encoder | Tagger:
        """What a training leaves behind."""
        return self.encoder

    def precede(self, catalog: Catalog, tracks: Sequence[Track], stage: Stage) -> None:
        """Called before anything else of a run, with the training split's tracks: trains what has to come first."""

    def stepped(self) -> None:
        """Called once after every optimizer step: moves what follows the weights."""

    def measures(self) -> dict[str, float]:
        """Further facts of the training's health, asked for when metrics are logged."""
        return {}

    @property
    def input_samples(self) -> int:
        """The length of the clips that `losses` wants."""
        return self.encoder.input_samples

    def encoded(self, wave: Tensor) -> Tensor:
        """The embeddings of `wave`, chunk by chunk where the run caches gradients: (B, D)."""
        return self.encoder(wave) if self.chunk_size is None else in_chunks(self.encoder, wave, self.chunk_size)

    def progress(self) -> float:
        """The share of the run's optimizer steps that are done; 0 outside a training.

        Raises UserError where the run has no known end.
        """
        return 0.0 if self._trainer is None else self.trainer.global_step / self.total_steps

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run, on each device."""
        steps = min(self.trainer.estimated_stepping_batches, self.max_steps or math.inf)
        if math.isinf(steps):
            raise UserError(
                f"{type(self).__name__} has a schedule over the whole run, whose end is not known: give the trainer "
                "max_steps or max_epochs (max_time alone says nothing of steps)"
            )
        return int(steps)

    def augmented(self, wave: Tensor) -> Tensor:
        """`wave` through the chain of augmentations, in float32, then in the precision of the weights: (B, 1, T)."""
        with torch.no_grad(), torch.autocast(wave.device.type, enabled=False):
            return self.chain(wave.float(), generator=self._generator).to(self.dtype)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """What the run's `optimizer` says, over everything that learns."""
        return self.optimization.optimizer(self, learning_rate=self.learning_rate, weight_decay=self.weight_decay)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Lightning's step, then `stepped`: before anything is saved, which happens at the end of the batch."""
        super().optimizer_step(*args, **kwargs)
        self.stepped()

    def on_after_batch_transfer(self, batch: Clips, dataloader_idx: int) -> Clips:
        """int16 travels to the device and becomes float there: half the bytes over the bus."""
        return batch.float()

    def training_step(self, batch: Clips, batch_idx: int) -> dict[str, Tensor]:
        self._seed("train", self.current_epoch, batch_idx)
        losses = self.losses(batch)
        self._log_all("train", losses, batch)
        return losses

    def validation_step(self, batch: Clips, batch_idx: int) -> None:
        self._seed("valid", 0, batch_idx)  # the same views every epoch: validation losses can be compared
        self._log_all("valid", self.losses(batch), batch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["devices"] = self.trainer.world_size

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses to go on with another number of devices: each draws its own views, so they would be other ones."""
        was, now = checkpoint["devices"], self.trainer.world_size
        if was != now:
            raise UserError(
                f"the run was trained on {was} devices and would go on with {now}, which makes it another run: views "
                "are drawn on each device. Resume with the number it had, or give another out"
            )

    def _log_all(self, stage: str, losses: dict[str, Tensor], batch: Clips) -> None:
        training = stage == "train"
        for name, value in losses.items():
            self.log(
                f"{stage}/{name}",
                value,
                on_step=training,
                on_epoch=not training,
                batch_size=len(batch),
                sync_dist=not training,  # every rank has to see the same best epoch
            )

    def _seed(self, *position: Any) -> None:
        number = seed_of(self.seed, *position, self.global_rank)
        torch.manual_seed(number)
        # on the CPU: one generator gives the same views on every device, and nothing waits for a GPU's draws
        self._generator = torch.Generator().manual_seed(number ^ 1)


def seed_of(*position: Any) -> int:
    """A seed of 63 bits for a place in a run; near places get unrelated seeds.

    >>> seed_of(0, "train", 1, 2) == seed_of(0, "train", 1, 2), seed_of(0, "train", 1, 2) == seed_of(0, "train", 2, 1)
    (True, False)
    """
    digest = hashlib.blake2b(repr(position).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
