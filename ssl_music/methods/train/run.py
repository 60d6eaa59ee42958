"""The course of a run: what comes before it, its batches, what watches and keeps, and Lightning's fit."""

import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from tqdm import tqdm

from ssl_music import checkpoint
from ssl_music.catalogs import Catalog
from ssl_music.errors import UserError
from ssl_music.methods.base import Method
from ssl_music.methods.parts.chunks import has_batch_norm
from ssl_music.methods.parts.collapse import CollapseWatch
from ssl_music.methods.train.average import Average
from ssl_music.methods.train.batches import Batches
from ssl_music.methods.train.finish import Finish, weights_path
from ssl_music.methods.train.fitting import largest_batch
from ssl_music.methods.train.folder import RunFolder
from ssl_music.methods.train.keep import Best, Last
from ssl_music.methods.train.machine import versions
from ssl_music.methods.train.online import Online
from ssl_music.methods.train.pace import Pace
from ssl_music.methods.train.settings import Settings
from ssl_music.methods.train.show import Bar, MetricsFile
from ssl_music.methods.train.throughput import Throughput
from ssl_music.methods.train.trainer import build_trainer, fit


def run(method: Method, catalog: Catalog, out: Path, settings: Settings, recipe: Mapping[str, Any] | None) -> Path:
    """`train`, with its arguments put together."""
    average = None if settings.ema_decay is None else Average(settings.ema_decay)
    options = settings.trainer_options
    settings.optimizer.check(
        learning_rate=method.learning_rate, trainer=options, validated=settings.valid_split is not None
    )
    origin = {
        "recipe": recipe,
        "seed": settings.seed,
        "catalog": {
            "fingerprint": catalog.fingerprint(),
            "split_name": catalog.split_name,
            "split": settings.split,
        },
    }
    folder = RunFolder(out, {**origin, "settings": settings.facts(method)})
    if folder.weights is not None:
        _say(f"{folder.out}: finished already on {folder.run['finished']}; delete the folder to train anew")
        return folder.weights

    stages = _Stages(out, "cpu" if options.get("accelerator") == "cpu" else "auto", catalog, settings, recipe)
    method.precede(catalog, method.training_tracks(catalog, settings.split), stages)
    batches = _batches(method, catalog, settings)
    found = folder.found or ({"batch_size": _fitting(method, batches, options)} if _is_auto(settings) else {})
    batches.batch_size = found.get("batch_size", batches.batch_size)
    loader = batches.loader(training=True, rank=0, world_size=1)  # or its error, before anything is written
    clips_per_batch = batches.batch_size * method.views
    throughput, asking = Throughput(clips_per_batch=clips_per_batch), None
    if settings.online is not None:
        size = batches.batch_size
        asking = Online(
            settings.online, catalog, batches.waves, batch_size=size, average=average, throughput=throughput
        )
    write = partial(checkpoint.save, provenance={**origin, "versions": versions()})
    watch, last = CollapseWatch(), Last(folder.last, settings.checkpoint_every_steps)
    best = Best(folder.best, write, patience=settings.early_stop_epochs)
    finish = Finish(
        folder,
        write,
        best=best,
        last=last,
        watch=watch,
        throughput=throughput,
        clips_per_batch=clips_per_batch,
        results={"tracks": len(loader.rows), "dropped": loader.dropped},
    )
    # whatever looks at a validation stands before the average, which leaves the method's place at its end
    wanted = [Pace(), watch, best, last, asking, average, throughput, finish]
    callbacks: list[Callback] = [callback for callback in wanted if callback is not None]
    if options.get("enable_progress_bar") in (None, True):
        callbacks.append(Bar(clips_per_batch=clips_per_batch, max_steps=settings.max_steps, online=asking))
    trainer = build_trainer(
        options if settings.valid_split is not None else {**options, "limit_val_batches": 0},
        out=folder.out,
        callbacks=callbacks,
        loggers=[MetricsFile(folder.metrics), MetricsFile(folder.machine, of_machine=True)],
    )
    if loader.dropped:
        _say(f"{loader.dropped} of {len(batches.train_rows)} tracks are shorter than a clip: left out (short: drop)")
    if trainer.is_global_zero:
        folder.start(**found)
    if folder.resumable is not None:
        _say(f"{folder.out}: resuming from last.ckpt")

    try:
        fit(trainer, method, batches, resume=folder.resumable)
    except UserError:
        if trainer.is_global_zero and trainer.global_step == 0:
            folder.forget()
        raise
    return weights_path(folder, method)


@dataclass(frozen=True)
class _Stages:
    """What `methods.base.Stage` asks for."""

    out: Path
    device: str
    catalog: Catalog
    settings: Settings
    recipe: Mapping[str, Any] | None

    def __call__(self, method: Method, name: str) -> Path:
        return run(method, self.catalog, self.out / name, self.settings, self.recipe)


def _batches(method: Method, catalog: Catalog, settings: Settings) -> Batches:
    """The batches of the run, and the method ready for them."""
    batches = Batches(
        method,
        catalog,
        split=settings.split,
        valid_split=settings.valid_split,
        batch_size=2 if _is_auto(settings) else int(settings.batch_size),
        seed=settings.seed,
        short=settings.short,
        epoch_of=settings.epoch_of,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)  # a head that is made here is a function of the seed too
        method.prepare(catalog, batches.train_tracks)
    method.seed, method.optimization, method.chunk_size = settings.seed, settings.optimizer, settings.chunk_size
    method.max_steps = settings.max_steps
    method.train()
    if settings.chunk_size and has_batch_norm(method.encoder):
        warnings.warn(
            f"chunk_size {settings.chunk_size}: batch norm sees one chunk at a time, and the gradient is not quite "
            "that of the whole batch; encoders with norm: group or layer have it exactly",
            stacklevel=2,
        )
    return batches


def _is_auto(settings: Settings) -> bool:
    return settings.batch_size == "auto"


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
