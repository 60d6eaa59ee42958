"""BYOL: each view predicts what a slower copy of the network makes of the other view; no negatives, no labels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_music.augment import Augmentation
from ssl_music.catalogs import Catalog, Track
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.losses import byol_regression
from ssl_music.methods.base import Method
from ssl_music.methods.parts.heads import mlp
from ssl_music.methods.parts.momentum import drift, follow, momentum_copy, momentum_views, raised
from ssl_music.methods.parts.ranks import of_all_ranks
from ssl_music.methods.parts.views import both_views, check_crops


class BYOL(Method):
    """Bootstrap your own latent (Grill et al. 2020, arXiv 2006.07733); for audio BYOL-A (Niizumi et al. 2021, arXiv
    2103.06695), whose augmentations of log-mel images are not these.

    The online network is encoder, projector and predictor; the target, without gradient, a momentum copy of encoder
    and projector. The loss is the distance of prediction and target, both of length 1, in both directions. There are
    no negatives, so small batches do; that all embeddings are the same would be its minimum, and only the predictor
    and the slow target keep training away from it: look at the effective rank in the log. `crops` as in SimCLR.

    Defaults: projector and predictor with one hidden layer of 4096 under a batch norm, output 256 (Grill et al.,
    section 3.3; BYOL-A the same, for embeddings of 512 too), momentum 0.996 raised to 1 by a cosine (section 3.3);
    Adam 3e-4 as in BYOL-A, which keeps its momentum at 0.99, where the former takes LARS. The encoder sees both views
    in one batch.

    Shape: two views (B, 1, T) of B tracks → losses ().

    >>> from ssl_music.encoders import SampleCNN
    >>> method = BYOL(SampleCNN(width=4), hidden_dim=32)
    >>> clips = Clips(wave=torch.randn(2, 3, 1, 59049), rows=torch.arange(3), targets=None)
    >>> sorted(method.losses(clips))
    ['loss']
    """

    views = 2
    advice = "a lower learning_rate, a momentum nearer to 1, weaker augmentations, or a larger batch_size"
    compares_rows = True  # ranks gather equal batches

    def __init__(
        self,
        encoder: Encoder,
        augment: Sequence[Augmentation] | str = (),
        *,
        crops: int = 2,
        momentum: float = 0.996,
        projection_dim: int = 256,
        hidden_dim: int = 4096,
        learning_rate: float = 3e-4,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(encoder, augment=augment, learning_rate=learning_rate, weight_decay=weight_decay)
        if not 0 <= momentum <= 1:
            raise UserError(f"BYOL: momentum={momentum}; wanted 0 to 1 (the paper: 0.996)")
        if min(projection_dim, hidden_dim) < 1:
            raise UserError(f"BYOL: projection_dim={projection_dim}, hidden_dim={hidden_dim}; wanted 1 or more")
        self.crops = check_crops("BYOL", crops)
        self.momentum = momentum
        self.projection_dim = projection_dim
        self.hidden_dim = hidden_dim
        self.projector = mlp(encoder.embedding_dim, hidden_dim, projection_dim, norm=True)
        self.predictor = mlp(projection_dim, hidden_dim, projection_dim, norm=True)
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
            raise UserError("BYOL: its batch norms want 2 tracks or more in a batch, and 1 came")
        first, second = (self.projector(view) for view in views)
        self.watched = {"embedding": embedding.detach(), "projection": torch.cat([first, second]).detach()}
        self.pairs = first.detach(), second.detach()
        rows = self.chunk_size or len(waves)
        targets = momentum_views(self.momentum_encoder, self.momentum_projector, waves, rows)
        one = byol_regression(self.predictor(first), targets[1])
        other = byol_regression(self.predictor(second), targets[0])
        return {"loss": one + other}

    def stepped(self) -> None:
        """The target follows, more and more slowly."""
        decay = raised(self.momentum, self.progress())
        follow(self.momentum_encoder, self.encoder, decay, buffers=False)
        follow(self.momentum_projector, self.projector, decay, buffers=False)

    def measures(self) -> dict[str, float]:
        return {"momentum_drift": drift(self.momentum_encoder, self.encoder)}
