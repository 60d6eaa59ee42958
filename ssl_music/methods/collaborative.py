"""Collaborative: what listeners have in common, learnt from the sound. Item factors are regressed on audio."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_music.augment import Augmentation
from ssl_music.catalogs import Catalog, Track
from ssl_music.catalogs.labels import examples as some
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.methods.base import Method
from ssl_music.methods.parts.factors import compute_factors, read_factors
from ssl_music.methods.parts.targets import KEY, check_same_targets, digest_of

DIM = 50


class Collaborative(Method):
    """Deep content-based music recommendation (van den Oord, Dieleman & Schrauwen, NIPS 2013): a network predicts the
    latent factors that collaborative filtering gives a track, by mean squared error.

    `factors` is a table of them, CSV or Parquet: ids in the column `track`, every other column one factor. Or they
    are computed from `counts`, a table with the columns `user`, `track` and `count` (extra `collaborative`): `dim`
    factors, by default 50 (see `factors.compute_factors`). The ids are those of the catalog, for a folder the paths
    in it. Tracks without factors take no part; the tables may have tracks that the catalog has not.

    The factors are centred on their means over the training split and divided by one number, so that a loss of 1 is
    that of always guessing the means (`loss_over_trivial` is the loss), and each factor keeps the weight that its
    variance gives it. One linear layer predicts, and is thrown away after training. Adam 1e-4 as in `Supervised`.

    Shape: clips (B, 1, T) with factors (B, K) as targets → losses ().

    >>> from ssl_music.encoders import SampleCNN
    >>> Collaborative(SampleCNN(width=4), counts="listening.csv", dim=20).counts
    'listening.csv'
    """

    keeps: Literal["last", "best"] = "best"
    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        encoder: Encoder,
        augment: Sequence[Augmentation] | str = (),
        *,
        factors: Path | str | None = None,
        counts: Path | str | None = None,
        dim: int | None = None,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(encoder, augment=augment, learning_rate=learning_rate, weight_decay=weight_decay)
        if (factors is None) == (counts is None):
            raise UserError(f"Collaborative: factors={factors}, counts={counts}; wanted one of the two tables")
        if dim is not None and factors is not None:
            raise UserError(f"Collaborative: dim={dim} with factors; the table says how many there are")
        self.factors = factors
        self.counts = counts
        self.dim = dim
        self.head: nn.Linear | None = None  # `prepare` makes it: only the table knows how many factors there are
        self._table: dict[str, np.ndarray] = {}

    @property
    def table(self) -> dict[str, np.ndarray]:
        """Id → factors (K,)."""
        if not self._table and self.factors is not None:
            self._table = read_factors(self.factors)
        elif not self._table and self.counts is not None:
            self._table = compute_factors(self.counts, DIM if self.dim is None else self.dim)
        return self._table

    def examples(self, catalog: Catalog, tracks: Sequence[Track]) -> tuple[list[Track], np.ndarray | None]:
        kept = [track for track in tracks if track.id in self.table]
        if not kept:
            raise UserError(
                f"{self.factors or self.counts}: none of its {len(self.table)} tracks ({some(self.table)}) is among "
                f"these {len(tracks)} of the catalog ({some(track.id for track in tracks)}); write the catalog's ids"
            )
        return kept, np.stack([self.table[track.id] for track in kept])

    def prepare(self, catalog: Catalog, tracks: Sequence[Track]) -> None:
        targets = np.stack([self.table[track.id] for track in tracks]).astype(np.float64)
        scale = np.sqrt(targets.var(axis=0).mean())
        if scale <= 1e-6 * np.abs(targets).max():
            raise UserError(
                f"{self.factors or self.counts}: all {len(tracks)} tracks that are trained on have the same factors; "
                "there is nothing to tell apart"
            )
        self.register_buffer("mean", torch.from_numpy(targets.mean(axis=0)).float(), persistent=False)
        self.register_buffer("scale", torch.tensor(scale).float(), persistent=False)
        self.head = nn.Linear(self.encoder.embedding_dim, targets.shape[1])

    def losses(self, clips: Clips) -> dict[str, Tensor]:
        if self.head is None or clips.targets is None:
            raise UserError("Collaborative wants prepare(catalog, tracks) first, and factors (B, K) with its clips")
        wave = clips.view(0)
        embedding = self.encoded(self.augmented(wave) if self.training else wave.to(self.dtype))  # (B, D)
        self.watched = {"embedding": embedding.detach()}
        wanted = (clips.targets - self.mean) / self.scale
        loss = functional.mse_loss(self.head(embedding).to(wanted.dtype), wanted)
        return {"loss": loss, "loss_over_trivial": loss.detach()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint[KEY] = digest_of({name: factors.tobytes() for name, factors in self.table.items()})

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        now = digest_of({name: factors.tobytes() for name, factors in self.table.items()})
        check_same_targets(checkpoint, now, what=f"the factors of {self.factors or self.counts}")
