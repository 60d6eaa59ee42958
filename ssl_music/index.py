"""Nearest songs: the one door to FAISS. Exact for small catalogs, inverted lists with an exact second look above.

Vectors are centred and scaled by the catalog's own mean and deviation in each dimension, then brought to unit length,
so that a similarity is a cosine around what is common to all songs: 1 is the same, 0 is unrelated. Without it all
embeddings behind a ReLU point the same way. FAISS ids are row numbers of the vectors, nothing else.
"""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssl_music._files import replacing
from ssl_music.errors import UserError, unknown_name
from ssl_music.vectors import Vectors, centre_and_scale

try:
    import faiss
except ImportError as error:
    raise UserError(
        "search needs FAISS: pip install 'ssl-music[cpu]', or 'ssl-music[gpu]' on a CUDA machine; never both, "
        "they provide the same module"
    ) from error

KINDS = ("auto", "exact", "ivf")
EXACT_UP_TO = 50_000  # tracks; measured: 512-d exact search of 100,000 takes 15 ms on one core
PROBED_SHARE = 1 / 16  # of the inverted lists: recall@10 .96 at one million 512-d vectors
SECOND_LOOK = 20  # candidates for each song asked for, compared again with the exact vectors
FACTS, DATA = "index.json", "index.faiss"


class Hit(NamedTuple):
    """A song that was found, and where in it the best matching chunk begins."""

    row: int
    id: str
    title: str
    artist: str
    similarity: float
    at_seconds: float


def build(vectors: Vectors, out: Path | str, *, kind: str = "auto") -> "Index":
    """Writes an index over the tracks of `vectors` to the directory `out` and opens it.

    `exact` compares with every track; `ivf` (IVF, 8-bit codes, then an exact second look) with those in the nearest
    lists; `auto` is exact up to 50,000 tracks. Tracks whose vector is zero or not finite, such as silence, cannot be
    found and are named in `left_out`.
    """
    if kind not in KINDS:
        raise unknown_name("kind of index", kind, list(KINDS))
    faults = {fault.row: fault for fault in vectors.check() if not _comparable(vectors.pooled[fault.row])}
    kept = np.array([row for row in range(len(vectors)) if row not in faults], np.int64)
    if not len(kept):
        raise UserError(f"{vectors.root}: no track has a vector that can be compared; was the encoder trained?")
    centre, scale = centre_and_scale(vectors.pooled[kept])
    # one track alone agrees with itself in all dimensions
    mean, scale = centre.astype(np.float32), (scale if scale.any() else np.ones_like(scale)).astype(np.float32)
    if kind == "auto":
        kind = "exact" if len(kept) <= EXACT_UP_TO else "ivf"
    units = _unit(vectors.pooled[kept], mean, scale)
    facts: dict[str, Any] = {
        "kind": kind,
        "vectors": os.path.relpath(vectors.root, out),
        "digest": vectors.header["digest"],
        "catalog_fingerprint": vectors.header["catalog_fingerprint"],
        "tracks": len(vectors),
        "left_out": [[fault.id, fault.reason] for fault in faults.values()],
        "mean": mean.tolist(),
        "scale": scale.tolist(),
    }
    with replacing(Path(out) / DATA) as temporary:
        faiss.write_index(_filled(units, kept, kind), str(temporary))
    with replacing(Path(out) / FACTS) as temporary:
        temporary.write_text(json.dumps(facts))
    return Index(out)


