"""The contract of every method: clips in, losses out. Everything random is a function of (seed, position).

Lightning's own checkpoints do not hold the state of random generators. So there is none to hold: before every step
the generator of the augmentations and torch's global one (dropout) are seeded from the seed, the stage, the epoch,
the batch and the rank, and a training that resumes draws what an uninterrupted one would have drawn.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from pytorch_lightning import LightningModule
from torch import Tensor, distributed

from ssl_music.augment import Augmentation, Chain, presets
from ssl_music.catalogs import Catalog, Track
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.tagger import Tagger


class Method(LightningModule, ABC):
    """One way of training an encoder.

    A subclass passes its encoder, augmentations and Adam's two numbers on, stores every argument under its own
    name, and writes `losses`. `augment` is a list of effects, or the name of a chain in `augment.presets`. Adam
    without schedule is what CLMR (3e-4) and the 2020 comparison (1e-4) train with.
    """

    crops: int = 1  #: independent crops of a track in one example
    views: int = 1  #: clips that go through the encoder for one example
    #: whether the loss compares the rows of a batch, so that batches of validation too must be full ones
    compares_rows: bool = False
    #: which weights are the product: those at the end, or those with the best validation loss where there is one
    keeps: Literal["last", "best"] = "last"

    def __init__(
        self, encoder: Encoder, *, augment: Sequence[Augmentation] | str, learning_rate: float, weight_decay: float
    ) -> None:
        super().__init__()
        if not learning_rate > 0 or not weight_decay >= 0:
            raise UserError(
                f"learning_rate {learning_rate}, weight_decay {weight_decay}: wanted above 0, and 0 or above"
            )
        self.encoder = encoder
        self.augment = augment if isinstance(augment, str) else list(augment)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        if isinstance(self.augment, str):
            self.chain = presets.named(self.augment, sample_rate=encoder.sample_rate)
        else:
            self.chain = Chain(self.augment, sample_rate=encoder.sample_rate)
        self.seed = 0  # `train` sets the run's
        #: embeddings of the last batch, the two views under each other, for whoever watches: name → (2B, D)
        self.watched: dict[str, Tensor] = {}
        self._generator: torch.Generator | None = None

    @abstractmethod
    def losses(self, clips: Clips) -> dict[str, Tensor]:
        """Numbers of one batch of float clips: "loss" is minimised, every entry is logged."""

    def examples(self, catalog: Catalog, tracks: Sequence[Track]) -> tuple[list[Track], np.ndarray | None]:
        """Those of `tracks` that the method can use, and their targets (N, K) if it wants any."""
        return list(tracks), None

    def prepare(self, catalog: Catalog, tracks: Sequence[Track]) -> None:
        """Called once before training, with the usable tracks of the training split: builds what depends on them."""

    def artefact(self) -> Encoder | Tagger:
        """What a training leaves behind."""
        return self.encoder

    def augmented(self, wave: Tensor) -> Tensor:
        """`wave` through the chain of augmentations, in float32, then in the precision of the weights: (B, 1, T)."""
        with torch.no_grad(), torch.autocast(wave.device.type, enabled=False):
            return self.chain(wave, generator=self._generator).to(self.dtype)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over everything that learns."""
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return torch.optim.Adam(learning, lr=self.learning_rate, weight_decay=self.weight_decay)

    def on_after_batch_transfer(self, batch: Clips, dataloader_idx: int) -> Clips:
        """int16 travels to the device and becomes float there: half the bytes over the bus."""
        return batch.float()

    def training_step(self, batch: Clips, batch_idx: int) -> dict[str, Tensor]:
        self._seed("train", self.current_epoch, batch_idx)
        losses = self.losses(batch)
        self._log_all("train", losses, batch)
        return losses

    def validation_step(self, batch: Clips, batch_idx: int) -> None:
        self._seed("valid", 0, batch_idx)  # the same views every epoch: validation losses can be compared
        self._log_all("valid", self.losses(batch), batch)

    def _log_all(self, stage: str, losses: dict[str, Tensor], batch: Clips) -> None:
        training = stage == "train"
        for name, value in losses.items():
            self.log(
                f"{stage}/{name}",
                value,
                on_step=training,
                on_epoch=not training,
                batch_size=len(batch),
                sync_dist=not training,  # every rank has to see the same best epoch
            )

    def _seed(self, *position: Any) -> None:
        number = seed_of(self.seed, *position, self.global_rank)
        torch.manual_seed(number)
        # on the CPU: one generator gives the same views on every device, and nothing waits for a GPU's draws
        self._generator = torch.Generator().manual_seed(number ^ 1)


def seed_of(*position: Any) -> int:
    """A seed of 63 bits for a place in a run; near places get unrelated seeds.

    >>> seed_of(0, "train", 1, 2) == seed_of(0, "train", 1, 2), seed_of(0, "train", 1, 2) == seed_of(0, "train", 2, 1)
    (True, False)
    """
    digest = hashlib.blake2b(repr(position).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def of_all_ranks(rows: Tensor) -> Tensor:
    """The rows of every process beside each other, with the gradient that one process would have had.

    Each rank computes the loss of the whole batch from this. The backward pass adds up what every rank wants of a
    row, which is world size times the gradient of that row, and DDP's mean over ranks takes that factor away again.
    So nothing is rescaled by the world size, here or in the loss.

    Shape: rows (V, B, D) → (V, world size · B, D).

    >>> import torch
    >>> of_all_ranks(torch.ones(2, 3, 4)).shape  # one process
    torch.Size([2, 3, 4])
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return rows
    return _AllGather.apply(rows)


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        everyone = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
        distributed.all_gather(everyone, rows.contiguous())
        return torch.cat(everyone, dim=1)  # (V, world size · B, D)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total.chunk(distributed.get_world_size(), dim=1)[distributed.get_rank()]
