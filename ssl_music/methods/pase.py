"""PASE: one encoder, many small workers, each asking something else of the embedding; no labels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_music.augment import Augmentation
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.methods.base import Method
from ssl_music.methods.parts.ranks import of_all_ranks
from ssl_music.methods.parts.segments import in_clips, in_segments, segment_samples
from ssl_music.methods.parts.worker_targets import Targets
from ssl_music.methods.parts.workers import MutualInformationWorker, RegressionWorker, standardised


class PASE(Method):
    """A problem-agnostic encoder (Pascual et al. 2019, "Learning problem-agnostic speech representations from
    multiple self-supervised tasks", arXiv 1904.03416, section 2); with augmentations PASE+ (Ravanelli et al. 2020,
    arXiv 2001.09239), which has the encoder hear a distorted wave and asks the workers about the clean one.

    Four workers regress the `Targets` of a segment: waveform (L1), log-power spectrum, MFCC and prosody (squared
    error). Local mutual information: a segment goes with the next one of its clip and not with one of another track.
    Global: the mean over the segments of one crop goes with that of another crop of the track. The loss is the mean
    of the workers'. Adam 5e-4 and one hidden layer of 256 are those of the published code and its settings.

    What differs: an encoder of ours gives one vector per segment (its own clip length, or `segment_seconds`), not
    one per 10 ms, so targets are summaries over the segment, and the waveform is an excerpt of 64 ms in place of
    what deconvolutions would make of a sequence. Such a vector hardly knows where a period begins: expect little of
    that worker. Targets are standardised by the whole batch, not by statistics of the data set. Negatives are all
    other tracks of the batch on all devices. ReLU in place of PReLU; the worker that orders past and future is left
    out. Two crops of `segments` segments are 2 · segments clips per track, four by default: the least with which
    local and global are two questions.

    Shape: two crops (B, 1, segments · T) of B tracks → losses ().

    >>> from ssl_music.encoders import SampleCNN
    >>> method = PASE(SampleCNN(width=2, depth=4, sample_rate=8000))
    >>> clips = Clips(wave=torch.randn(2, 3, 1, method.input_samples), rows=torch.arange(3), targets=None)
    >>> [name for name in method.losses(clips) if not name.startswith("loss")]
    ['waveform', 'spectrum', 'mfcc', 'prosody', 'local', 'global']
    """

    crops = 2
    compares_rows = True

    def __init__(
        self,
        encoder: Encoder,
        augment: Sequence[Augmentation] | str = (),
        *,
        segments: int = 2,
        segment_seconds: float | None = None,
        learning_rate: float = 5e-4,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(encoder, augment=augment, learning_rate=learning_rate, weight_decay=weight_decay)
        if segments < 2:
            raise UserError(f"PASE: segments={segments}; wanted 2 or more: local mutual information is between two")
        self.segments = segments
        self.segment_seconds = segment_seconds
        self.views = self.crops * segments
        samples, width = segment_samples(encoder, segment_seconds), encoder.embedding_dim
        self.targets = Targets(encoder.sample_rate, samples)
        self.regression = nn.ModuleDict()
        for name, numbers in self.targets.numbers.items():
            error = functional.l1_loss if name == "waveform" else functional.mse_loss
            self.regression[name] = RegressionWorker(width, numbers, error)
        self.local_information = MutualInformationWorker(width)
        self.global_information = MutualInformationWorker(width)

    @property
    def input_samples(self) -> int:
        return self.segments * self.targets.samples

    def losses(self, clips: Clips) -> dict[str, Tensor]:
        clean = torch.cat([clips.view(0), clips.view(1)])  # (2B, 1, S · T)
        embedding = self.encoded(in_segments(self.augmented(clean), self.segments))  # (2B · S, D)
        self.watched = {"embedding": embedding.detach()}
        latents = self._of_all(embedding)  # (2 · S, world size · B, D)
        found: dict[str, tuple[Tensor, Tensor]] = {}
        for name, target in self.targets(in_segments(clean, self.segments)).items():
            wanted = standardised(self._of_all(target).flatten(0, 1))
            found[name] = self.regression[name](latents.flatten(0, 1), wanted)
        of_crops = latents.unflatten(0, (2, self.segments))  # (2, S, world size · B, D)
        neighbours = of_crops[:, :-1].flatten(0, 1), of_crops[:, 1:].flatten(0, 1)
        found["local"] = self.local_information(*neighbours)
        found["global"] = self.global_information(*of_crops.mean(dim=1).unsqueeze(1))
        loss, trivial = (torch.stack(values).mean() for values in zip(*found.values(), strict=True))
        # 1 where every worker tells no more than the mean of the batch and a guess among two
        facts = {"loss": loss, "loss_over_trivial": loss.detach() / trivial}
        return facts | {name: worker.detach() for name, (worker, _) in found.items()}

    def _of_all(self, rows: Tensor) -> Tensor:
        """Rows of segments, of every process, by crop and segment: (2B · S, D) → (2 · S, world size · B, D)."""
        by_crop = in_clips(rows, self.segments).unflatten(0, (2, -1))  # (2, B, S, D)
        return of_all_ranks(by_crop.transpose(1, 2).flatten(0, 1))
