"""The verb that trains: any method, any catalog."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from ssl_music.catalogs import Catalog
    from ssl_music.methods import Method
    from ssl_music.methods.optimize import Optimization
    from ssl_music.methods.train import OnlineProbe


def pretrain(
    method: Method,
    catalog: Catalog,
    out: Path,
    batch_size: int | Literal["auto"] = 48,
    seed: int = 42,
    split: str = "train",
    valid_split: str | None = "valid",
    short: Literal["pad", "loop", "drop"] = "loop",
    epoch_of: Literal["tracks", "seconds"] = "tracks",
    init_from: Path | None = None,
    early_stop_epochs: int | None = None,
    checkpoint_every_steps: int | None = None,
    chunk_size: int | None = None,
    optimizer: Optimization | None = None,
    ema_decay: float | None = None,
    online: OnlineProbe | None = None,
    *,
    trainer: dict[str, Any],
    config: dict[str, Any],
) -> None:
    """Train an encoder or a tagger by a recipe: without labels, with them, or with some.

    Args:
        method: how the encoder learns.
        catalog: the music it learns from; a packed one (Pack) is fastest.
        out: run folder for weights, metrics and checkpoints; run again and it resumes exactly.
        batch_size: clips a step on each device; "auto" is as many as fit.
        seed: of weights, crops and views.
        split: the split to train on; "all" is every track.
        valid_split: the split watched for `best` and early stopping; null for none.
        short: what to do with tracks shorter than a clip.
        epoch_of: an epoch visits every track once, or each as often as it has clips (seconds).
        init_from: start from the encoder weights in this checkpoint.
        early_stop_epochs: stop after so many epochs without a better validation loss.
        checkpoint_every_steps: how often to save for resuming; by default at the end of each epoch.
        chunk_size: rows that go through the encoder at a time, for batches larger than the memory; all by default.
        optimizer: which one, its schedule and its groups; Adam with a constant rate by default.
        ema_decay: validate and keep a moving average of the weights, such as 0.999; none by default.
        online: a probe of a label column now and then while the encoder learns; none by default.
    """
    from pytorch_lightning.utilities.rank_zero import rank_zero_only

    from ssl_music import checkpoint
    from ssl_music.methods.train import train

    tell_duplicates(catalog)
    if init_from is not None:
        checkpoint.fill_encoder(method.encoder, init_from)
    weights = train(
        method,
        catalog,
        out=out,
        seed=seed,
        batch_size=batch_size,
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
        trainer_options=trainer,
        recipe=config,
    )
    rank_zero_only(print)(f"weights: {weights}")


def tell_duplicates(catalog: Catalog) -> None:
    """Says which files of a catalog hold the same bytes; a pack has told of its duplicates when it was made."""
    from ssl_music.catalogs import file_duplicates
    from ssl_music.pack import Pack

    same = [] if isinstance(catalog, Pack) else file_duplicates(catalog.tracks)
    for group in same[:5]:
        leak = " and stand in several splits" if len({track.split for track in group}) > 1 else ""
        print(f"the same audio{leak}: {', '.join(repr(track.id) for track in group)}", file=sys.stderr)
    if len(same) > 5:
        print(f"… and {len(same) - 5} more groups of files with the same audio", file=sys.stderr)
