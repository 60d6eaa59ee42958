"""How fast a training goes, and whether it waits for its data: facts of the machine, apart from what is learnt."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from ssl_music.clips import ClipLoader
from ssl_music.methods.train.machine import peak_memory_gb

#: what depends on the machine and is not repeated by a run that resumes: machine.csv, not metrics.csv
PREFIX = "machine/"
#: steps on a GPU whose events may lie about before they are read
MOST_PENDING = 100


class Throughput(Callback):
    """Logs clips a second, the share of the time in which there was no batch to work on, and memory.

    Time is that of training steps with all that lies between them, validations and probes left out. `clips_per_batch`
    is what one batch of one device sends through the encoder.

    Waiting is measured in the loader, which makes batches ahead, where the next one is taken and is not there yet. A
    GPU still works on the last step meanwhile; there, only that part of the waiting counts in which it had nothing
    left to do, by events on its own clock.
    """

    def __init__(self, *, clips_per_batch: int) -> None:
        self.clips_per_batch = clips_per_batch
        self.seconds = 0.0  #: of training
        self.waited_seconds = 0.0  #: of these, without a batch
        self.batches = 0
        self.peaks: dict[str, float] = {}  #: memory in 10⁹ bytes
        self._mark = 0.0  # until when time is counted
        self._loader_waited = 0.0
        self._step = 0
        self._logged = (0.0, 0.0, 0)
        self._step_end: Any = None
        self._pending: list[tuple[Any, Any, float]] = []  # end of a step, start of the next, seconds waited between

    @property
    def data_wait_share(self) -> float:
        """Of the whole training, in every process that had a part in it."""
        return self.waited_seconds / self.seconds if self.seconds else 0.0

    @contextmanager
    def pause(self) -> Iterator[None]:
        """What happens inside is no training."""
        self._stop()
        try:
            yield
        finally:
            self._mark = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)
        self._mark = time.monotonic()
        self._loader_waited = _waited(trainer)
        self._step = trainer.global_step
        self._logged = self.seconds, self.waited_seconds, self.batches

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        waited = _waited(trainer)
        self._count_wait(self._step_end, self._event(pl_module), waited - self._loader_waited)
        self._loader_waited = waited

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._step_end = self._event(pl_module)
        self._stop()
        self.batches += 1
        step = trainer.global_step
        if step == self._step or step % max(1, trainer.log_every_n_steps):  # type: ignore[attr-defined]
            return
        self._step = step
        self._settle()
        now = self.seconds, self.waited_seconds, self.batches
        seconds, waited, batches = (new - old for new, old in zip(now, self._logged, strict=True))
        self._logged = now
        self.peaks = peak_memory_gb(pl_module.device)
        facts = {
            "clips_per_second": batches * self.clips_per_batch * trainer.world_size / seconds,
            "data_wait_share": waited / seconds,
            **{f"{kind}_memory_gb": peak for kind, peak in self.peaks.items()},
        }
        for name, value in facts.items():
            pl_module.log(PREFIX + name, value, on_step=True, on_epoch=False)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._stop()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._mark = time.monotonic()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._mark = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._settle()
        self.peaks = peak_memory_gb(pl_module.device)

    def state_dict(self) -> dict[str, Any]:
        self._settle()
        return {"seconds": self.seconds, "waited_seconds": self.waited_seconds, "batches": self.batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, value in state_dict.items():
            setattr(self, name, value)

    def _stop(self) -> None:
        """Counts the time up to now."""
        now = time.monotonic()
        self.seconds += now - self._mark
        self._mark = now

    def _event(self, pl_module: LightningModule) -> Any:
        """This place among what a GPU has been told to do; None on other devices, which have done it."""
        if pl_module.device.type != "cuda":
            return None
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _count_wait(self, end: Any, start: Any, waited: float) -> None:
        if end is None or start is None:
            self.waited_seconds += waited
            return
        self._pending.append((end, start, waited))
        if len(self._pending) > MOST_PENDING:
            self._settle()

    def _settle(self) -> None:
        """Reads the events of the steps so far: waits until the GPU has begun the last one."""
        for end, start, waited in self._pending:
            start.synchronize()
            self.waited_seconds += min(waited, end.elapsed_time(start) / 1000)
        self._pending.clear()


def _waited(trainer: Trainer) -> float:
    loader = trainer.train_dataloader
    assert isinstance(loader, ClipLoader)
    return loader.waited_seconds
