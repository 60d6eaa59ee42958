"""Streaming: chunks by the rule, batches across tracks, interruptions, broken files, bounded memory."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_music import audio
from ssl_music import pack as packing
from ssl_music.catalogs import Folder
from ssl_music.embed import embed, embed_file, tag_files
from ssl_music.embed.chunks import Chunks
from ssl_music.embed.stream import hear
from ssl_music.encoders import LogMelStatistics, SampleCNN
from ssl_music.errors import UserError
from ssl_music.tagger import Tagger
from ssl_music.vectors import chunk_starts

RATE = 8000


@pytest.fixture
def encoder() -> LogMelStatistics:
    return LogMelStatistics(bands=16, sample_rate=RATE, input_samples=4000, n_fft=256, hop=128)


@pytest.fixture
def music(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number, seconds in enumerate([0.2, 0.5, 1.1, 2.9, 4.0]):
        wave = (rng.standard_normal(round(seconds * RATE)) * 0.1).astype(np.float32)
        audio.write(tmp_path / "music" / f"{number}.wav", wave, RATE)
    return tmp_path / "music"


@pytest.mark.parametrize("samples", [1, 399, 400, 401, 599, 601, 1000, 5000])
@pytest.mark.parametrize("hop", [100, 400, 550])
@pytest.mark.parametrize("block", [7, 400, 1000])
def test_chunks_lie_where_the_rule_says(samples: int, hop: int, block: int) -> None:
    track = np.arange(samples, dtype=np.float32)
    blocks = [track[start : start + block] for start in range(0, samples, block)]
    cut = Chunks(blocks, input_samples=400, hop_samples=hop)
    chunks = list(cut)
    assert cut.samples == samples
    starts = chunk_starts(samples, input_samples=400, hop_samples=hop)
    assert len(chunks) == len(starts)
    for chunk, start in zip(chunks, starts, strict=True):
        np.testing.assert_array_equal(chunk, np.resize(track[start : start + 400], 400))


def test_outputs_do_not_depend_on_batches_or_neighbours(
    music: Path, encoder: LogMelStatistics, tmp_path: Path
) -> None:
    catalog = Folder(music)
    one = embed(catalog, encoder, tmp_path / "one", batch_size=1, progress=False)
    many = embed(catalog, encoder, tmp_path / "many", batch_size=7, progress=False)
    np.testing.assert_allclose(one.chunks, many.chunks, atol=1e-5)
    for number, track in enumerate(catalog.tracks):
        starts, vectors = embed_file(track.path, encoder)
        first, behind = many.chunk_range(number)
        np.testing.assert_allclose(vectors, many.chunks[first:behind], atol=1e-5)
        np.testing.assert_allclose(starts, many.chunk_seconds(number))
        np.testing.assert_allclose(many.pooled[number], vectors.mean(axis=0), atol=1e-4)


def test_packed_and_unpacked_music_give_the_same_vectors(
    music: Path, encoder: LogMelStatistics, tmp_path: Path
) -> None:
    packed = packing.pack(Folder(music), tmp_path / "pack", sample_rate=RATE, progress=False)
    a = embed(packed, encoder, tmp_path / "a", progress=False)
    b = embed(Folder(music), encoder, tmp_path / "b", progress=False)
    np.testing.assert_allclose(a.pooled, b.pooled, atol=1e-3)
    other = LogMelStatistics(sample_rate=16000)
    with pytest.raises(UserError, match="16000"):
        embed(packed, other, tmp_path / "c", progress=False)


def test_interrupted_embedding_goes_on(music: Path, encoder: LogMelStatistics, tmp_path: Path) -> None:
    whole = embed(Folder(music), encoder, tmp_path / "whole", progress=False)

    class Interrupting(LogMelStatistics):
        calls = 0

        def forward(self, wave: torch.Tensor) -> torch.Tensor:
            type(self).calls += 1
            if self.calls == 4:
                raise KeyboardInterrupt
            return super().forward(wave)

        def facts(self) -> dict:
            return encoder.facts()

    cut = Interrupting(bands=16, sample_rate=RATE, input_samples=4000, n_fft=256, hop=128)
    with pytest.raises(KeyboardInterrupt):
        embed(Folder(music), cut, tmp_path / "cut", batch_size=2, progress=False)
    with pytest.raises(UserError, match="unfinished"):
        from ssl_music.vectors import Vectors

        Vectors(tmp_path / "cut")
    resumed = embed(Folder(music), encoder, tmp_path / "cut", batch_size=2, progress=False)
    np.testing.assert_allclose(resumed.chunks, whole.chunks, atol=1e-5)
    assert [row.id for row in resumed.rows] == [row.id for row in whole.rows]


def test_vectors_of_other_weights_are_not_mixed(music: Path, encoder: LogMelStatistics, tmp_path: Path) -> None:
    embed(Folder(music), encoder, tmp_path / "v", progress=False)
    other = LogMelStatistics(bands=8, sample_rate=RATE, input_samples=4000, n_fft=256, hop=128)
    with pytest.raises(UserError, match="was made with"):
        embed(Folder(music), other, tmp_path / "v", progress=False)


def test_broken_files_are_noted_and_a_broken_catalog_is_an_error(
    music: Path, encoder: LogMelStatistics, tmp_path: Path
) -> None:
    (music / "broken.wav").write_bytes(b"no audio at all")
    stored = embed(Folder(music), encoder, tmp_path / "v", progress=False)
    assert len(stored) == 5 and [id for id, _ in stored.broken] == ["broken.wav"]
    assert "broken.wav" in stored.summary()
    for path in music.glob("[0-9].wav"):
        path.unlink()
    with pytest.raises(UserError, match="none of 1 tracks could be read"):
        embed(Folder(music), encoder, tmp_path / "w", progress=False)


def test_memory_stays_bounded_on_a_very_long_track() -> None:
    """Ten hours as a generator: the audio alone would be 1.1 GB."""

    def ten_hours() -> Iterator[np.ndarray]:
        for _ in range(1200):
            yield np.zeros(30 * RATE, np.float32)

    tracemalloc.start()
    (heard,) = hear(
        [ten_hours],
        lambda wave: wave[:, 0, :4].clone(),
        sample_rate=RATE,
        input_samples=RATE,
        hop_samples=RATE,
        batch_size=16,
        device=torch.device("cpu"),
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert heard.outputs.shape == (36_000, 4)
    assert peak < 64e6, f"{peak / 1e6:.0f} MB"


def test_a_defect_in_a_source_is_not_swallowed() -> None:
    def source() -> Iterator[np.ndarray]:
        yield np.zeros(RATE, np.float32)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(
            hear(
                [source],
                lambda wave: wave[:, 0, :4].clone(),
                sample_rate=RATE,
                input_samples=RATE,
                hop_samples=RATE,
                batch_size=2,
                device=torch.device("cpu"),
            )
        )


def test_passage_of_a_file(music: Path, encoder: LogMelStatistics) -> None:
    starts, vectors = embed_file(music / "4.wav", encoder, start_seconds=1.5, seconds=1.0)
    np.testing.assert_allclose(starts, [1.5, 2.0])
    assert vectors.shape == (2, encoder.embedding_dim)
    with pytest.raises(audio.AudioError, match="4"):
        embed_file(music / "4.wav", encoder, start_seconds=9.0)


def test_tagging_files_and_folders(music: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    tagger = Tagger(
        SampleCNN(width=4, depth=7, sample_rate=RATE), ["a", "b", "c"], column="x", multi_label=False
    ).eval()
    (music / "text.mp3").write_text("words")
    found = dict(tag_files([music], tagger, progress=False))
    assert isinstance(found.pop(music / "text.mp3"), audio.AudioError)
    assert len(found) == 5
    for probabilities in found.values():
        np.testing.assert_allclose(probabilities.sum(), 1, atol=1e-5)
    alone = dict(tag_files([music / "4.wav"], tagger, progress=False))
    np.testing.assert_allclose(alone[music / "4.wav"], found[music / "4.wav"], atol=1e-5)


def test_bad_arguments(music: Path, encoder: LogMelStatistics, tmp_path: Path) -> None:
    for wrong in ({"hop_seconds": 0.0}, {"batch_size": 0}, {"device": "abacus"}):
        with pytest.raises(UserError):
            embed(Folder(music), encoder, tmp_path / "v", progress=False, **wrong)
