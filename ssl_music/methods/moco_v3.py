"""MoCo v3: no queue; each view's prediction shall find the other view's key among the keys of the batch."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_music.augment import Augmentation
from ssl_music.catalogs import Catalog, Track
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.losses import row_info_nce
from ssl_music.methods.base import Method
from ssl_music.methods.parts.heads import mlp
from ssl_music.methods.parts.momentum import drift, follow, momentum_copy, momentum_views, raised
from ssl_music.methods.parts.ranks import of_all_ranks
from ssl_music.methods.parts.views import both_views, check_crops


class MoCoV3(Method):
    """MoCo v3 (Chen, Xie & He 2021, "An empirical study of training self-supervised vision transformers", arXiv
    2104.02057, algorithm 1).

    Queries are encoder, projector and predictor on either view; keys, without gradient, a momentum copy of encoder
    and projector. Both directions count. The negatives are the other tracks of the batch, of all processes, so it
    wants large batches; the paper's has 4096. `crops` as in SimCLR.

    Defaults are those of section 4 and of the published code: a projector of 3 layers and a predictor of 2, hidden
    width 4096, output 256, a batch norm after every layer (the last without scale and shift), temperature 0.2,
    momentum 0.99 raised to 1 by a cosine. The published ResNet-50 has `projector_layers=2` and `temperature=1.0`.
    For a small encoder these heads are large, 22 million weights behind the 3.7 million of ShortChunk: little time on
    a GPU; on a CPU a `hidden_dim` of twice the encoder's width, the ratio of the ResNet-50, will do. Adam 3e-4 as
    for SimCLR here, where the paper takes AdamW (transformers) and LARS. The encoder sees both views in one batch.

    Shape: two views (B, 1, T) of B tracks → losses ().

    >>> from ssl_music.encoders import SampleCNN
    >>> method = MoCoV3(SampleCNN(width=4), hidden_dim=32)
    >>> clips = Clips(wave=torch.randn(2, 3, 1, 59049), rows=torch.arange(3), targets=None)
    >>> sorted(method.losses(clips))
    ['loss', 'loss_over_trivial']
    """

    views = 2
    advice = "a lower learning_rate, a higher temperature, a momentum nearer to 1, or a larger batch_size"
    compares_rows = True

    def __init__(
        self,
        encoder: Encoder,
        augment: Sequence[Augmentation] | str = (),
        *,
        crops: int = 2,
        momentum: float = 0.99,
        temperature: float = 0.2,
        projection_dim: int = 256,
        hidden_dim: int = 4096,
        projector_layers: int = 3,
        learning_rate: float = 3e-4,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(encoder, augment=augment, learning_rate=learning_rate, weight_decay=weight_decay)
        if not 0 <= momentum <= 1:
            raise UserError(f"MoCoV3: momentum={momentum}; wanted 0 to 1 (the paper: 0.99)")
        if not temperature > 0:
            raise UserError(f"MoCoV3: temperature={temperature}; wanted above 0 (the paper: 0.2)")
        if min(projection_dim, hidden_dim, projector_layers) < 1:
            raise UserError(
                f"MoCoV3: projection_dim={projection_dim}, hidden_dim={hidden_dim}, "
                f"projector_layers={projector_layers}; wanted 1 or more"
            )
        self.crops = check_crops("MoCoV3", crops)
        self.momentum = momentum
        self.temperature = temperature
        self.projection_dim = projection_dim
        self.hidden_dim = hidden_dim
        self.projector_layers = projector_layers
        hidden = [hidden_dim] * (projector_layers - 1)
        self.projector = mlp(encoder.embedding_dim, *hidden, projection_dim, norm=True, last_norm=True)
        self.predictor = mlp(projection_dim, hidden_dim, projection_dim, norm=True, last_norm=True)
        self.momentum_encoder = momentum_copy(encoder)
        self.momentum_projector = momentum_copy(self.projector)

    def prepare(self, catalog: Catalog, tracks: Sequence[Track]) -> None:
        self.momentum_encoder.load_state_dict(self.encoder.state_dict())  # it may have been given other weights

    def losses(self, clips: Clips) -> dict[str, Tensor]:
        waves = self.augmented(both_views(clips, self.crops))  # (2B, 1, T)
        embedding = self.encoded(waves)  # (2B, D)
        # gathered before the heads, whose batch norms then see the whole batch; a view at a time, as published
        views = of_all_ranks(torch.stack(embedding.chunk(2)))  # (2, world size · B, D)
        if views.shape[1] < 2:
            raise UserError("MoCoV3 compares tracks: it wants 2 or more in a batch, and 1 came")
        first, second = (self.projector(view) for view in views)
        self.watched = {"embedding": embedding.detach(), "projection": torch.cat([first, second]).detach()}
        self.pairs = first.detach(), second.detach()
        rows = self.chunk_size or len(waves)
        keys = momentum_views(self.momentum_encoder, self.momentum_projector, waves, rows)
        one = row_info_nce(self.predictor(first), keys[1], self.temperature)
        other = row_info_nce(self.predictor(second), keys[0], self.temperature)
        loss = one + other
        trivial = 2 * 2 * self.temperature * math.log(len(first))
        return {"loss": loss, "loss_over_trivial": loss.detach() / trivial}

    def stepped(self) -> None:
        """The momentum copies follow, more and more slowly."""
        decay = raised(self.momentum, self.progress())
        follow(self.momentum_encoder, self.encoder, decay, buffers=False)
        follow(self.momentum_projector, self.projector, decay, buffers=False)

    def measures(self) -> dict[str, float]:
        return {"momentum_drift": drift(self.momentum_encoder, self.encoder)}
