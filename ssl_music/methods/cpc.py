"""CPC: what a recording has been tells which of many latents comes next in it; no labels, no second view."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ssl_music.augment import Augmentation
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.losses import latent_info_nce
from ssl_music.methods.base import Method
from ssl_music.methods.parts.ranks import of_all_ranks
from ssl_music.methods.parts.segments import in_clips, in_segments, segment_samples


class CPC(Method):
    """Contrastive predictive coding (van den Oord, Li & Vinyals 2018, arXiv 1807.03748) over segments of a long clip.

    The latent z_s is the encoder's embedding of segment s, and a GRU makes the context c_s of z_1 … z_s. For each
    distance k up to `steps` a matrix of its own predicts the latent of k segments later, W_k c_s, which has to be
    told from all latents that any clip of the batch has at these places (section 2.3, equations 3 and 4). The loss
    is the mean over distances. Contexts of 256 numbers and Adam 2e-4 are those of the paper's speech model (section
    3.1), and so are the absence of augmentation, of heads, and of a norm before the similarity.

    What differs is the scale. There a latent is 10 ms, a clip 128 of them, and the 12 that follow are predicted:
    phones and speakers. Any encoder of ours gives one latent per clip of seconds (`segment_seconds` to make it
    shorter), a clip here is 8 of them, and the next 3 are predicted: how music goes on, not how a note does.
    What is kept is the encoder; the paper's probes read c, whose GRU is thrown away here, since the embedding of a
    track shall not depend on how it was cut.

    Batch norm in the encoder sees past and future of a clip at once and can tell one of the other; Hénaff et al. 2019
    (arXiv 1905.09272) trained better without. Prefer encoders with norm "layer" or "group". And whatever `augment`
    does to a whole clip marks all its segments, by which they are told from other clips: keep it weak.

    Shape: clips (B, 1, segments · T) → losses ().

    >>> from ssl_music.encoders import SampleCNN
    >>> method = CPC(SampleCNN(width=4, depth=4))
    >>> method.input_samples == 8 * method.encoder.input_samples
    True
    >>> clips = Clips(wave=torch.randn(1, 3, 1, method.input_samples), rows=torch.arange(3), targets=None)
    >>> sorted(method.losses(clips))
    ['loss', 'loss_over_trivial']
    """

    compares_rows = True
    advice = "a lower learning_rate, an encoder without batch norm, no augmentations, or a larger batch_size"

    def __init__(
        self,
        encoder: Encoder,
        augment: Sequence[Augmentation] | str = (),
        *,
        segments: int = 8,
        steps: int = 3,
        segment_seconds: float | None = None,
        context_dim: int = 256,
        learning_rate: float = 2e-4,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(encoder, augment=augment, learning_rate=learning_rate, weight_decay=weight_decay)
        if not 1 <= steps < segments:
            raise UserError(f"CPC: steps={steps} of segments={segments}; wanted 1 or more, and fewer than segments")
        if context_dim < 1:
            raise UserError(f"CPC: context_dim={context_dim}; wanted 1 or more (the paper takes 256)")
        self.segments = segments
        self.views = segments
        self.steps = steps
        self.segment_seconds = segment_seconds
        self.context_dim = context_dim
        self.segment_samples = segment_samples(encoder, segment_seconds)
        self.context = nn.GRU(encoder.embedding_dim, context_dim, batch_first=True)
        self.predictors = nn.ModuleList(
            nn.Linear(context_dim, encoder.embedding_dim, bias=False) for _ in range(steps)
        )

    @property
    def input_samples(self) -> int:
        return self.segments * self.segment_samples

    def losses(self, clips: Clips) -> dict[str, Tensor]:
        embedding = self.encoded(in_segments(self.augmented(clips.view(0)), self.segments))  # (B · S, D)
        own = in_clips(embedding, self.segments).transpose(0, 1)  # (S, B, D)
        latents = of_all_ranks(own).transpose(0, 1)  # (world size · B, S, D)
        contexts = self.context(latents)[0]  # (world size · B, S, H)
        self.watched = {"embedding": embedding.detach(), "context": contexts.detach().flatten(0, 1)}
        losses, guesses = [], []
        for distance, predictor in enumerate(self.predictors, 1):
            actual = latents[:, distance:]  # (world size · B, S − k, D)
            losses.append(latent_info_nce(predictor(contexts[:, :-distance]), actual))
            guesses.append(math.log(actual.shape[0] * actual.shape[1]))
        loss = torch.stack(losses).mean()
        # 1 where contexts tell nothing of what follows
        return {"loss": loss, "loss_over_trivial": loss.detach() * len(guesses) / sum(guesses)}
