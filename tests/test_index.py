"""Search against brute force, with filters, passages, left-out tracks and vectors of other weights."""

from pathlib import Path

import numpy as np
import pytest

from ssl_music import index as indexing
from ssl_music._ledger import Row
from ssl_music.errors import UserError
from ssl_music.index import Index
from ssl_music.vectors import Vectors, VectorsWriter

D = 16


def store(root: Path, pooled: np.ndarray, *, chunks: int = 3, digest: str = "aa") -> Vectors:
    """A store in which track n is by artist n % 5, in group n // 2, with `chunks` chunks around pooled[n]."""
    header = {
        "digest": digest,
        "encoder": "a.B",
        "embedding_dim": pooled.shape[1],
        "sample_rate": 100,
        "input_samples": 100,
        "hop_samples": 100,
        "split_name": "none",
        "catalog_fingerprint": "f",
        "columns": {},
    }
    spread = np.linspace(-1, 1, chunks, dtype=np.float32)[:, None] * 0.01
    with VectorsWriter(root, header=header) as writer:
        for number, vector in enumerate(pooled.astype(np.float32)):
            row = Row(
                f"t{number}", artist=f"a{number % 5}", group=f"g{number // 2}", title=f"T{number}", seconds=chunks
            )
            writer.append(row, [vector + spread * vector[0]])
        return writer.finish()


@pytest.fixture
def pooled() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((200, D)).astype(np.float32) + 3


def brute_force(pooled: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Cosine of standardised vectors, from the definition, in float64."""
    pooled, query = pooled.astype(np.float64), query.astype(np.float64)
    mean, deviation = pooled.mean(axis=0), pooled.std(axis=0)
    items, one = (pooled - mean) / deviation, (query - mean) / deviation
    return items @ one / np.linalg.norm(items, axis=1) / np.linalg.norm(one)


def test_exact_equals_brute_force(tmp_path: Path, pooled: np.ndarray) -> None:
    found = indexing.build(store(tmp_path / "v", pooled), tmp_path / "i")
    assert found.facts["kind"] == "exact"
    query = np.random.default_rng(1).standard_normal(D).astype(np.float32) + 3
    wanted = brute_force(found.vectors.pooled, query)
    hits = found.search(query, 10)
    assert [hit.row for hit in hits] == np.argsort(-wanted)[:10].tolist()
    np.testing.assert_allclose([hit.similarity for hit in hits], np.sort(wanted)[::-1][:10], atol=1e-5)


def test_inverted_lists_find_most_of_what_exact_finds(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    centres = rng.standard_normal((30, D)) * 2
    vectors = store(tmp_path / "v", centres[rng.integers(30, size=3000)] + rng.standard_normal((3000, D)), chunks=1)
    exact, ivf = (indexing.build(vectors, tmp_path / kind, kind=kind) for kind in ("exact", "ivf"))
    same = [
        len(
            {hit.row for hit in exact.search(vectors.pooled[row], 10)}
            & {hit.row for hit in ivf.search(vectors.pooled[row], 10)}
        )
        for row in range(0, 3000, 100)
    ]
    assert np.mean(same) / 10 > 0.9
    hit = ivf.search(vectors.pooled[7], 1)[0]
    assert (hit.row, round(hit.similarity, 5)) == (7, 1.0)


@pytest.mark.parametrize("kind", ["exact", "ivf"])
def test_filters_leave_out_track_artist_and_group(tmp_path: Path, pooled: np.ndarray, kind: str) -> None:
    found = indexing.build(store(tmp_path / "v", pooled), tmp_path / "i", kind=kind)
    everyone = {hit.id for hit in found.search_track("t10", 500)}
    assert "t10" not in everyone
    artists = {hit.artist for hit in found.search_track("t10", 500, exclude_artist=True)}
    assert artists == {"a1", "a2", "a3", "a4"}
    groups = {hit.id for hit in found.search_track("t10", 500, exclude_group=True)}
    assert everyone - groups == {"t11"}


def test_passage_is_the_mean_of_its_chunks_and_a_hit_says_where(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    chunks = rng.standard_normal((20, 4, D)).astype(np.float32)
    header = dict(store(tmp_path / "other", rng.standard_normal((2, D))).header)
    with VectorsWriter(tmp_path / "v", header=header) as writer:
        for number, own in enumerate(chunks):
            writer.append(Row(f"t{number}", seconds=4.0), [own])
        found = indexing.build(writer.finish(), tmp_path / "i")
    by_passage = found.search_track("t3", 5, start_seconds=1.0, seconds=2.0)
    assert by_passage == found.search(chunks[3, 1:3].mean(axis=0), 5, excluded=[3])
    target = chunks[9, 2]
    hit = next(hit for hit in found.search(target, 20) if hit.id == "t9")
    assert hit.at_seconds == 2.0
    with pytest.raises(UserError, match=r"no chunk lies in 50–60 s; it is 4.0 s"):
        found.search_track("t3", 5, start_seconds=50, seconds=10)


def test_silence_is_left_out_and_named(tmp_path: Path, pooled: np.ndarray) -> None:
    pooled[4] = 0
    found = indexing.build(store(tmp_path / "v", pooled), tmp_path / "i")
    assert found.left_out[0][0] == "t4" and "zero" in found.summary()
    assert "t4" not in {hit.id for hit in found.search(pooled[0], 500)}
    with pytest.raises(UserError, match="silence cannot be compared"):
        found.search_track("t4", 3)


def test_vectors_of_other_weights_are_refused(tmp_path: Path, pooled: np.ndarray) -> None:
    found = indexing.build(store(tmp_path / "v", pooled, digest="aa"), tmp_path / "i")
    with pytest.raises(UserError, match="weights aa; the query was made by bb"):
        found.search(pooled[0], 3, digest="bb")
    (tmp_path / "v").rename(tmp_path / "old")
    store(tmp_path / "v", pooled[:50], digest="bb")
    with pytest.raises(UserError, match=r"vectors have changed \(digest aa then, bb now, tracks 200 then, 50 now\)"):
        Index(tmp_path / "i")


def test_reopened_index_answers_the_same(tmp_path: Path, pooled: np.ndarray) -> None:
    found = indexing.build(store(tmp_path / "v", pooled), tmp_path / "i")
    assert Index(tmp_path / "i").search(pooled[3], 5) == found.search(pooled[3], 5)
    assert sorted(path.name for path in (tmp_path / "i").iterdir()) == ["index.faiss", "index.json"]


def test_bad_questions(tmp_path: Path, pooled: np.ndarray) -> None:
    found = indexing.build(store(tmp_path / "v", pooled), tmp_path / "i")
    with pytest.raises(UserError, match="no index"):
        Index(tmp_path / "nowhere")
    with pytest.raises(UserError, match="unknown track id 't2000'"):
        found.search_track("t2000", 3)
    with pytest.raises(UserError, match="at least one song"):
        found.search(pooled[0], 0)
    with pytest.raises(UserError, match="unknown kind of index 'hsnw'"):
        indexing.build(found.vectors, tmp_path / "x", kind="hsnw")
    with pytest.raises(UserError, match=r"must be \(16,\)"):
        found.search(pooled[0][:3], 1)
