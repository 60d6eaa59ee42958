"""Tagging files: what every window of a song is tagged as, and the song as a whole."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor
from tqdm import tqdm

from ssl_music.audio import AudioError, Stream
from ssl_music.catalogs import Folder
from ssl_music.embed.outputs import hop_of, outputs, window_of
from ssl_music.embed.stream import Source
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError, unknown_name
from ssl_music.tagger import Tagger
from ssl_music.taggram import POOLINGS, Taggram
from ssl_music.vectors import chunk_starts


class Tagging(Protocol):
    """What tagging asks of a tagger: ours, or one in a file that another runtime runs."""

    encoder: Encoder
    tags: list[str]
    multi_label: bool

    def probabilities(self, wave: Tensor) -> Tensor: ...


def taggrams(
    files: Sequence[Path | str],
    tagger: Tagger | Tagging,
    *,
    window_seconds: float | None = None,
    hop_seconds: float | None = None,
    batch_size: int = 16,
    device: str = "auto",
    progress: bool = True,
) -> Iterator[tuple[Path, Taggram | AudioError]]:
    """Each file with the probabilities of the tagger's tags window by window, or with why it has none.

    Windows are as long as the encoder's clips, or `window_seconds`, and lie `hop_seconds` apart, by default end to
    end; what is left at the end follows the rule of `vectors.chunk_starts`. Folders among `files` stand for the audio
    in them. Raises UserError for a window that the encoder cannot take.

    >>> import tempfile
    >>> from ssl_music import audio
    >>> from ssl_music.encoders import LogMelStatistics
    >>> song = Path(tempfile.mkdtemp()) / "song.wav"
    >>> audio.write(song, np.sin(np.arange(88200) / 9).astype(np.float32), 22050)
    >>> tagger = Tagger(LogMelStatistics(), ["calm", "loud"], column="mood", multi_label=False)
    >>> ((_, taggram),) = taggrams([song], tagger, window_seconds=2.0, hop_seconds=1.0, progress=False)
    >>> taggram.starts_seconds, taggram.scores.shape
    (array([0., 1., 2.]), (3, 2))
    """
    paths = [path for file in files for path in _expand(Path(file))]
    encoder = tagger.encoder
    window = window_of(encoder, window_seconds)
    hop = hop_of(window, hop_seconds, encoder.sample_rate)
    sources: list[Source] = [partial(Stream, path, encoder.sample_rate) for path in paths]
    heard = outputs(
        encoder,
        tagger,
        _probabilities,
        sources,
        window_samples=window,
        hop_samples=hop,
        batch_size=batch_size,
        device=device,
    )
    bar = tqdm(heard, total=len(paths), unit="file", desc="tag", disable=None if progress else True)
    for path, (probabilities, samples, error) in zip(paths, bar, strict=True):
        if error is not None:
            yield path, error
            continue
        if not np.isfinite(probabilities).all():
            raise UserError(f"{path}: the tagger gave NaN or Inf for it; it has diverged: tag with sound weights")
        starts = chunk_starts(samples, input_samples=window, hop_samples=hop) / encoder.sample_rate
        yield path, Taggram(tagger.tags, starts, window / encoder.sample_rate, probabilities, tagger.multi_label)


def tag_files(
    files: Sequence[Path | str],
    tagger: Tagger | Tagging,
    *,
    pooling: str = "mean",
    hop_seconds: float | None = None,
    batch_size: int = 16,
    device: str = "auto",
    progress: bool = True,
) -> Iterator[tuple[Path, np.ndarray | AudioError]]:
    """Each file with the probabilities (K,) of the tagger's tags, in their order, or with why it has none.

    Those of the song's windows are pooled by one of `taggram.POOLINGS`; why the mean is the first choice stands
    there. Folders among `files` stand for the audio in them.
    """
    if pooling not in POOLINGS:
        raise unknown_name("pooling", pooling, sorted(POOLINGS))
    found = taggrams(files, tagger, hop_seconds=hop_seconds, batch_size=batch_size, device=device, progress=progress)
    for path, taggram in found:
        yield path, taggram if isinstance(taggram, AudioError) else taggram.pooled(pooling)


def _probabilities(tagger: Tagging, wave: Tensor) -> Tensor:
    return tagger.probabilities(wave)


def _expand(path: Path) -> list[Path]:
    if path.is_dir():
        return [track.path for track in Folder(path).tracks]
    return [path]
