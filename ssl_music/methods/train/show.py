"""What a training shows: a progress bar over the whole run, and tables of what was logged, which survive a kill."""

import csv
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from tqdm import tqdm

from ssl_music._files import replacing
from ssl_music.methods.train.online import Online
from ssl_music.methods.train.throughput import PREFIX

#: the share of the time waited for data from which the bar says so
WORTH_TELLING = 0.1


class Bar(ProgressBar):
    """Steps of the whole run with the time left, epoch, losses and clips a second; only on a terminal.

    Beside them the last answer of a probe, and how much of its time the training waits for data, where that is much.
    `clips_per_batch` is what one batch of one device sends through the encoder.
    """

    def __init__(self, *, clips_per_batch: int, max_steps: int | None = None, online: Online | None = None) -> None:
        super().__init__()
        self.online = online
        self.max_steps = max_steps if max_steps not in (None, -1) else math.inf
        self.clips_per_batch = clips_per_batch
        self._wanted = True
        self._bar: tqdm | None = None
        self._began = (0.0, 0)  # clock and step of this process

    def disable(self) -> None:
        self._wanted = False

    def enable(self) -> None:
        self._wanted = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        steps = min(trainer.estimated_stepping_batches, self.max_steps)
        self._began = time.monotonic(), trainer.global_step
        self._bar = tqdm(
            total=int(steps) if math.isfinite(steps) else None,
            initial=trainer.global_step,
            desc="training",
            unit="step",
            file=sys.stderr,
            disable=None if self._wanted else True,  # None: only on a terminal
            dynamic_ncols=True,
        )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._bar is None or self._bar.disable or trainer.global_step == self._bar.n:
            return
        clock, step = self._began
        clips = (trainer.global_step - step) * self.clips_per_batch
        rate = clips * trainer.world_size * trainer.accumulate_grad_batches / (time.monotonic() - clock)
        shown = {"epoch": trainer.current_epoch + 1, "clips/s": f"{rate:.3g}"}
        # reading a loss waits for the GPU, so only as often as the bar moves on the screen
        if time.time() - self._bar.last_print_t >= self._bar.mininterval:
            found = trainer.callback_metrics
            for name in ("train/loss", "valid/loss"):
                if name in found:
                    shown[name.replace("train/", "")] = f"{float(found[name]):.4f}"
            for name, value in (self.online.latest if self.online else {}).items():
                shown[name.replace("valid/", "")] = f"{value:.3f}"
            if (waited := float(found.get(PREFIX + "data_wait_share", 0.0))) > WORTH_TELLING:
                shown["waits for data"] = f"{waited:.0%}"
            self._bar.set_postfix(shown, refresh=False)
        self._bar.update(trainer.global_step - self._bar.n)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class MetricsFile(Logger):
    """One row for each logging, columns `step`, `epoch` and whatever was logged, on disk at once.

    What begins with "machine/" depends on where a run runs, and stands in a table of its own: metrics.csv is then the
    same for a run that was interrupted and one that was not.

    `step` counts the optimizer steps before the row's own. A training that resumed logs some steps again: the first
    row of a process drops what an earlier one has logged from that step on.

    >>> import tempfile
    >>> file = MetricsFile(Path(tempfile.mkdtemp()) / "metrics.csv")
    >>> file.log_metrics({"train/loss": 4.5, "epoch": 0}, step=9)
    >>> file.log_metrics({"valid/loss": 4.25, "epoch": 0}, step=9)
    >>> print(file.path.read_text())
    step,epoch,train/loss,valid/loss
    9,0,4.5,
    9,0,,4.25
    """

    def __init__(self, path: Path, *, of_machine: bool = False) -> None:
        super().__init__()
        self.path = path
        self.of_machine = of_machine
        self._columns: list[str] = []

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        step = step or 0
        mine = {
            name: float(f"{value:.7g}")  # what float32 has: a learning rate of 1e-7 is one
            for name, value in metrics.items()
            if name != "epoch" and name.startswith(PREFIX) == self.of_machine
        }
        if not mine:
            return
        row = {"step": step, "epoch": metrics.get("epoch", ""), **mine}
        if not self._columns:
            earlier = [old for old in self._rows() if int(old["step"]) < step]
            self._columns = list(earlier[0]) if earlier else ["step", "epoch"]
            self._rewrite(earlier)
        if new := [name for name in row if name not in self._columns]:
            self._columns += sorted(new)
            self._rewrite(self._rows())
        with self.path.open("a", newline="") as handle:
            csv.DictWriter(handle, self._columns, lineterminator="\n").writerow(row)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: run.json holds the recipe."""

    def _rows(self) -> list[dict[str, str]]:
        if not self.path.is_file():
            return []
        with self.path.open(newline="") as handle:
            # a row that a kill cut short has no last column
            return [row for row in csv.DictReader(handle) if None not in row.values()]

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        with replacing(self.path) as temporary, temporary.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, self._columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
