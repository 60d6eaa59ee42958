"""Where samples come from: a pack (`pack.Pack` is a `Waves`), or the compressed files themselves."""

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from tqdm import tqdm

from ssl_music import audio
from ssl_music.catalogs.base import Catalog, Track
from ssl_music.errors import UserError


class Waves(Protocol):
    """Samples of many tracks, by row."""

    @property
    def sample_rate(self) -> int: ...

    @property
    def samples(self) -> np.ndarray:
        """How many samples each row has. Shape: (N,) int64."""

    def gather(self, rows: np.ndarray, starts: np.ndarray, count: int) -> np.ndarray:
        """`count` samples of each row from its start on. Shape: (B,), (B,) -> (B, count) int16."""


class Files:
    """Crops straight from the files, decoded by a pool of threads: nothing to pack first, but each crop costs its
    decoding (milliseconds, against hundredths from a pack).

    Lengths are what the headers claim. A header may lie; then the slices that lie behind the true end are moved to
    where start · (true - count + 1) / (claimed - count + 1) falls, so a crop stays a function of file and start. What
    is shorter than a crop altogether is repeated, with a warning; a pack knows true lengths and leaves the choice.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "tone.wav"
    >>> audio.write(path, np.full(8000, 0.25, np.float32), 8000)
    >>> files = Files([Track("tone", path)], 8000, progress=False)
    >>> files.samples, files.gather(np.array([0]), np.array([100]), 3)
    (array([8000]), array([[8192, 8192, 8192]], dtype=int16))
    """

    def __init__(
        self, tracks: Sequence[Track], sample_rate: int, *, workers: int | None = None, progress: bool = True
    ):
        self.tracks = list(tracks)
        self.sample_rate = sample_rate
        self.workers = workers or min(32, os.cpu_count() or 1)
        self._true: dict[int, int] = {}
        self.samples = self._probe(progress)

    def gather(self, rows: np.ndarray, starts: np.ndarray, count: int) -> np.ndarray:
        """`count` samples of each row from its start on. Shape: (B,), (B,) -> (B, count) int16."""
        with ThreadPoolExecutor(self.workers) as pool:
            crops = pool.map(self._crop, rows.tolist(), starts.tolist(), [count] * len(rows))
            wave = np.stack(list(crops))
        return np.clip(np.rint(wave * 32768.0), -32768, 32767).astype(np.int16)

    def _probe(self, progress: bool) -> np.ndarray:
        def claimed(row: int) -> int | audio.AudioError:
            try:
                info = audio.probe(self.tracks[row].path)
                return int(info.frames * self.sample_rate // info.sample_rate) or self._measure(row)
            except audio.AudioError as error:
                return error

        with ThreadPoolExecutor(self.workers) as pool:
            found = pool.map(claimed, range(len(self.tracks)))
            bar = tqdm(found, "lengths", len(self.tracks), unit="file", disable=None if progress else True)
            lengths = list(bar)
        broken = [error for error in lengths if isinstance(error, audio.AudioError)]
        if broken:
            shown = "; ".join(map(str, broken[:3])) + ("; …" if len(broken) > 3 else "")
            raise UserError(
                f"{len(broken)} of {len(self.tracks)} files cannot be read: {shown}. "
                "`ssl-music pack` sets such files aside and lists them: give the pack as the catalog"
            )
        return np.array(lengths, np.int64)

    def _crop(self, row: int, start: int, count: int) -> np.ndarray:
        # the file itself is asked first, always: what was found out about it earlier must not change the crop
        wave = self._read(row, start, count)
        if len(wave) == count:
            return wave
        path = self.tracks[row].path
        if row not in self._true:
            self._true[row] = self._measure(row)
        true = self._true[row]
        if true < count:
            warnings.warn(
                f"{path}: holds only {true / self.sample_rate:.1f} s, repeated to fill a crop", stacklevel=1
            )
            return np.resize(self._read(row, 0, true), count)
        wave = self._read(row, start * (true - count + 1) // (int(self.samples[row]) - count + 1), count)
        if len(wave) < count:
            raise audio.AudioError(path, "a slice of it is shorter than it was when read through; pack it")
        return wave

    def _read(self, row: int, start: int, count: int) -> np.ndarray:
        """At most `count` samples; fewer only where the file ends early."""
        path, rate = self.tracks[row].path, self.sample_rate
        try:
            return audio.read(path, rate, start_seconds=start / rate, seconds=count / rate)
        except audio.AudioError:
            return np.zeros(0, np.float32)  # the slice lies wholly behind the true end, or else `_measure` raises

    def _measure(self, row: int) -> int:
        path = self.tracks[row].path
        true = sum(len(block) for block in audio.Stream(path, self.sample_rate))
        if not true:
            raise audio.AudioError(path, "holds no samples")
        return true


def waves(catalog: Catalog, sample_rate: int) -> Waves:
    """The catalog itself where it holds samples (a pack), else its files; rows are those of `catalog.tracks`."""
    if not hasattr(catalog, "gather"):
        return Files(catalog.tracks, sample_rate)
    if catalog.sample_rate != sample_rate:  # type: ignore[attr-defined]
        raise UserError(
            f"{getattr(catalog, 'root', 'the pack')}: packed at {catalog.sample_rate} Hz, "  # type: ignore[attr-defined]
            f"but the encoder hears {sample_rate} Hz; pack the music again with --sample_rate {sample_rate}"
        )
    return catalog  # type: ignore[return-value]
