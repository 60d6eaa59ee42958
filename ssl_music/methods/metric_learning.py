"""Metric learning: tracks with the same tags shall be nearer than tracks with other tags."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ssl_music.augment import Augmentation
from ssl_music.catalogs import Catalog, Track
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError, unknown_name
from ssl_music.methods.base import Method
from ssl_music.methods.parts.pairs import hard_pairs, tag_pairs
from ssl_music.methods.parts.ranks import of_all_ranks
from ssl_music.methods.parts.tagging import labelled_examples

LOSSES = ("triplet", "multi_similarity")
MARGIN, ALPHA, BETA, BASE, EPSILON = 0.2, 2.0, 50.0, 0.5, 0.1
#: triplets grow with the third power of the batch: 512 rows of ten tags make 12 million, 0.4 GB
MOST_ROWS_OF_TRIPLETS = 512


class MetricLearning(Method):
    """Similarity that tags define, after Lee et al. 2020 ("Disentangled multidimensional metric learning for music
    similarity", arXiv 2008.03720), without their masks: one column, one space. The embedding itself is compared, at
    length 1. The losses are those of pytorch-metric-learning (extra `metric`).

    `triplet`: max(0, d²(anchor, positive) − d²(anchor, negative) + margin) over all triplets of the batch, averaged
    over those above 0 (Hermans et al. 2017, arXiv 1703.07737). "The margin α is set to 0.2" (Schroff et al. 2015,
    arXiv 1503.03832, section 3.3). A batch of 256 with ten tags has 1.5 million triplets; 512 is the most.
    `multi_similarity`: Wang et al. 2019 (arXiv 1904.06627) with the library's α = 2, β = 50, λ = 0.5, and pairs mined
    at ε = 0.1; λ and ε are those of the authors' code too (by the library's documentation their text has λ = 1).

    Two tracks are positive to each other if the tags they share are at least `positive_overlap` of the tags that
    either has (with one tag each: if it is the same), negative if they share none; others are not compared. Batches
    are drawn without regard to tags, so a tag is learnt where a batch often holds it twice. With several processes
    all of their rows are compared. `loss_over_trivial` is against embeddings that are all the same.

    Shape: clips (B, 1, T) with targets (B, K) → losses ().

    >>> from ssl_music.encoders import SampleCNN
    >>> method = MetricLearning(SampleCNN(width=4), column="genre", loss="multi_similarity")
    >>> clips = Clips(torch.randn(1, 4, 1, 59049), torch.arange(4), torch.eye(2)[[0, 0, 1, 1]])
    >>> sorted(method.losses(clips))
    ['loss', 'loss_over_trivial', 'positive_pairs']
    """

    compares_rows = True
    keeps: Literal["last", "best"] = "best"

    def __init__(
        self,
        encoder: Encoder,
        column: str | None = None,
        augment: Sequence[Augmentation] | str = (),
        *,
        loss: Literal["triplet", "multi_similarity"] = "triplet",
        margin: float | None = None,
        positive_overlap: float = 0.5,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(encoder, augment=augment, learning_rate=learning_rate, weight_decay=weight_decay)
        if loss not in LOSSES:
            raise unknown_name("loss of MetricLearning", loss, list(LOSSES))
        if margin is not None and (loss != "triplet" or not margin > 0):
            raise UserError(f"MetricLearning: margin={margin} with loss {loss!r}; only triplet has one, above 0")
        if not 0 < positive_overlap <= 1:
            raise UserError(f"MetricLearning: positive_overlap={positive_overlap}; wanted above 0 and up to 1")
        self.column = column
        self.loss = loss
        self.margin = margin
        self.positive_overlap = positive_overlap
        distances, losses, reducers = _library()
        if loss == "triplet":
            squared = distances.LpDistance(power=2)  # of rows at length 1
            self.criterion = losses.TripletMarginLoss(margin or MARGIN, distance=squared)
            self.over_all = losses.TripletMarginLoss(
                margin or MARGIN, distance=squared, reducer=reducers.MeanReducer()
            )
        else:
            self.criterion = self.over_all = losses.MultiSimilarityLoss(ALPHA, BETA, BASE)

    def examples(self, catalog: Catalog, tracks: Sequence[Track]) -> tuple[list[Track], np.ndarray | None]:
        return labelled_examples(catalog, tracks, self.column)

    def prepare(self, catalog: Catalog, tracks: Sequence[Track]) -> None:
        tags, targets = catalog.tags(self.column), labelled_examples(catalog, tracks, self.column)[1]
        held = targets.sum(axis=0)
        if (held > 0).sum() < 2 or held.max() < 2:
            found = ", ".join(f"{tag!r} {int(count)}" for tag, count in zip(tags, held, strict=True) if count)
            raise UserError(
                f"metric learning wants two tags or more, and one of them on two tracks; the column "
                f"{catalog.column(self.column)!r} has, among {len(tracks)} tracks that are trained on: {found}"
            )

    def losses(self, clips: Clips) -> dict[str, Tensor]:
        wave = clips.view(0)
        embedding = self.encoded(self.augmented(wave) if self.training else wave.to(self.dtype))  # (B, D)
        self.watched = {"embedding": embedding.detach()}
        if clips.targets is None:
            raise UserError("MetricLearning wants the tags of its clips as targets (B, K); came none")
        rows = of_all_ranks(embedding[None])[0]  # (world size · B, D)
        positive, negative = tag_pairs(of_all_ranks(clips.targets[None])[0], self.positive_overlap)
        with torch.autocast(rows.device.type, enabled=False):
            rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
            compared = self._compared(rows.detach(), positive, negative)
            loss = self.criterion(rows, indices_tuple=compared)
            same = torch.ones_like(rows)
            trivial = self.over_all(same, indices_tuple=self._compared(same, positive, negative))
            over_all = self.over_all(rows.detach(), indices_tuple=compared)
        # a batch without a triplet costs nothing, and so would any guess
        over_trivial = over_all / trivial.clamp_min(torch.finfo(trivial.dtype).tiny)
        return {"loss": loss, "loss_over_trivial": over_trivial, "positive_pairs": positive.sum().to(loss.dtype)}

    def _compared(self, rows: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        """What the loss compares: triplets, or positive and negative pairs."""
        if self.loss == "triplet":
            if len(rows) > MOST_ROWS_OF_TRIPLETS:
                raise UserError(
                    f"MetricLearning: triplets of a batch of {len(rows)} rows do not fit; wanted at most "
                    f"{MOST_ROWS_OF_TRIPLETS} on all devices together, or loss multi_similarity, which takes pairs"
                )
            return torch.where(positive[:, :, None] & negative[:, None, :])
        unit = functional.normalize(rows)
        hard = hard_pairs(unit @ unit.T, positive, negative, EPSILON)
        return *torch.where(positive & hard), *torch.where(negative & hard)


def _library() -> tuple[Any, Any, Any]:
    try:
        from pytorch_metric_learning import distances, losses, reducers
    except ImportError as error:
        raise UserError("MetricLearning needs pytorch-metric-learning: pip install 'ssl-music[metric]'") from error
    return distances, losses, reducers