class Index:
    """An index that was built, together with the vectors it was built from.

    Raises UserError where `root` holds no index, or where the vectors have changed since.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        if not (self.root / FACTS).is_file() or not (self.root / DATA).is_file():
            raise UserError(f"{root}: no index; build one: ssl-music index --vectors DIR --out {root}")
        self.facts: dict[str, Any] = json.loads((self.root / FACTS).read_text())
        self.vectors = Vectors(self.root / self.facts["vectors"])
        now = {**self.vectors.header, "tracks": len(self.vectors)}
        changed = [key for key in ("digest", "catalog_fingerprint", "tracks") if now[key] != self.facts[key]]
        if changed:
            told = ", ".join(f"{key} {self.facts[key]} then, {now[key]} now" for key in changed)
            raise UserError(f"{root}: its vectors have changed ({told}); run ssl-music index again")
        self.left_out = [tuple(pair) for pair in self.facts["left_out"]]
        self._mean = np.array(self.facts["mean"], np.float32)
        self._scale = np.array(self.facts["scale"], np.float32)
        self._index = faiss.read_index(str(self.root / DATA))

    def search(
        self, query: np.ndarray, k: int, *, digest: str | None = None, excluded: Sequence[int] | np.ndarray = ()
    ) -> list[Hit]:
        """The k tracks nearest to an embedding (D,), nearest first, without the `excluded` row numbers.

        `digest` names the weights that made `query`; those of other weights than the index's are refused.
        """
        if digest is not None and digest != self.facts["digest"]:
            raise UserError(
                f"{self.root}: holds vectors of the weights {self.facts['digest']}; the query was made by {digest}: "
                "embed both with the same checkpoint"
            )
        if k < 1:
            raise UserError(f"k {k}: at least one song must be asked for")
        if query.shape != self._mean.shape or not _comparable(query):
            raise UserError(
                f"a query must be {self._mean.shape}, finite and not zero; came {query.shape}"
                f"{'' if _comparable(query) else ', zero or not finite: silence cannot be compared'}"
            )
        unit = _unit(query[None], self._mean, self._scale)
        rows, similarities = self._nearest(unit, k, np.asarray(excluded, np.int64))
        return [self._hit(row, value, unit[0]) for row, value in zip(rows, similarities, strict=True)]

    def search_track(
        self,
        id: str,
        k: int,
        *,
        start_seconds: float | None = None,
        seconds: float | None = None,
        exclude_artist: bool = False,
        exclude_group: bool = False,
    ) -> list[Hit]:
        """The k tracks nearest to a track of the catalog, or to a passage of it; never the track itself."""
        if id not in self.vectors.row_of:
            raise unknown_name("track id", id, sorted(self.vectors.row_of)[:10])
        row = self.vectors.row_of[id]
        query = self.vectors.pooled[row]
        if start_seconds is not None or seconds is not None:
            query = self._passage(row, start_seconds or 0.0, seconds)
        excluded = self.excluded_with(row, artist=exclude_artist, group=exclude_group)
        return self.search(query, k, excluded=excluded)

    def excluded_with(self, row: int, *, artist: bool, group: bool) -> list[int]:
        """The row itself, and those of its artist and of its group where these are to be left out."""
        own = self.vectors.rows[row]
        return [
            number
            for number, other in enumerate(self.vectors.rows)
            if number == row
            or (artist and own.artist and other.artist == own.artist)
            or (group and own.group and other.group == own.group)
        ]

    def summary(self) -> str:
        """What was indexed and what was left out, for people."""
        lines = [f"{self.root}: {self._index.ntotal} tracks, {self.facts['kind']} search"]
        return "\n".join(lines + [f"left out: {id}: {reason}" for id, reason in self.left_out])

    def _nearest(self, unit: np.ndarray, k: int, excluded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        k = min(k, self._index.ntotal)
        selector = faiss.IDSelectorNot(faiss.IDSelectorBatch(excluded))
        if self.facts["kind"] == "exact":
            found, rows = self._index.search(unit, k, params=faiss.SearchParameters(sel=selector))
            there = rows[0] >= 0
            return rows[0][there], found[0][there]
        lists = self._index.nlist
        asked = faiss.SearchParametersIVF(sel=selector, nprobe=max(8, math.ceil(PROBED_SHARE * lists)))
        rows = self._index.search(unit, min(SECOND_LOOK * k, self._index.ntotal), params=asked)[1][0]
        rows = rows[rows >= 0]
        exact = _unit(self.vectors.pooled[rows], self._mean, self._scale) @ unit[0]
        order = np.argsort(-exact, kind="stable")[:k]
        return rows[order], exact[order]

    def _hit(self, row: int, similarity: float, unit: np.ndarray) -> Hit:
        first, behind = self.vectors.chunk_range(row)
        best = int(np.argmax(_unit(self.vectors.chunks[first:behind], self._mean, self._scale) @ unit))
        facts = self.vectors.rows[row]
        at_seconds = float(self.vectors.chunk_seconds(row)[best])
        return Hit(int(row), facts.id, facts.title, facts.artist, float(similarity), at_seconds)

    def _passage(self, row: int, start_seconds: float, seconds: float | None) -> np.ndarray:
        """Mean of the chunks of a track that lie in the passage at least by half."""
        facts, header = self.vectors.rows[row], self.vectors.header
        length = header["input_samples"] / header["sample_rate"]
        end_seconds = math.inf if seconds is None else start_seconds + seconds
        middles = self.vectors.chunk_seconds(row) + length / 2
        inside = (middles >= start_seconds) & (middles <= end_seconds)
        if not inside.any():
            raise UserError(
                f"{facts.id}: no chunk lies in {start_seconds:g}–{end_seconds:g} s; it is {facts.seconds:.1f} s "
                f"long, in chunks of {length:.2f} s"
            )
        first, behind = self.vectors.chunk_range(row)
        return self.vectors.chunks[first:behind][inside].mean(axis=0)


def _filled(units: np.ndarray, rows: np.ndarray, kind: str) -> Any:
    """A FAISS index of unit vectors under their row numbers."""
    dimension = units.shape[1]
    if kind == "exact":
        index: Any = faiss.IndexIDMap(faiss.IndexFlatIP(dimension))
    else:
        lists = max(1, min(round(4 * math.sqrt(len(units))), len(units) // 39))  # FAISS wants 39 a list to learn from
        index = faiss.index_factory(dimension, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
        picked = np.random.default_rng(0).permutation(len(units))[: 256 * lists]
        index.train(units[np.sort(picked)])
    index.add_with_ids(units, rows)
    return index


def _unit(values: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    moved = (np.asarray(values, np.float32) - mean) * scale
    length = np.linalg.norm(moved, axis=1, keepdims=True)
    return np.ascontiguousarray(moved / np.maximum(length, 1e-12))


def _comparable(vector: np.ndarray) -> bool:
    return bool(np.isfinite(vector).all() and vector.any())
