"""Lightning's Trainer from a recipe's options, checked, and without its small talk."""

import inspect
import logging
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.io import CheckpointIO

from ssl_music.errors import UserError, unknown_name
from ssl_music.methods.train.keep import WholeFiles
from ssl_music.methods.train.norms import SyncedNorms

KNOWN = sorted(set(inspect.signature(Trainer.__init__).parameters) - {"self", "default_root_dir"})
#: Lightning's own defaults serve notebooks; these serve a run of hours. A recipe's options come after them.
DEFAULTS: dict[str, Any] = {"log_every_n_steps": 10, "num_sanity_val_steps": 0, "enable_model_summary": False}
#: options that would take away what resuming and the report stand on, and the value that is fine
NEEDED = {"enable_checkpointing": True, "barebones": False, "fast_dev_run": False}
RANK_ZERO = ".utilities.rank_zero"  # has a level of its own
#: what Lightning says of things that are so on purpose
SMALL_TALK = (
    r".*smaller than the logging interval.*",
    r".*module\(s\) in eval mode at the start of training.*",  # a frozen encoder
    r".*does not have many workers.*",
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*",
    r".*Grad strides do not match bucket view strides.*",  # DDP, of channels-last convolutions
    r".*have overridden `on_after_batch_transfer` in `LightningModule`.*",
)


def build_trainer(
    options: Mapping[str, Any], *, out: Path, callbacks: Sequence[Callback], loggers: Sequence[Logger]
) -> Trainer:
    """A Trainer with `options`, to which our callbacks and loggers are added.

    >>> build_trainer({"max_epoch": 3}, out=Path("."), callbacks=[], loggers=[])
    Traceback (most recent call last):
    ...
    ssl_music.errors.UserError: unknown option of trainer 'max_epoch'; did you mean 'max_epochs'? Known: ...
    """
    check_options(options)
    chosen = {**DEFAULTS, **options}
    theirs = {name: chosen.pop(name, None) for name in ("logger", "callbacks")}
    if chosen.get("max_steps") not in (None, -1):
        callbacks = [*callbacks, StopAt(chosen.pop("max_steps"))]
        chosen.setdefault("max_epochs", -1)
    plugins = _as_list(chosen.pop("plugins", None))
    if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        plugins.append(WholeFiles())
    if chosen.pop("sync_batchnorm", False):
        plugins.append(SyncedNorms())
    with quiet():
        return Trainer(
            **chosen,
            default_root_dir=out,
            plugins=plugins,
            logger=[*loggers, *([] if isinstance(theirs["logger"], bool) else _as_list(theirs["logger"]))],
            callbacks=[*_as_list(theirs["callbacks"]), *callbacks],
        )


class StopAt(Callback):
    """Ends a training behind a number of optimizer steps.

    In place of Lightning's own `max_steps`, with which it resumes wrongly: from the end of an epoch that was
    validated it counts that epoch twice, and goes on with the batches of the one after the next (2.6.6).
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop_if_due(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._stop_if_due(trainer)

    def _stop_if_due(self, trainer: Trainer) -> None:
        trainer.should_stop = trainer.should_stop or trainer.global_step >= self.steps


def check_options(options: Mapping[str, Any]) -> None:
    """The error for an option that Lightning does not know, or with which a run could not be resumed or end."""
    for name, value in options.items():
        if name not in KNOWN:
            raise unknown_name("option of trainer", name, KNOWN)
        if name in NEEDED and value not in (None, NEEDED[name]):
            raise UserError(f"trainer.{name}: {value!r}; training needs {NEEDED[name]!r}: leave the option out")
    if (
        options.get("max_epochs") is None
        and options.get("max_time") is None
        and options.get("max_steps") in (None, -1)
    ):
        raise UserError("trainer: say how long to train with max_epochs, max_steps or max_time")


def fit(trainer: Trainer, method: LightningModule, batches: LightningDataModule, *, resume: Path | None) -> None:
    """Trains, from `resume` on if that is given; Ctrl-C comes out as the KeyboardInterrupt that it is."""
    try:
        with quiet():
            trainer.fit(method, datamodule=batches, ckpt_path=None if resume is None else str(resume))
    except SystemExit:
        if not trainer.interrupted:
            raise
    if trainer.interrupted:
        # Lightning catches the interrupt, leaves the signal ignored, and calls exit(1)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt


@contextmanager
def quiet() -> Iterator[None]:
    """Lightning without its tips and notices; its warnings stay, but for those of SMALL_TALK."""
    names = [package + part for package in ("pytorch_lightning", "lightning_fabric") for part in ("", RANK_ZERO)]
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in SMALL_TALK:
            warnings.filterwarnings("ignore", message=message)
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
