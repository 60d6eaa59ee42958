"""A packed directory read back: what music there is, and its samples by memory map."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from ssl_music._ledger import Ledger, Row
from ssl_music.catalogs.base import Catalog, Track
from ssl_music.errors import UserError

#: how many names `summary` shows of each kind of trouble
SHOWN = 5


class Pack(Catalog):
    """What `pack` wrote: the catalog of the tracks that could be decoded, and their samples.

    Args:
        root: the packed directory.

    >>> import tempfile
    >>> from ssl_music import audio, pack
    >>> from ssl_music.catalogs import Folder
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("a", "b"):
    ...     audio.write(folder / f"{name}.wav", np.arange(-0.5, 0.5, 2**-14), 8000)
    >>> packed = pack.pack(Folder(folder), folder / "packed", sample_rate=8000, progress=False)
    >>> [track.id for track in packed.tracks], packed.samples
    (['a.wav', 'b.wav'], array([16384, 16384]))
    >>> packed.gather(np.array([1, 0]), np.array([0, 16382]), 2)
    array([[-16384, -16382],
           [ 16380,  16382]], dtype=int16)
    >>> packed.duplicates
    [['a.wav', 'b.wav']]
    """

    def __init__(self, root: Path | str):
        self.root = Path(root)

    @cached_property
    def ledger(self) -> Ledger:
        ledger = Ledger(self.root)
        if ledger.header.get("kind") != "pack":
            raise UserError(f"{self.root}: holds something else than packed music; give what `ssl-music pack` wrote")
        return ledger

    @property
    def tracks(self) -> list[Track]:
        return self._tracks

    @cached_property
    def columns(self) -> Mapping[str, bool]:  # type: ignore[override]  # read late
        return dict(self.ledger.header["columns"])

    @cached_property
    def split_name(self) -> str:  # type: ignore[override]
        return self.ledger.header["split_name"]

    @cached_property
    def sample_rate(self) -> int:
        return self.ledger.header["sample_rate"]

    @cached_property
    def samples(self) -> np.ndarray:
        """How many samples each track has. Shape: (N,)."""
        return np.array([row.count for row in self._rows], np.int64)

    def gather(self, rows: np.ndarray, starts: np.ndarray, count: int) -> np.ndarray:
        """`count` samples of each row from its start on. Shape: (B,), (B,) -> (B, count) int16."""
        starts = np.asarray(starts, np.int64)
        if (starts < 0).any() or (starts + count > self.samples[rows]).any():
            raise IndexError(f"{self.root}: a slice of {count} samples reaches beyond its track")
        return self.ledger.gather(self._offsets[rows] + starts, count)

    def blocks(self, row: int, block: int) -> Iterator[np.ndarray]:
        """The track in pieces of `block` samples, views of the memory map; the last may be shorter."""
        offset, count = int(self._offsets[row]), int(self.samples[row])
        for start in range(0, count, block):
            yield self.ledger.span(offset + start, min(block, count - start))

    @cached_property
    def broken(self) -> list[tuple[str, str]]:
        """(id, reason) of files that could not be decoded."""
        return [(row.id, row.reason) for row in self.ledger.rows if row.status != "ok"]

    @cached_property
    def truncated(self) -> list[tuple[str, str]]:
        """(id, reason) of tracks that hold less than their header claims; what is there was packed."""
        return [(row.id, row.reason) for row in self._rows if row.reason]

    @cached_property
    def duplicates(self) -> list[list[str]]:
        """Ids of tracks with the very same samples, as groups of two or more."""
        return [[self._rows[row].id for row in same] for same in self._same]

    @cached_property
    def straddling(self) -> list[list[str]]:
        """Those of `duplicates` that stand in more than one split: what is tested was trained on."""
        return [
            group
            for group, same in zip(self.duplicates, self._same, strict=True)
            if len({self._rows[row].split for row in same}) > 1
        ]

    def summary(self) -> str:
        """What is there and what is wrong with it, for people."""
        hours = self.samples.sum() / self.sample_rate / 3600
        size = self.samples.sum() * 2 / 1e9
        lines = [f"{self.root}: {len(self.tracks):,} tracks, {hours:.2f} h at {self.sample_rate} Hz, {size:.2f} GB"]
        lines += _listed("files are broken and left out", [f"{name!r}: {reason}" for name, reason in self.broken])
        lines += _listed("tracks hold less than claimed", [f"{name!r}: {reason}" for name, reason in self.truncated])
        lines += _listed("groups hold the same audio", [", ".join(map(repr, group)) for group in self.duplicates])
        lines += _listed(
            "of these groups LEAK from one split into another",
            [", ".join(map(repr, group)) for group in self.straddling],
        )
        return "\n".join(lines)

    @cached_property
    def _rows(self) -> list[Row]:
        return [row for row in self.ledger.rows if row.status == "ok"]

    @cached_property
    def _offsets(self) -> np.ndarray:
        return np.array([row.offset for row in self._rows], np.int64)

    @cached_property
    def _tracks(self) -> list[Track]:
        known = ("id", "artist", "album", "title", "group", "labels", "split")
        return [Track(path=Path(row.path), **{name: getattr(row, name) for name in known}) for row in self._rows]

    @cached_property
    def _same(self) -> list[list[int]]:
        by_content: dict[str, list[int]] = {}
        for number, row in enumerate(self._rows):
            by_content.setdefault(row.checksum, []).append(number)
        return [same for same in by_content.values() if len(same) > 1]


def _listed(what: str, entries: list[str]) -> list[str]:
    if not entries:
        return []
    more = [f"  … and {len(entries) - SHOWN:,} more; export the table to see all"] if len(entries) > SHOWN else []
    return [f"{len(entries):,} {what}:", *(f"  {entry}" for entry in entries[:SHOWN]), *more]
