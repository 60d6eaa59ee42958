"""MoCo: a view shall find its own other view among the keys of many batches, kept in a queue; no labels."""

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ssl_music.augment import Augmentation
from ssl_music.catalogs import Catalog, Track
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.losses import info_nce
from ssl_music.methods.base import Method
from ssl_music.methods.parts.chunks import has_batch_norm, in_chunks
from ssl_music.methods.parts.heads import mlp
from ssl_music.methods.parts.momentum import drift, follow, momentum_copy
from ssl_music.methods.parts.ranks import of_all_ranks
from ssl_music.methods.parts.views import both_views, check_crops


class MoCo(Method):
    """Momentum contrast, version 2 (He et al. 2020, arXiv 1911.05722; Chen et al. 2020, arXiv 2003.04297).

    The first view is the query; the second, without gradient through a momentum copy of encoder and projector, is its
    key. The negatives are the last `queue_size` keys of earlier batches, so that their number is not that of the
    batch: for small memories. Not symmetric: each pair is used in one direction. `crops` as in SimCLR.

    Query and key of one batch would know each other by the statistics that batch norm takes of it. So batch norms
    see a batch in `norm_splits` groups, those of the queries in the order of the batch, those of the keys shuffled
    anew each step: "the batch statistics used to compute a query and its positive key come from two different
    subsets" (He et al., section 3.3, where each of 8 devices has a group of 32). Of S groups two share 1/S of their
    tracks on average. 1 switches it off; an encoder without batch norm is not split.

    Defaults: queue 65,536 and momentum 0.999 (He et al., sections 4.1 and 3.2), temperature 0.2 and a projector with
    one hidden layer, of the encoder's own width, to 128 dimensions (Chen et al., section 3; He et al., section 3.3).
    Adam 3e-4 as for SimCLR here, where the papers take SGD; `norm_splits` 2, for small batches (4 tracks or more).

    Shape: two views (B, 1, T) of B tracks → losses ().

    >>> from ssl_music.encoders import SampleCNN
    >>> method = MoCo(SampleCNN(width=4), queue_size=100)
    >>> clips = Clips(wave=torch.randn(2, 4, 1, 59049), rows=torch.arange(4), targets=None)
    >>> sorted(method.losses(clips)), method.queue.shape
    (['loss', 'loss_over_trivial'], torch.Size([100, 128]))
    """

    views = 2
    advice = "a lower learning_rate, a higher temperature, a momentum nearer to 1, or weaker augmentations"
    compares_rows = True  # with the queue; and ranks gather equal batches
    queue: Tensor
    queue_pointer: Tensor

    def __init__(
        self,
        encoder: Encoder,
        augment: Sequence[Augmentation] | str = (),
        *,
        crops: int = 2,
        queue_size: int = 65536,
        momentum: float = 0.999,
        temperature: float = 0.2,
        projection_dim: int = 128,
        hidden_dim: int | None = None,
        norm_splits: int = 2,
        learning_rate: float = 3e-4,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(encoder, augment=augment, learning_rate=learning_rate, weight_decay=weight_decay)
        if not 0 <= momentum < 1 or not temperature > 0:
            raise UserError(
                f"MoCo: momentum={momentum}, temperature={temperature}; wanted 0 ≤ momentum < 1, both > 0"
            )
        width = encoder.embedding_dim if hidden_dim is None else hidden_dim
        if min(queue_size, projection_dim, width, norm_splits) < 1:
            raise UserError(
                f"MoCo: queue_size={queue_size}, projection_dim={projection_dim}, hidden_dim={hidden_dim}, "
                f"norm_splits={norm_splits}; wanted 1 or more"
            )
        self.crops = check_crops("MoCo", crops)
        self.queue_size = queue_size
        self.momentum = momentum
        self.temperature = temperature
        self.projection_dim = projection_dim
        self.hidden_dim = hidden_dim
        self.norm_splits = norm_splits
        self.projector = mlp(encoder.embedding_dim, width, projection_dim)
        self.momentum_encoder = momentum_copy(encoder)
        self.momentum_projector = momentum_copy(self.projector)
        self.register_buffer("queue", functional.normalize(torch.randn(queue_size, projection_dim)))  # (K, P)
        self.register_buffer("queue_pointer", torch.zeros((), dtype=torch.long))  # where the next key goes
        self._pending: list[Tensor] = []  # keys of the batches since the last step

    def prepare(self, catalog: Catalog, tracks: Sequence[Track]) -> None:
        self.momentum_encoder.load_state_dict(self.encoder.state_dict())  # it may have been given other weights
        if self.queue_size > len(tracks):
            warnings.warn(
                f"MoCo: a queue of {self.queue_size} keys of {len(tracks)} tracks holds every track more than once, "
                f"itself among its own negatives; queue_size well below {len(tracks)} is better",
                stacklevel=2,
            )

    def losses(self, clips: Clips) -> dict[str, Tensor]:
        waves = self.augmented(both_views(clips, self.crops))  # (2B, 1, T)
        first, second = waves.chunk(2)
        embedding = torch.cat([self.encoded(group) for group in self._groups(first)])  # (B, D)
        query = self.projector(embedding)  # (B, P)
        key = self._keys(second)  # (B, P)
        self.watched = {"embedding": embedding.detach(), "projection": query.detach()}
        everyone = of_all_ranks(torch.stack([query.detach(), key]))  # (2, world size · B, P)
        self.pairs = everyone[0], everyone[1]
        if self.training:
            self._pending.append(everyone[1])
        # a row's loss needs no other row: each rank takes its own, and the mean goes into all logs
        own = info_nce(query, key, self.queue, self.temperature)
        loss = of_all_ranks(own.view(1, 1, 1)).mean()
        return {"loss": loss, "loss_over_trivial": loss.detach() / math.log(1 + self.queue_size)}

    @torch.no_grad()
    def _keys(self, wave: Tensor) -> Tensor:
        order = torch.randperm(len(wave), generator=self._generator).to(wave.device)
        rows = self.chunk_size or len(wave)
        groups = [in_chunks(self.momentum_encoder, group, rows) for group in self._groups(wave[order])]
        return self.momentum_projector(torch.cat(groups))[order.argsort()]  # (B, P)

    def _groups(self, wave: Tensor) -> Sequence[Tensor]:
        """`wave` in the groups of which batch norms take their statistics."""
        splits = self.norm_splits if self.training and has_batch_norm(self.encoder) else 1
        if splits > 1 and len(wave) < 2 * splits:
            raise UserError(
                f"MoCo: {len(wave)} clips in norm_splits={splits} groups leave batch norm fewer than 2 at a time; "
                f"use a batch_size of {2 * splits} or more (better 16 clips for each group), fewer groups, or "
                "another norm in the encoder"
            )
        return wave.tensor_split(splits)

    @torch.no_grad()
    def stepped(self) -> None:
        """The momentum copies follow; the oldest keys make room for those of the step."""
        follow(self.momentum_encoder, self.encoder, self.momentum, buffers=False)
        follow(self.momentum_projector, self.projector, self.momentum, buffers=False)
        keys = torch.cat(self._pending) if self._pending else self.queue[:0]
        self._pending = []
        rows = torch.arange(len(keys), device=keys.device)[-self.queue_size :]  # older ones would be pushed out again
        self.queue[(self.queue_pointer + rows) % self.queue_size] = functional.normalize(keys[rows].to(self.queue))
        self.queue_pointer.add_(len(keys)).remainder_(self.queue_size)

    def measures(self) -> dict[str, float]:
        return {"momentum_drift": drift(self.momentum_encoder, self.encoder)}
