"""The store of vectors: chunk rule, pooling, resuming, refusals."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ssl_music._ledger import LedgerWriter, Row
from ssl_music.errors import UserError
from ssl_music.vectors import Vectors, VectorsWriter, chunk_starts
from ssl_music.vectors.layout import POOLED

HEADER = {
    "digest": "0123456789abcdef",
    "encoder": "my_pkg.MyEncoder",
    "embedding_dim": 3,
    "sample_rate": 100,
    "input_samples": 50,
    "hop_samples": 25,
    "split_name": "by artist, seed 0",
    "catalog_fingerprint": "fedcba9876543210",
    "columns": {"genre": False, "mood": True},
}
ROWS = [
    Row("a", artist="Ada", labels={"genre": ("folk",), "mood": ("calm", "dark")}, split="train", seconds=1.0),
    Row("b", artist="Bo", labels={"genre": ("rock",)}, split="train", seconds=0.3),
    Row("c", labels={"mood": ("calm",)}, split="test", seconds=1.23),
    Row("d", labels={"genre": ("folk",), "mood": ()}, split="test", seconds=2.0),
]


def chunks_of(row: Row) -> np.ndarray:
    count = len(chunk_starts(round(row.seconds * 100), input_samples=50, hop_samples=25))
    return np.random.default_rng(ord(row.id)).normal(size=(count, 3)).astype(np.float32)


def written(root: Path, rows: list[Row] = ROWS) -> Vectors:
    with VectorsWriter(root, header=HEADER) as writer:
        for row in rows:
            if row.id in writer.done:
                continue
            if row.id == "b":
                writer.quarantine(row, "empty file")
            else:
                writer.append(lambda count, row=row: row, iter(np.array_split(chunks_of(row), 2)))
        return writer.finish()


def test_chunks_follow_the_documented_rule() -> None:
    random = np.random.default_rng(0)
    for _ in range(500):
        size, hop, samples = (int(random.integers(1, top)) for top in (30, 40, 200))
        expected, start = [], 0
        while start + size <= samples:
            expected.append(start)
            start += hop
        if not expected:
            expected = [0]
        elif samples - (expected[-1] + size) > size / 2:
            expected.append(samples - size)
        found = chunk_starts(samples, input_samples=size, hop_samples=hop)
        assert found.tolist() == expected
        assert samples < size or found[-1] + size <= samples


def test_chunk_rule_refuses_nothing_to_cut() -> None:
    with pytest.raises(UserError, match="samples 0"):
        chunk_starts(0, input_samples=5, hop_samples=5)
    with pytest.raises(UserError, match="hop_samples 0"):
        chunk_starts(9, input_samples=5, hop_samples=0)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    vectors = written(tmp_path / "v")
    assert [row.id for row in vectors.rows] == ["a", "c", "d"]
    assert vectors.broken == [("b", "empty file")]
    assert vectors.header == HEADER
    assert vectors.pooled.dtype == vectors.chunks.dtype == np.float32
    for number, row in enumerate(vectors.rows):
        first, behind = vectors.chunk_range(number)
        np.testing.assert_array_equal(vectors.chunks[first:behind], chunks_of(row))
        np.testing.assert_allclose(vectors.pooled[number], chunks_of(row).mean(axis=0), rtol=1e-6)
        assert len(vectors.chunk_seconds(number)) == behind - first
    # 1.23 s, chunks of 0.5 s every 0.25 s: the 0.23 s behind 0.5 … 1.0 are less than half a chunk
    np.testing.assert_allclose(vectors.chunk_seconds(1), [0.0, 0.25, 0.5])
    assert "3 tracks" in vectors.summary() and "b: empty file" in vectors.summary()
    assert vectors.check() == []


def test_labels_and_splits(tmp_path: Path) -> None:
    vectors = written(tmp_path / "v")
    assert vectors.tags("genre") == ["folk"]  # rock has no vectors
    assert vectors.tags("mood") == ["calm", "dark"]
    assert vectors.multi_label("mood") and not vectors.multi_label("genre")
    assert vectors.split("test").tolist() == [1, 2]
    assert vectors.split("all").tolist() == [0, 1, 2]
    assert vectors.labelled(vectors.split("all"), "mood").tolist() == [0, 1]
    np.testing.assert_array_equal(vectors.targets(np.array([1, 0, 2]), "mood"), [[1, 0], [1, 1], [0, 0]])
    with pytest.raises(UserError, match=r"unknown split .*did you mean 'test'\? Known: test, train, all"):
        vectors.split("tset")
    with pytest.raises(UserError, match="did you mean 'genre'"):
        vectors.tags("gnre")
    with pytest.raises(UserError, match=r"which label column.*genre, mood"):
        vectors.tags()


def test_interrupted_equals_uninterrupted(tmp_path: Path) -> None:
    written(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt), VectorsWriter(tmp_path / "cut", header=HEADER) as writer:
        writer.append(ROWS[0], [chunks_of(ROWS[0])])
        writer.append(ROWS[2], interrupted())
    with pytest.raises(UserError, match="unfinished"):
        Vectors(tmp_path / "cut")
    rows = [ROWS[0], ROWS[1], ROWS[2], ROWS[3]]
    written(tmp_path / "cut", rows)
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "cut").iterdir())
    for name in names:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


def interrupted():
    yield np.ones((1, 3), np.float32)
    raise KeyboardInterrupt


def test_killed_before_pooling_is_unfinished_and_goes_on(tmp_path: Path) -> None:
    whole = written(tmp_path / "v").pooled.copy()
    (tmp_path / "v" / POOLED).unlink()
    with pytest.raises(UserError, match=r"unfinished.*embed again"):
        Vectors(tmp_path / "v")
    np.testing.assert_array_equal(written(tmp_path / "v").pooled, whole)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "v")
    with pytest.raises(UserError, match=r"digest '0123456789abcdef'.*digest 'ffff'"):
        VectorsWriter(tmp_path / "v", header={**HEADER, "digest": "ffff"})
    with pytest.raises(ValueError, match="hop_samples"):
        VectorsWriter(tmp_path / "w", header={key: HEADER[key] for key in HEADER if key != "hop_samples"})


def test_a_wrong_number_of_chunks_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with VectorsWriter(tmp_path / "v", header=HEADER) as writer:
        with pytest.raises(ValueError, match="a: 1 chunks came"):
            writer.append(ROWS[0], [np.ones((1, 3), np.float32)])
        writer.append(ROWS[0], [chunks_of(ROWS[0])])
        assert len(writer.finish().chunks) == len(chunks_of(ROWS[0]))


def test_a_store_of_something_else_is_refused(tmp_path: Path) -> None:
    with LedgerWriter(tmp_path / "p", header={"sample_rate": 8000}, dtype=np.int16, rows_per_shard=9) as writer:
        writer.finish()
    with pytest.raises(UserError, match="no store of vectors"):
        Vectors(tmp_path / "p")
    with pytest.raises(UserError, match="nothing"):
        Vectors(tmp_path / "nothing")


def test_pooled_of_another_store_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "v")
    np.save(tmp_path / "v" / POOLED, np.zeros((2, 3), np.float32))
    with pytest.raises(UserError, match=r"is \(2, 3\), wanted \(3, 3\)"):
        Vectors(tmp_path / "v")


def test_an_empty_store(tmp_path: Path) -> None:
    vectors = written(tmp_path / "v", ROWS[1:2])
    assert len(vectors) == 0
    assert vectors.pooled.shape == vectors.chunks.shape == (0, 3)
    assert vectors.tags("genre") == []


def test_check_names_vectors_that_nothing_resembles(tmp_path: Path) -> None:
    rows = [replace(ROWS[0], id=id) for id in ("fine", "nan", "zero", "same")]
    with VectorsWriter(tmp_path / "v", header=HEADER) as writer:
        for row in rows:
            block = chunks_of(replace(row, id="a"))
            if row.id == "nan":
                block[1, 2] = np.nan
            elif row.id == "zero":
                block[0] = 0
            elif row.id == "same":
                block[:] = block[0]
            writer.append(row, [block])
        faults = writer.finish().check()
    assert [(fault.row, fault.id) for fault in faults] == [(1, "nan"), (2, "zero"), (3, "same")]
    assert [fault.reason for fault in faults] == [
        "1 of 3 vectors hold NaN or Inf",
        "1 of 3 vectors are zero",
        "all 3 vectors are the same: silence?",
    ]
