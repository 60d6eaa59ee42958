"""The rate of every step, set right before it, and the memory of a plateau."""

import math
from functools import partial
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from ssl_music.methods.base import Method
from ssl_music.methods.optimize.phased import Phased


class Pace(Callback):
    """Sets the rate that the run's `Optimization` gives the next step, and logs it as train/learning_rate.

    In place of Lightning's schedulers: those of a validation loss it steps behind the checkpoint of the epoch's end,
    so that a run that resumes from there would be one validation behind. Here the rate is a function of step, epoch
    and `cuts`, and `cuts` changes in the validation, before anything is saved.

    A validation is flat when its loss is not lower than the lowest so far; after a cut the count of them begins anew.
    """

    def __init__(self) -> None:
        self.cuts = 0  #: how often the rate has been cut
        self.loss = math.inf  #: lowest so far
        self.flat = 0  #: validations since, or since the last cut

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        assert isinstance(pl_module, Method)
        optimization, epoch = pl_module.optimization, trainer.current_epoch
        rate = partial(
            optimization.rate,
            step=trainer.global_step,
            epoch=epoch,
            total_steps=pl_module.total_steps if optimization.schedule == "cosine" else None,
            cuts=self.cuts,
        )
        for optimizer in trainer.optimizers:
            if isinstance(optimizer, Phased) and optimizer.phase != optimization.phase(epoch):
                optimizer.phase = optimization.phase(epoch)
            for group in optimizer.param_groups:
                # torch's name for it; a method that makes its own optimizer keeps the rates of its groups
                group["lr"] = rate(group.setdefault("initial_lr", group["lr"]))
            pl_module.log("train/learning_rate", optimizer.param_groups[0]["lr"], on_step=True, on_epoch=False)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Method)
        optimization = pl_module.optimization
        if trainer.sanity_checking or optimization.schedule != "plateau":
            return
        loss = float(trainer.callback_metrics["valid/loss"])
        if loss < self.loss:
            self.loss, self.flat = loss, 0
            return
        self.flat += 1
        if self.flat >= optimization.plateau_patience:
            self.cuts, self.flat = self.cuts + 1, 0

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("cuts", "loss", "flat")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, value in state_dict.items():
            setattr(self, name, value)
