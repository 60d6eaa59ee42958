"""Editorial: who made it. Artists, albums or groups of them as classes, which music has without being labelled."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from ssl_music.augment import Augmentation
from ssl_music.catalogs import Catalog, Track
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError, unknown_name
from ssl_music.methods.base import Method
from ssl_music.methods.parts.groups import SoundGroups
from ssl_music.methods.parts.targets import KEY, check_same_targets, digest_of

FIELDS = ("artist", "album")


class Editorial(Method):
    """Representation learning of music using artist labels (Park et al. 2018, arXiv 1710.06648), the plain network of
    it: cross-entropy over the artists of the training split; also over albums (Lee et al. 2019, arXiv 1906.11783).

    `clusters` puts artists (albums) that sound alike into so many classes, in the spirit of the artist groups of Kim
    et al. 2018 (arXiv 1805.02043), but made more simply: k-means over the mean log-mel statistics of their tracks.

    Tracks without an artist (album) take no part, nor those of one with fewer than `min_tracks` tracks in the
    training split. An album is its name and its artist: "Greatest Hits" is many. Only artists of the training split
    can be told, and splits that keep artists apart leave none to validate with: give valid_split null, or clusters,
    to which artists unheard so far are put by their sound. The head is thrown away after training.
    Adam 1e-4 as in `Supervised`; the paper's 20 tracks an artist are more than most collections have.

    Shape: clips (B, 1, T) with classes (B, 1) as targets → losses ().

    >>> from ssl_music.encoders import SampleCNN
    >>> Editorial(SampleCNN(width=4), field="album").min_tracks
    2
    """

    keeps: Literal["last", "best"] = "best"

    def __init__(
        self,
        encoder: Encoder,
        augment: Sequence[Augmentation] | str = (),
        *,
        field: Literal["artist", "album"] = "artist",
        clusters: int | None = None,
        min_tracks: int = 2,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(encoder, augment=augment, learning_rate=learning_rate, weight_decay=weight_decay)
        if field not in FIELDS:
            raise unknown_name("field of Editorial", field, list(FIELDS))
        if min_tracks < 1 or (clusters is not None and clusters < 2):
            raise UserError(f"Editorial: min_tracks={min_tracks}, clusters={clusters}; wanted 1, and 2 or more")
        self.field = field
        self.clusters = clusters
        self.min_tracks = min_tracks
        self.classes: dict[tuple[str, ...], int] = {}  #: name → class, of the training split
        self.groups: SoundGroups | None = None
        self.head: nn.Linear | None = None  # `prepare` makes it: only a catalog knows the artists
        self.trivial = 0.0

    def examples(self, catalog: Catalog, tracks: Sequence[Track]) -> tuple[list[Track], np.ndarray | None]:
        held = Counter(self._name(track) for track in tracks if getattr(track, self.field))
        names = sorted(name for name, count in held.items() if count >= self.min_tracks)
        if len(names) < 2:
            raise UserError(
                f"{len(names)} {self.field}s have {self.min_tracks} or more of the {len(tracks)} tracks that are "
                f"trained on, and {len(held)} have any; wanted 2 or more to tell apart. Where do the {self.field}s "
                f"stand: in the files' tags, or in a column {self.field!r} of the catalog's table?"
            )
        if self.clusters is None:
            self.classes = {name: number for number, name in enumerate(names)}
        else:
            self.groups = SoundGroups(self.clusters, sample_rate=self.encoder.sample_rate)
            known, _ = self._classified(tracks, dict.fromkeys(names, 0))
            self.classes = self.groups.fit(catalog, known, [self._name(track) for track in known])
        return self._classified(tracks, self.classes)

    def valid_examples(self, catalog: Catalog, tracks: Sequence[Track]) -> tuple[list[Track], np.ndarray | None]:
        classes = dict(self.classes)
        if self.groups is not None:
            new = [track for track in tracks if getattr(track, self.field) and self._name(track) not in classes]
            classes |= self.groups.place(catalog, new, [self._name(track) for track in new])
        kept, targets = self._classified(tracks, classes)
        if not kept:
            raise UserError(
                f"none of {len(tracks)} tracks to validate with is of the {len(classes)} {self.field}s that are "
                "learnt, as it should be where splits keep artists apart: give valid_split null, or clusters"
            )
        return kept, targets

    def prepare(self, catalog: Catalog, tracks: Sequence[Track]) -> None:
        if not self.classes:
            self.examples(catalog, tracks)
        _, targets = self._classified(tracks, self.classes)
        counts = np.bincount(targets[:, 0].astype(np.int64))
        share = counts[counts > 0] / counts.sum()
        self.trivial = float(-(share * np.log(share)).sum())  # what it costs to know how frequent each class is
        self.head = nn.Linear(self.encoder.embedding_dim, len(counts))

    def losses(self, clips: Clips) -> dict[str, Tensor]:
        if self.head is None or clips.targets is None:
            raise UserError("Editorial wants prepare(catalog, tracks) first, and classes (B, 1) with its clips")
        wave, truth = clips.view(0), clips.targets[:, 0].long()
        embedding = self.encoded(self.augmented(wave) if self.training else wave.to(self.dtype))  # (B, D)
        self.watched = {"embedding": embedding.detach()}
        logits = self.head(embedding)  # (B, K)
        loss = functional.cross_entropy(logits, truth)
        hits = (logits.argmax(dim=1) == truth).to(loss.dtype).mean()
        return {"loss": loss, "loss_over_trivial": loss.detach() / self.trivial, "accuracy": hits}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint[KEY] = digest_of(self.classes)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        check_same_targets(checkpoint, digest_of(self.classes), what=f"the {self.field}s of the tracks")

    def _name(self, track: Track) -> tuple[str, ...]:
        return (track.artist,) if self.field == "artist" else (track.artist, track.album)

    def _classified(
        self, tracks: Sequence[Track], classes: Mapping[tuple[str, ...], int]
    ) -> tuple[list[Track], np.ndarray]:
        """The tracks with a class, and their classes (N, 1): one column, for artists may be many."""
        kept = [track for track in tracks if getattr(track, self.field) and self._name(track) in classes]
        return kept, np.array([[classes[self._name(track)]] for track in kept], np.float32).reshape(-1, 1)
