"""What a training keeps on disk: `last.ckpt`, to resume from, and `best.safetensors`, to use."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from ssl_music._files import replacing
from ssl_music.methods.base import Method


class WholeFiles(TorchCheckpointIO):
    """Lightning's checkpoints, written whole or not at all, and read without running code from them.

    Lightning writes to the system's temporary folder and moves the file; where that is another disk, as usual, the
    move is a copy, and a kill in the middle of it leaves half a file in place of the last good one.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "last.ckpt"
    >>> WholeFiles().save_checkpoint({"step": 3}, path)
    >>> WholeFiles().load_checkpoint(path)
    {'step': 3}
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with replacing(path) as temporary:
            torch.save(checkpoint, temporary)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)


class Last(Checkpoint):
    """Saves all that resuming needs, every `every_steps` steps and at the end of every epoch.

    Lightning resumes exactly from the end of a batch in the middle of an epoch, from the end of an epoch that was
    validated, and from the last batch of one that was not. From elsewhere it leaves a validation out or trains one
    batch too many (tried with 2.6.6: tests/test_train_resume.py), so that elsewhere nothing is saved; a save that
    falls due there waits for the next batch.
    """

    def __init__(self, path: Path, every_steps: int | None) -> None:
        self.path = path
        self.every_steps = every_steps
        self.seconds = 0.0  #: trained before this process
        self._started = time.monotonic()
        self._saved_step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = time.monotonic()
        self._saved_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if _is_validated_after(trainer, batch_idx):
            return
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        due = self.every_steps and trainer.global_step // self.every_steps > self._saved_step // self.every_steps
        if trainer.is_last_batch or (stepped and due):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_last_batch and _is_validated_after(trainer, trainer.fit_loop.batch_idx):
            self._save(trainer)

    def total_seconds(self) -> float:
        """Time spent training, in every process that had a part in it."""
        return self.seconds + time.monotonic() - self._started

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.total_seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds = state_dict["seconds"]

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self._saved_step = trainer.global_step


class Best(Callback):
    """Writes the weights whenever the validation loss is lower than ever, and may stop when it has long not been.

    A NaN is never lower. `patience` counts validations, one an epoch unless the trainer is told otherwise.
    """

    def __init__(self, path: Path, write: Callable[..., object], *, patience: int | None = None) -> None:
        self.path = path
        self.write = write
        self.patience = patience
        self.loss = math.inf
        self.epoch = 0
        self.step = 0
        self.waited = 0

    @property
    def gave_up(self) -> bool:
        """Whether the patience is at its end."""
        return self.patience is not None and self.waited >= self.patience

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.gave_up  # killed between giving up and stopping

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        loss = float(trainer.callback_metrics["valid/loss"])
        if loss < self.loss:
            self.loss, self.epoch, self.step, self.waited = loss, trainer.current_epoch, trainer.global_step, 0
            if trainer.is_global_zero:
                assert isinstance(pl_module, Method)
                self.write(self.path, pl_module.artefact())
        else:
            self.waited += 1
            trainer.should_stop = trainer.should_stop or self.gave_up

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("loss", "epoch", "step", "waited")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, value in state_dict.items():
            setattr(self, name, value)


def _is_validated_after(trainer: Trainer, batch_idx: int) -> bool:
    """Whether a validation follows this batch of the epoch, by the trainer's counts (not seen: one by the clock)."""
    every_epochs, every_batches = trainer.check_val_every_n_epoch, trainer.val_check_batch
    if not trainer.enable_validation or every_batches is None:
        return False
    if every_epochs is None:  # val_check_interval counts over all epochs
        return (trainer.fit_loop.total_batch_idx + 1) % every_batches == 0
    return (trainer.current_epoch + 1) % every_epochs == 0 and (batch_idx + 1) % every_batches == 0
