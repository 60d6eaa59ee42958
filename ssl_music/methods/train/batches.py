"""The batches of a training: tracks of a split → rows of the waves → ClipLoader, for the rank that asks."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pytorch_lightning import LightningDataModule

from ssl_music.catalogs import Catalog, Track
from ssl_music.clips import ClipLoader, Waves, waves
from ssl_music.errors import UserError
from ssl_music.methods.base import Method


class Batches(LightningDataModule):
    """Training clips in a new order and with new crops every epoch; validation clips always the same.

    The loaders are made when Lightning asks for them: only then does every process know its rank.
    """

    def __init__(
        self,
        method: Method,
        catalog: Catalog,
        *,
        split: str,
        valid_split: str | None,
        batch_size: int,
        seed: int,
        short: Literal["pad", "loop", "drop"],
        epoch_of: Literal["tracks", "seconds"],
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise UserError(f"batch_size {batch_size}; wanted 1 or more")
        self.method = method
        self.batch_size = batch_size
        self.seed = seed
        self.short = short
        self.epoch_of = epoch_of
        row = {track.id: number for number, track in enumerate(catalog.tracks)}

        def rows_of(tracks: Sequence[Track]) -> np.ndarray:
            return np.array([row[track.id] for track in tracks], np.int64)

        self.train_tracks, self.train_targets = method.examples(catalog, method.training_tracks(catalog, split))
        self.train_rows = rows_of(self.train_tracks)
        self.train_halves = method.halves(catalog, self.train_tracks)
        self.valid_rows = np.empty(0, np.int64)
        if valid_split is not None:
            valid_tracks, self.valid_targets = method.valid_examples(catalog, catalog.split(valid_split))
            self.valid_rows = rows_of(valid_tracks)
        self.waves: Waves = waves(catalog, method.encoder.sample_rate)

    def train_dataloader(self) -> ClipLoader:
        return self.loader(training=True)

    def val_dataloader(self) -> ClipLoader:
        return self.loader(training=False)

    def loader(
        self,
        *,
        training: bool,
        rank: int | None = None,
        world_size: int | None = None,
        batch_size: int | None = None,
    ) -> ClipLoader:
        """The clips of one rank, by default of this process, and in batches of the run's size."""
        if rank is None or world_size is None:
            trainer = self.trainer
            rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        rows = self.train_rows if training else self.valid_rows
        batch_size, full = batch_size or self.batch_size, training or self.method.compares_rows
        if not training:  # a small validation split is one batch
            usable = len(rows)
            if self.short == "drop":
                usable = int((self.waves.samples[rows] >= self.method.input_samples).sum())
            batch_size = max(1, min(batch_size, usable // world_size))
        return ClipLoader(
            self.waves,
            rows,
            input_samples=self.method.input_samples,
            batch_size=batch_size,
            crops=self.method.crops,
            seed=self.seed,
            targets=self.train_targets if training else self.valid_targets,
            halves=self.train_halves if training else None,
            short=self.short,
            epoch_of=self.epoch_of if training else "tracks",
            shuffle=training,
            drop_last=full,
            rank=rank,
            world_size=world_size,
        )
