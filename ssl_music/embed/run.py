"""Embedding a catalog, embedding a file."""

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor
from tqdm import tqdm

from ssl_music._ledger import Row
from ssl_music.audio import Stream
from ssl_music.catalogs import Catalog, Track
from ssl_music.embed.outputs import hop_of, outputs
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.pack import Pack
from ssl_music.vectors import Vectors, VectorsWriter, chunk_starts

#: a track and its audio, blocks of (n,) float32 at the encoder's rate → other blocks in its place
Altered = Callable[[Track, Iterable[np.ndarray]], Iterable[np.ndarray]]


def embed(
    catalog: Catalog,
    encoder: Encoder,
    out: Path | str,
    *,
    hop_seconds: float | None = None,
    batch_size: int = 16,
    device: str = "auto",
    progress: bool = True,
    only: Collection[str] | None = None,
    altered: Altered | None = None,
) -> Vectors:
    """Writes one vector a chunk, and their mean a track, of every track of `catalog` to the directory `out`.

    Chunks are as long as the encoder's clips and lie `hop_seconds` apart, by default end to end (the rule for what is
    left at the end is `vectors.chunk_starts`). A file that cannot be read is noted with its reason. A run that was
    interrupted goes on where it was; vectors of other weights in `out` are an error.

    `only` names the tracks to hear, by id; `altered` changes the audio on its way to the encoder. The header of the
    store knows of neither: who uses them keeps such stores apart.

    >>> import tempfile
    >>> from ssl_music.catalogs import Synthetic
    >>> from ssl_music.encoders import LogMelStatistics
    >>> folder = Path(tempfile.mkdtemp())
    >>> music = Synthetic(folder / "music", pieces=50, seconds=3.0)
    >>> embed(music, LogMelStatistics(), folder / "vectors", progress=False).pooled.shape[0]
    50
    """
    hop_samples = hop_of(encoder.input_samples, hop_seconds, encoder.sample_rate)
    header = {
        "digest": encoder.digest(),
        "encoder": encoder.facts()["class_path"],
        "embedding_dim": encoder.embedding_dim,
        "sample_rate": encoder.sample_rate,
        "input_samples": encoder.input_samples,
        "hop_samples": hop_samples,
        "split_name": catalog.split_name,
        "catalog_fingerprint": catalog.fingerprint(),
        "columns": dict(catalog.columns),
    }
    read = _blocks_of(catalog, encoder)

    def blocks(number: int, track: Track) -> Iterable[np.ndarray]:
        return read(number, track) if altered is None else altered(track, read(number, track))

    wanted = [(number, track) for number, track in enumerate(catalog.tracks) if only is None or track.id in only]
    with VectorsWriter(out, header=header) as writer:
        left = [(number, track) for number, track in wanted if track.id not in writer.done]
        heard = outputs(
            encoder,
            encoder,
            _embedding,
            [partial(blocks, *one) for one in left],
            hop_samples=hop_samples,
            batch_size=batch_size,
            device=device,
        )
        bar = tqdm(
            heard, total=len(wanted), initial=len(writer.done), unit="track", desc="embed",
            disable=None if progress else True,
        )  # fmt: skip
        for (_, track), (vectors, samples, error) in zip(left, bar, strict=True):
            if error is None:
                writer.append(Row.of(track, seconds=samples / encoder.sample_rate), [vectors])
            else:
                writer.quarantine(Row.of(track), error.reason)
        stored = writer.finish()
    if not len(stored):
        reasons = "; ".join(f"{id}: {reason}" for id, reason in stored.broken[:3])
        raise UserError(f"{out}: none of {len(stored.broken)} tracks could be read ({reasons})")
    return stored


def embed_file(
    path: Path | str,
    encoder: Encoder,
    *,
    start_seconds: float = 0.0,
    seconds: float | None = None,
    hop_seconds: float | None = None,
    batch_size: int = 16,
    device: str = "auto",
) -> tuple[np.ndarray, np.ndarray]:
    """When the chunks of a file, or of a passage of it, begin (n,) in seconds, and their vectors (n, D).

    Raises AudioError where the file cannot be read or ends before the passage begins.
    """
    hop_samples = hop_of(encoder.input_samples, hop_seconds, encoder.sample_rate)
    source = partial(Stream, path, encoder.sample_rate, start_seconds=start_seconds, seconds=seconds)
    (vectors, samples, error) = next(
        outputs(encoder, encoder, _embedding, [source], hop_samples=hop_samples, batch_size=batch_size, device=device)
    )
    if error is not None:
        raise error
    starts = chunk_starts(samples, input_samples=encoder.input_samples, hop_samples=hop_samples)
    return start_seconds + starts / encoder.sample_rate, vectors


def _embedding(encoder: Encoder, wave: Tensor) -> Tensor:
    return encoder(wave)


def _blocks_of(catalog: Catalog, encoder: Encoder) -> Callable[[int, Track], Iterable[np.ndarray]]:
    """How the audio of a track is read: from the pack's memory map, or decoded from its file."""
    if not isinstance(catalog, Pack):
        return lambda _, track: Stream(track.path, encoder.sample_rate)
    if catalog.sample_rate != encoder.sample_rate:
        raise UserError(
            f"{catalog.root}: packed at {catalog.sample_rate} Hz, but {type(encoder).__name__} wants "
            f"{encoder.sample_rate} Hz; pack again with --sample_rate {encoder.sample_rate}, or embed from the files"
        )

    def blocks(row: int, _: Track) -> Iterator[np.ndarray]:
        for block in catalog.blocks(row, 16 * encoder.input_samples):
            yield block.astype(np.float32) / 32768

    return blocks
