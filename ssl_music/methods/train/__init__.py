"""The one training function: any method, any catalog, exact resume, one run folder.

average     exponential moving average of the weights
batches     tracks of a split → batches of clips for a rank
fitting     the batch size that fits the memory
folder      the run folder: what made it, whether it can go on
finish      what is left when a training has ended well
keep        last.ckpt for resuming, best.safetensors for use, early stopping
machine     versions, devices and memory
embedded  embeddings of some tracks while the encoder learns
norms       batch norms that see the batches of all devices
online      a probe of labels while the encoder learns
pace        the rate of each step
run         the course of a run
settings    what a run is told, checked
show        progress bar, metrics.csv and machine.csv
throughput  clips a second, and what is waited for data
trainer     Lightning's Trainer from a recipe's options
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ssl_music.catalogs import Catalog
from ssl_music.methods.base import Method
from ssl_music.methods.optimize import Optimization
from ssl_music.methods.train.online import OnlineProbe
from ssl_music.methods.train.run import run
from ssl_music.methods.train.settings import Settings

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
    settings = Settings(
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
        optimizer=optimizer or Optimization(),
        ema_decay=ema_decay,
        online=online,
    )
    return run(method, catalog, Path(out), settings, recipe)
