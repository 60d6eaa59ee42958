"""VICReg: two views of one track are alike, and every dimension spreads and says something of its own."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_music.augment import Augmentation
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.losses import vicreg
from ssl_music.methods.base import Method
from ssl_music.methods.parts.heads import mlp
from ssl_music.methods.parts.ranks import of_all_ranks
from ssl_music.methods.parts.views import both_views, check_crops


class VICReg(Method):
    """Variance-invariance-covariance regularization (Bardes, Ponce & LeCun, ICLR 2022, arXiv 2105.04906), on views of
    music made as in SimCLR: `crops=2` for two crops of a track, `crops=1` for two augmentations of one crop.

    No negatives, no momentum, no predictor: three terms of the loss keep the views alike (invariance), each dimension
    at a standard deviation of 1 (variance) and the dimensions apart (covariance), with the paper's weights 25, 25, 1
    (section 4.2; its code halves the variance term, so `variance=12.5` is what it trained with). The expander has
    three layers of one width, batch norm and ReLU behind the first two; it is thrown away after training, the
    embedding is the encoder's. The paper's width is 8192, 4 times that of its ResNet-50, and 4 times the encoder's
    width is the default here.

    The covariance of B rows has a rank of at most B − 1, so spread-out dimensions cost at least
    2 · (P / (B − 1) − 1) in covariance: 6 in the paper (P = 8192, B = 2048). Where the batch is small, keep
    `expander_dim` under 4 times it, or the dimensions settle at standard deviations well below 1.

    Both views pass the expander together, and its batch norms see one distribution; in the paper's code each view
    has its own. Adam 3e-4 is ours; the paper trains LARS at 0.2 · B / 256, warmed up 10 epochs, then a cosine. With
    several processes, statistics and gradient are those of one process with the whole batch.

    "loss_over_trivial" is the loss over that of an encoder that gives the same for everything, 49.5 with these
    weights: all variance missing, nothing else to pay. A collapsed training stays at 1; above 1 the batch's views
    are told apart and spread at a greater cost than they bring, as often in the first steps.

    Shape: two views (B, 1, T) of B tracks → losses ().

    >>> from ssl_music.encoders import SampleCNN
    >>> method = VICReg(SampleCNN(width=4, depth=4))
    >>> clips = Clips(wave=torch.randn(2, 3, 1, 243), rows=torch.arange(3), targets=None)
    >>> sorted(method.losses(clips))
    ['covariance', 'invariance', 'loss', 'loss_over_trivial', 'variance']
    """

    views = 2
    compares_rows = True
    advice = "a lower learning_rate, a greater weight of variance, weaker augmentations, or a larger batch_size"

    def __init__(
        self,
        encoder: Encoder,
        augment: Sequence[Augmentation] | str = (),
        *,
        crops: int = 2,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        expander_dim: int | None = None,
        learning_rate: float = 3e-4,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(encoder, augment=augment, learning_rate=learning_rate, weight_decay=weight_decay)
        if not (invariance >= 0 and variance > 0 and covariance >= 0):
            came = f"invariance={invariance}, variance={variance}, covariance={covariance}"
            raise UserError(
                f"VICReg: {came}; weights of 0 or more are wanted, and of variance above 0: without it "
                "every embedding becomes the same"
            )
        width = 4 * encoder.embedding_dim if expander_dim is None else expander_dim
        if width < 2:
            raise UserError(f"VICReg: expander_dim={expander_dim}; wanted 2 or more (the paper: 8192)")
        self.crops = check_crops("VICReg", crops)
        self.invariance = invariance
        self.variance = variance
        self.covariance = covariance
        self.expander_dim = expander_dim
        # no bias at the end: no term of the loss would notice it
        self.expander = mlp(encoder.embedding_dim, width, width, width, norm=True, bias=False)

    def losses(self, clips: Clips) -> dict[str, Tensor]:
        waves = both_views(clips, self.crops)  # (2B, 1, T)
        embedding = self.encoded(self.augmented(waves))  # (2B, D)
        rows = of_all_ranks(torch.stack(embedding.chunk(2)))  # (2, world size · B, D)
        projection = self.expander(rows.flatten(0, 1))  # (2 · world size · B, P)
        first, second = projection.chunk(2)
        self.watched = {"embedding": embedding.detach(), "projection": projection.detach()}
        self.pairs = first.detach(), second.detach()
        weights = {"invariance": self.invariance, "variance": self.variance, "covariance": self.covariance}
        terms = vicreg(first, second, **weights)
        unweighted = {name: value.detach() for name, value in terms._asdict().items() if name != "loss"}
        # variance of zero in both views; √ε, which the loss adds to it, is 0.01
        constant = 2 * self.variance * 0.99
        return {"loss": terms.loss, "loss_over_trivial": terms.loss.detach() / constant, **unweighted}
