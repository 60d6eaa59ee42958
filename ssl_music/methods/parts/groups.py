"""Groups of artists, or of albums, that sound alike: k-means over log-mel statistics of their tracks."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from ssl_music.catalogs import Catalog, Track
from ssl_music.clips import waves
from ssl_music.encoders import LogMelStatistics
from ssl_music.errors import UserError

Name = tuple[str, ...]
#: of the middle of each track
SECONDS = 10.0
BANDS = 64


class SoundGroups:
    """Puts names (of artists, of albums) into groups by the sound of their tracks; seeded, the same in every process.

    A sound is the mean and the deviation of 64 log-mel bands over ten seconds from the middle of a track, averaged
    over the tracks of a name.
    """

    def __init__(self, groups: int, *, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.groups = groups
        self.clustering = make_pipeline(StandardScaler(), KMeans(groups, n_init=10, random_state=0))

    def fit(self, catalog: Catalog, tracks: Sequence[Track], names: Sequence[Name]) -> dict[Name, int]:
        """Makes the groups: name → group."""
        sounds = self.sounds(catalog, tracks, names)
        if not self.groups < len(sounds):
            raise UserError(f"{self.groups} clusters of {len(sounds)}: wanted fewer than there are to put into them")
        with threadpool_limits(1):  # sums in one order
            self.clustering.fit(np.stack(list(sounds.values())))
        groups = self._groups_of(sounds)
        if len(set(groups.values())) < 2:
            raise UserError(f"all {len(sounds)} that should be put into groups by their sound sound the same")
        return groups

    def place(self, catalog: Catalog, tracks: Sequence[Track], names: Sequence[Name]) -> dict[Name, int]:
        """The nearest groups of other names: name → group."""
        return self._groups_of(self.sounds(catalog, tracks, names))

    def sounds(self, catalog: Catalog, tracks: Sequence[Track], names: Sequence[Name]) -> dict[Name, np.ndarray]:
        """Name → (128,), sorted by name."""
        statistics = LogMelStatistics(bands=BANDS, sample_rate=self.sample_rate)
        source, row = waves(catalog, self.sample_rate), {track.id: at for at, track in enumerate(catalog.tracks)}
        found: dict[Name, list[np.ndarray]] = {}
        pairs = sorted(zip(names, tracks, strict=True), key=lambda pair: (pair[0], pair[1].id))
        for name, track in tqdm(pairs, "sounds", unit="track", delay=2, disable=None):
            samples = int(source.samples[row[track.id]])
            count = min(samples, round(SECONDS * self.sample_rate))
            heard = source.gather(np.array([row[track.id]]), np.array([(samples - count) // 2]), count)[0]
            wave = torch.from_numpy(np.resize(heard, max(count, statistics.minimum_samples))).view(1, 1, -1)
            with torch.no_grad():
                found.setdefault(name, []).append(statistics(wave / 32768)[0].numpy())
        return {name: np.stack(vectors).mean(axis=0, dtype=np.float64) for name, vectors in found.items()}

    def _groups_of(self, sounds: Mapping[Name, np.ndarray]) -> dict[Name, int]:
        if not sounds:
            return {}
        return dict(zip(sounds, self.clustering.predict(np.stack(list(sounds.values()))).tolist(), strict=True))
