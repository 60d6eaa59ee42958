"""SimCLR: two views of one track shall be nearer than views of different tracks; no labels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_music.augment import Augmentation
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.losses import nt_xent, trivial_loss
from ssl_music.methods.base import Method
from ssl_music.methods.parts.heads import mlp
from ssl_music.methods.parts.ranks import of_all_ranks
from ssl_music.methods.parts.views import both_views, check_crops


class SimCLR(Method):
    """A simple framework for contrastive learning (Chen et al. 2020, arXiv 2002.05709), on music that is CLMR
    (Spijkervet & Burgoyne, ISMIR 2021, arXiv 2103.09410): this class + the waveform augmentations + SampleCNN.

    `crops=2` takes two independent crops of a track as its two views, as in CLMR, whose chain of augmentations
    begins with a random crop: the encoder learns what a whole track has in common. `crops=1` augments one crop twice:
    the views share their notes, and only the augmentations set them apart.

    The projector is z = W₂ ReLU(W₁ h) without biases (Chen et al., section 2.1), W₁ of the encoder's own width as
    in CLMR unless `hidden_dim` says otherwise; it is thrown away after training, the embedding is h. Defaults are
    CLMR's: temperature 0.5, 64 dimensions, Adam 3e-4 without weight decay. `decoupled` leaves the positive out of the
    loss's denominator (Yeh et al. 2022, arXiv 2110.06848), which helps small batches. With several processes the
    negatives are those of all of them, and the gradient is that of a single process on the whole batch.

    Shape: two views (B, 1, T) of B tracks → losses ().

    >>> from ssl_music.encoders import SampleCNN
    >>> method = SimCLR(SampleCNN(width=4))
    >>> clips = Clips(wave=torch.randn(2, 3, 1, 59049), rows=torch.arange(3), targets=None)
    >>> sorted(method.losses(clips))
    ['loss', 'loss_over_trivial']
    """

    views = 2
    advice = "a lower learning_rate, a higher temperature, weaker augmentations, or a larger batch_size"
    compares_rows = True

    def __init__(
        self,
        encoder: Encoder,
        augment: Sequence[Augmentation] | str = (),
        *,
        crops: int = 2,
        temperature: float = 0.5,
        decoupled: bool = False,
        projection_dim: int = 64,
        hidden_dim: int | None = None,
        learning_rate: float = 3e-4,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(encoder, augment=augment, learning_rate=learning_rate, weight_decay=weight_decay)
        if not temperature > 0:
            raise UserError(f"SimCLR: temperature={temperature}; wanted above 0 (CLMR: 0.5)")
        width = encoder.embedding_dim if hidden_dim is None else hidden_dim
        if width < 1 or projection_dim < 1:
            raise UserError(f"SimCLR: hidden_dim={hidden_dim}, projection_dim={projection_dim}; wanted 1 or more")
        self.crops = check_crops("SimCLR", crops)
        self.temperature = temperature
        self.decoupled = decoupled
        self.projection_dim = projection_dim
        self.hidden_dim = hidden_dim
        self.projector = mlp(encoder.embedding_dim, width, projection_dim, bias=False)

    def losses(self, clips: Clips) -> dict[str, Tensor]:
        waves = both_views(clips, self.crops)  # (2B, 1, T)
        embedding = self.encoded(self.augmented(waves))  # (2B, D)
        projection = self.projector(embedding)  # (2B, P)
        self.watched = {"embedding": embedding.detach(), "projection": projection.detach()}
        first, second = of_all_ranks(torch.stack(projection.chunk(2)))  # (world size · B, P) each
        self.pairs = first.detach(), second.detach()
        loss = nt_xent(first, second, self.temperature, decoupled=self.decoupled)
        # 1 where the embeddings tell nothing, whatever the size of the batch
        return {"loss": loss, "loss_over_trivial": loss.detach() / trivial_loss(len(first), decoupled=self.decoupled)}
