"""COLA: two segments of one recording belong together, by a similarity that is learned; no labels."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ssl_music.augment import Augmentation
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.losses import bilinear_cross_entropy
from ssl_music.methods.base import Method
from ssl_music.methods.parts.ranks import of_all_ranks


class COLA(Method):
    """Contrastive learning of general-purpose audio representations (Saeed, Grangier & Zeghidour, ICASSP 2021, arXiv
    2010.10915): anchor and positive are two crops of a track, the negatives of an anchor the positives of the others.

    The projector is that of section 2: 512 units, layer norm, tanh. Two projections are compared by aᵀ W b, where W
    learns with the rest; there is no temperature. The embedding is what the encoder gives; projector and W are thrown
    away. Adam 1e-4 is the paper's (its batch: 1024).

    What differs: the paper's encoder is an EfficientNet-B0 on 64 mel bands of 0.96 s, here it is any encoder with
    its own clip. Its code adds faint noise to the positives; here `augment` is empty unless given, and then acts on
    both crops. W begins with standard deviation 1 / P, so that the first loss is that of a guess, ln B; its code's
    0.05 makes the first loss several times that, and short trainings end higher for it.

    Shape: two crops (B, 1, T) of B tracks → losses ().

    >>> from ssl_music.encoders import SampleCNN
    >>> method = COLA(SampleCNN(width=4, depth=4))
    >>> clips = Clips(wave=torch.randn(2, 3, 1, 243), rows=torch.arange(3), targets=None)
    >>> sorted(method.losses(clips))
    ['loss', 'loss_over_trivial']
    """

    crops = 2
    views = 2
    advice = "a lower learning_rate, or a larger batch_size"
    compares_rows = True

    def __init__(
        self,
        encoder: Encoder,
        augment: Sequence[Augmentation] | str = (),
        *,
        projection_dim: int = 512,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(encoder, augment=augment, learning_rate=learning_rate, weight_decay=weight_decay)
        if projection_dim < 1:
            raise UserError(f"COLA: projection_dim={projection_dim}; wanted 1 or more (the paper takes 512)")
        self.projection_dim = projection_dim
        self.projector = nn.Sequential(
            nn.Linear(encoder.embedding_dim, projection_dim), nn.LayerNorm(projection_dim), nn.Tanh()
        )
        self.similarity = nn.Parameter(torch.randn(projection_dim, projection_dim) / projection_dim)

    def losses(self, clips: Clips) -> dict[str, Tensor]:
        waves = torch.cat([clips.view(0), clips.view(1)])  # (2B, 1, T)
        embedding = self.encoded(self.augmented(waves))  # (2B, D)
        projection = self.projector(embedding)  # (2B, P)
        self.watched = {"embedding": embedding.detach(), "projection": projection.detach()}
        anchor, positive = of_all_ranks(torch.stack(projection.chunk(2)))  # (world size · B, P) each
        self.pairs = anchor.detach(), positive.detach()
        loss = bilinear_cross_entropy(anchor, positive, self.similarity)
        # 1 where the embeddings tell nothing: ln B, a guess among the positives of the batch
        return {"loss": loss, "loss_over_trivial": loss.detach() / math.log(len(anchor))}
