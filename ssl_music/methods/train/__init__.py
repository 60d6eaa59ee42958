"""The one training function: any method, any catalog, exact resume, one run folder.

average     exponential moving average of the weights
batches     tracks of a split → batches of clips for a rank
fitting     the batch size that fits the memory
folder      the run folder: what made it, whether it can go on
finish      what is left when a training has ended well
keep        last.ckpt for resuming, best.safetensors for use, early stopping
machine     versions, devices and memory
norms       batch norms that see the batches of all devices
online      a probe of labels while the encoder learns
pace        the rate of each step
show        progress bar, metrics.csv and machine.csv
throughput  clips a second, and what is waited for data
trainer     Lightning's Trainer from a recipe's options
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from pytorch_lightning import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from tqdm import tqdm

from ssl_music import checkpoint
from ssl_music.catalogs import Catalog
from ssl_music.errors import UserError
from ssl_music.methods.base import Method
from ssl_music.methods.collapse import CollapseWatch
from ssl_music.methods.optimize import Optimization
from ssl_music.methods.train.average import Average
from ssl_music.methods.train.batches import Batches
from ssl_music.methods.train.finish import Finish, weights_path
from ssl_music.methods.train.fitting import largest_batch
from ssl_music.methods.train.folder import RunFolder
from ssl_music.methods.train.keep import Best, Last
from ssl_music.methods.train.machine import versions
from ssl_music.methods.train.online import Online, OnlineProbe
from ssl_music.methods.train.pace import Pace
from ssl_music.methods.train.show import Bar, MetricsFile
from ssl_music.methods.train.throughput import Throughput
from ssl_music.methods.train.trainer import build_trainer, check_options, fit

__all__ = ["OnlineProbe", "train"]


def train(
    method: Method,
    catalog: Catalog,
    *,
    out: Path | str,
    batch_size: int | Literal["auto"],
    trainer_options: Mapping[str, Any],
    seed: int = 42,
    split: str = "train",
    valid_split: str | None = "valid",
    short: Literal["pad", "loop", "drop"] = "loop",
    epoch_of: Literal["tracks", "seconds"] = "tracks",
    early_stop_epochs: int | None = None,
    checkpoint_every_steps: int | None = None,
    chunk_size: int | None = None,
    optimizer: Optimization | None = None,
    ema_decay: float | None = None,
    online: OnlineProbe | None = None,
    recipe: Mapping[str, Any] | None = None,
) -> Path:
    """Trains `method` on `catalog` and returns the weights it leaves in `out`.

    Run again, it goes on where it was killed and ends with the weights of an uninterrupted run, bit for bit on one
    machine; when it is finished already it says so; when what it depends on has changed it refuses.

    `trainer_options` are Lightning's. What is left in `out` are the weights of the last step, or for a method that
    `keeps` the best those with the lowest validation loss; without `valid_split` there is no best. `batch_size` is
    that of one device; with `chunk_size` so many rows go through the encoder at a time (gradient caching: the memory
    of a chunk, a second forward pass). "auto" takes the largest power of two that fits the memory; run.json keeps it,
    and a run that resumes goes on with it. With `ema_decay` an exponential moving average of the weights is what is
    validated and what is left. `online` asks a probe beside the training, which does not notice it.

    >>> import tempfile
    >>> import numpy as np
    >>> from ssl_music import audio, checkpoint
    >>> from ssl_music.catalogs import Folder
    >>> from ssl_music.encoders import SampleCNN
    >>> from ssl_music.methods import SimCLR
    >>> folder = Path(tempfile.mkdtemp())
    >>> for number in range(8):
    ...     audio.write(folder / f"{number}.wav", 0.1 * np.random.default_rng(number).standard_normal(4000), 8000)
    >>> method = SimCLR(SampleCNN(width=2, depth=3, sample_rate=8000))
    >>> weights = train(
    ...     method, Folder(folder), out=folder / "run", batch_size=4, split="all", valid_split=None,
    ...     trainer_options={"max_epochs": 1, "accelerator": "cpu"},
    ... )
    >>> checkpoint.load(weights).embedding_dim
    8
    """
    check_options(trainer_options)
    if early_stop_epochs is not None and valid_split is None:
        raise UserError("early_stop_epochs needs a validation loss: give valid_split, or leave early_stop_epochs out")
    if chunk_size is not None and chunk_size < 1:
        raise UserError(f"chunk_size {chunk_size}; wanted 1 or more rows, or nothing for the whole batch at once")
    if isinstance(batch_size, str) and batch_size != "auto":
        raise UserError(f"batch_size {batch_size!r}; wanted a number, or auto")
    average = None if ema_decay is None else Average(ema_decay)
    optimizer = optimizer or Optimization()
    optimizer.check(learning_rate=method.learning_rate, trainer=trainer_options, validated=valid_split is not None)
    settings = {
        "method": method,
        "batch_size": batch_size,
        "valid_split": valid_split,
        "short": short,
        "epoch_of": epoch_of,
        "early_stop_epochs": early_stop_epochs,
        "chunk_size": chunk_size,
        "optimizer": optimizer,
        "ema_decay": ema_decay,
        "online": online,
        "trainer": trainer_options,
    }
    about = {"fingerprint": catalog.fingerprint(), "split_name": catalog.split_name, "split": split}
    folder = RunFolder(Path(out), {"recipe": recipe, "seed": seed, "catalog": about, "settings": settings})
    if folder.weights is not None:
        _say(f"{folder.out}: finished already on {folder.run['finished']}; delete the folder to train anew")
        return folder.weights

    again = partial(
        train,
        catalog=catalog,
        batch_size=batch_size,
        trainer_options=trainer_options,
        seed=seed,
        split=split,
        valid_split=valid_split,
        short=short,
        epoch_of=epoch_of,
        early_stop_epochs=early_stop_epochs,
        checkpoint_every_steps=checkpoint_every_steps,
        chunk_size=chunk_size,
        optimizer=optimizer,
        ema_decay=ema_decay,
        online=online,
        recipe=recipe,
    )
    stages = _Stages(Path(out), "cpu" if trainer_options.get("accelerator") == "cpu" else "auto", again)
    method.precede(catalog, method.training_tracks(catalog, split), stages)
    batches = Batches(
        method,
        catalog,
        split=split,
        valid_split=valid_split,
        batch_size=2 if batch_size == "auto" else batch_size,
        seed=seed,
        short=short,
        epoch_of=epoch_of,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # a head that is made here is a function of the seed too
        method.prepare(catalog, batches.train_tracks)
    method.seed, method.optimization, method.chunk_size = seed, optimizer, chunk_size
    method.max_steps = None if trainer_options.get("max_steps") == -1 else trainer_options.get("max_steps")
    method.train()
    found = folder.found or (
        {"batch_size": _fitting(method, batches, trainer_options)} if batch_size == "auto" else {}
    )
    batches.batch_size = found.get("batch_size", batches.batch_size)
    write = partial(
        checkpoint.save, provenance={"recipe": recipe, "seed": seed, "catalog": about, "versions": versions()}
    )
    loader = batches.loader(training=True, rank=0, world_size=1)  # or its error, before anything is written
    results = {"tracks": len(loader.rows), "dropped": loader.dropped}
    clips_per_batch = batches.batch_size * method.views
    throughput, asking = Throughput(clips_per_batch=clips_per_batch), None
    if online is not None:
        size = batches.batch_size
        asking = Online(online, catalog, batches.waves, batch_size=size, average=average, throughput=throughput)
    callbacks = _callbacks(
        folder,
        write,
        clips_per_batch=clips_per_batch,
        average=average,
        throughput=throughput,
        online=asking,
        every_steps=checkpoint_every_steps,
        patience=early_stop_epochs,
        results=results,
    )
    options = dict(trainer_options) if valid_split is not None else {**trainer_options, "limit_val_batches": 0}
    if options.get("enable_progress_bar") in (None, True):
        max_steps = trainer_options.get("max_steps")
        callbacks.append(Bar(clips_per_batch=clips_per_batch, max_steps=max_steps, online=asking))
    loggers = [MetricsFile(folder.metrics), MetricsFile(folder.machine, of_machine=True)]
    trainer = build_trainer(options, out=folder.out, callbacks=callbacks, loggers=loggers)
    if loader.dropped:
        _say(f"{loader.dropped} of {len(batches.train_rows)} tracks are shorter than a clip: left out (short: drop)")
    if trainer.is_global_zero:
        folder.start(**found)
    if folder.resumable is not None:
        _say(f"{folder.out}: resuming from last.ckpt")

    fit(trainer, method, batches, resume=folder.resumable)
    return weights_path(folder, method)


@dataclass(frozen=True)
class _Stages:
    """What `methods.base.Stage` asks for."""

    out: Path
    device: str
    train: Callable[..., Path]

    def __call__(self, method: Method, name: str) -> Path:
        return self.train(method, out=self.out / name)


def _callbacks(
    folder: RunFolder,
    write: partial[str],
    *,
    clips_per_batch: int,
    average: Average | None,
    throughput: Throughput,
    online: Online | None,
    every_steps: int | None,
    patience: int | None,
    results: Mapping[str, Any],
) -> list[Callback]:
    """What watches, keeps and finishes; `Best` has nothing to do where nothing is validated."""
    watch, best, last = CollapseWatch(), Best(folder.best, write, patience=patience), Last(folder.last, every_steps)
    finish = Finish(
        folder,
        write,
        best=best,
        last=last,
        watch=watch,
        throughput=throughput,
        clips_per_batch=clips_per_batch,
        results=results,
    )
    # whatever looks at a validation stands before the average, which leaves the method's place at its end
    found = [Pace(), watch, best, last, online, average, throughput, finish]
    return [callback for callback in found if callback is not None]


def _fitting(method: Method, batches: Batches, trainer_options: Mapping[str, Any]) -> int:
    """The batch size that fits, said in a line."""
    options = {**trainer_options, "callbacks": None, "logger": None, "enable_progress_bar": False}
    trainer = build_trainer(options, out=Path(), callbacks=[], loggers=[])
    first = partial(batches.loader, training=True, rank=0, world_size=1)
    found = largest_batch(
        method,
        lambda size: first(batch_size=size).batch(0, 0),
        trainer=trainer,
        most=first().state_dict()["examples"],
    )
    _say(f"batch_size auto: {found.batch_size} ({found.reason})")
    return found.batch_size


@rank_zero_only
def _say(text: str) -> None:
    tqdm.write(text, file=sys.stderr)
