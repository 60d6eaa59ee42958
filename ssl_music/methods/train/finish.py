"""What a training leaves when it has ended well: its weights, and the last words of run.json."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from ssl_music._files import replacing
from ssl_music.encoders import parameter_count
from ssl_music.methods.base import Method
from ssl_music.methods.parts.collapse import CollapseWatch
from ssl_music.methods.train.folder import RunFolder
from ssl_music.methods.train.keep import Best, Last
from ssl_music.methods.train.machine import machine
from ssl_music.methods.train.throughput import Throughput
from ssl_music.tagger import Tagger


class Finish(Callback):
    """Writes the weights and the results in the process that trained, which need not be the one that started it.

    Before that, it notes where and from which step on a process trains. The weights are those of the last step, or
    for a method that `keeps` the best, best.safetensors if there is one.
    """

    def __init__(
        self,
        folder: RunFolder,
        write: Callable[..., object],
        *,
        best: Best,
        last: Last,
        watch: CollapseWatch,
        throughput: Throughput,
        clips_per_batch: int,
        results: Mapping[str, Any],
    ) -> None:
        self.folder = folder
        self.write = write
        self.best = best
        self.last = last
        self.watch = watch
        self.throughput = throughput
        self.clips_per_batch = clips_per_batch
        self.results = dict(results)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            self.folder.began(step=trainer.global_step, machine=machine(trainer))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, Method)
        weights, found = weights_path(self.folder, pl_module), self.folder.best.is_file()
        kept = "best" if pl_module.keeps == "best" and found else "last"
        if kept == "best":
            with replacing(weights) as temporary:
                shutil.copyfile(self.folder.best, temporary)
        else:
            self.write(weights, pl_module.artefact())
        seconds = self.last.total_seconds()
        batches = trainer.global_step * trainer.accumulate_grad_batches * trainer.world_size
        learnt = sum(parameter.numel() for parameter in pl_module.parameters() if parameter.requires_grad)
        best = {"loss": self.best.loss, "epoch": self.best.epoch, "step": self.best.step}
        self.folder.finish(
            weights=weights.name,
            kept=kept,
            best=best if found else None,
            stopped_early=self.best.gave_up,
            collapsed=self.watch.symptoms if self.watch.collapsed else [],
            warnings=self.watch.alarms,
            steps=trainer.global_step,
            epochs=trainer.current_epoch,
            seconds=round(seconds, 1),
            clips_per_second=round(batches * self.clips_per_batch / seconds, 2),
            data_wait_share=round(self.throughput.data_wait_share, 4),
            peak_memory_gb={kind: round(peak, 3) for kind, peak in self.throughput.peaks.items()},
            parameters={"learnt": learnt, "encoder": parameter_count(pl_module.encoder)},
            **self.results,
        )


def weights_path(folder: RunFolder, method: Method) -> Path:
    """Where the weights of a method go: the name says what they are."""
    return folder.out / ("tagger.safetensors" if isinstance(method.artefact(), Tagger) else "encoder.safetensors")
