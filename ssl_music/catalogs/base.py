"""What music exists: tracks in a fixed order, label columns with their tags, named splits. Never decodes audio."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from ssl_music.errors import UserError, unknown_name

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, slots=True)
class Track:
    """One piece of music and what is known of it.

    `group` names tracks that must stay in one split (takes of one composition, clips of one recording).
    `labels` maps a label column to the values the track has there; a column that is absent or empty means
    that the track is no part of that task.

    >>> Track("a/1.ogg", Path("/music/a/1.ogg"), labels={"genre": ("folk",)}).labels["genre"]
    ('folk',)
    """

    id: str
    path: Path
    artist: str = ""
    album: str = ""
    title: str = ""
    group: str = ""
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    split: str = ""


class Catalog(ABC):
    """Tracks, tag names in column order, named splits.

    A subclass gives `tracks` (sorted by id), `columns` and `split_name`; the rest follows from these.
    """

    #: label column → whether one track may have several of its tags
    columns: Mapping[str, bool]
    #: which split this is, printed with every result
    split_name: str
    #: told where a label column is asked for that there is not
    on_columns: str = ""

    @property
    @abstractmethod
    def tracks(self) -> list[Track]:
        """Every track, sorted by id."""

    def split(self, name: str) -> list[Track]:
        """The tracks of the split `name`, in the order of `tracks`; `"all"` is every track."""
        if name == "all":
            return list(self.tracks)
        known = sorted({track.split for track in self.tracks} - {""})
        if name not in known:
            raise unknown_name("split", name, [*known, "all"])
        return [track for track in self.tracks if track.split == name]

    def column(self, name: str | None) -> str:
        """`name` itself if it is a label column; for None the only column there is."""
        if name is None:
            if len(self.columns) == 1:
                return next(iter(self.columns))
            has = ", ".join(self.columns) or "none; give the catalog a table of labels"
            raise UserError(f"which label column? This catalog has: {has}")
        if name not in self.columns:
            raise UserError(f"{unknown_name('label column', name, list(self.columns))}{self.on_columns}")
        return name

    def tags(self, column: str | None = None) -> list[str]:
        """Every tag of a label column, sorted: the column order of `targets`."""
        return self._tags[self.column(column)]

    @cached_property
    def _tags(self) -> dict[str, list[str]]:
        found: dict[str, set[str]] = {column: set() for column in self.columns}
        for track in self.tracks:
            for column in found:
                found[column].update(track.labels.get(column, ()))
        return {column: sorted(tags) for column, tags in found.items()}

    def labelled(self, tracks: Sequence[Track], column: str | None = None) -> list[Track]:
        """Those of `tracks` that have at least one tag in the column."""
        column = self.column(column)
        return [track for track in tracks if track.labels.get(column)]

    def targets(self, tracks: Sequence[Track], column: str | None = None) -> np.ndarray:
        """One row a track, one column a tag, 1 where the track has the tag. Shape: (N, K) float32."""
        column = self.column(column)
        position = {tag: index for index, tag in enumerate(self.tags(column))}
        targets = np.zeros((len(tracks), len(position)), np.float32)
        for row, track in enumerate(tracks):
            for tag in track.labels.get(column, ()):
                targets[row, position[tag]] = 1.0
        return targets

    def fingerprint(self) -> str:
        """16 hex digits that change with any id, label, group or split: printed with every result."""
        digest = hashlib.sha256()
        for track in self.tracks:
            labels = {column: list(track.labels[column]) for column in sorted(track.labels)}
            digest.update(json.dumps([track.id, track.group, track.split, labels]).encode())
        return digest.hexdigest()[:16]


def group_splits(
    groups: Sequence[str], *, seed: int = 0, fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
) -> list[str]:
    """A split name for each entry such that equal groups share one split.

    Groups are dealt largest first, ties in an order drawn from `seed`, each to the split that is furthest below
    its share, so that the splits come near their fractions of tracks even where one group is large. Where groups are
    so few that a split stays empty, it gets one of train, as long as train keeps one.

    >>> group_splits(["a", "a", "b", "c"], seed=1, fractions=(0.5, 0.25, 0.25)).count("train")
    2
    """
    sizes: dict[str, int] = {}
    for group in groups:
        sizes[group] = sizes.get(group, 0) + 1

    def deal(group: str) -> tuple[int, str]:
        return -sizes[group], hashlib.sha256(f"{seed}\0{group}".encode(errors="surrogatepass")).hexdigest()

    held = dict.fromkeys(SPLITS, 0)
    share = dict(zip(SPLITS, fractions, strict=True))
    chosen: dict[str, str] = {}
    order = sorted(sizes, key=deal)
    for group in order:
        split = max(SPLITS, key=lambda name: share[name] * len(groups) - held[name])
        chosen[group] = split
        held[split] += sizes[group]
    for name in ("test", "valid"):
        spare = [group for group in order if chosen[group] == "train"]
        if share[name] and name not in chosen.values() and len(spare) > 1:
            chosen[spare[-1]] = name
    return [chosen[group] for group in groups]


def missing_positives(catalog: Catalog, column: str | None = None) -> dict[str, list[str]]:
    """Split → the tags of a column that no track of this split has; splits that hold every tag are left out.

    Such a tag cannot be scored where it is missing in test, nor learned where it is missing in train.

    >>> import tempfile
    >>> from ssl_music.catalogs.table import Table
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("1.ogg", "2.ogg"):
    ...     (folder / name).touch()
    >>> _ = (folder / "songs.csv").write_text("path,genre,split\\n1.ogg,folk,train\\n2.ogg,jazz,test\\n")
    >>> missing_positives(Table(folder / "songs.csv", columns=["genre"]))
    {'test': ['folk'], 'train': ['jazz']}
    """
    column = catalog.column(column)
    missing = {}
    for name in sorted({track.split for track in catalog.tracks} - {""}):
        held = {tag for track in catalog.split(name) for tag in track.labels.get(column, ())}
        missing[name] = [tag for tag in catalog.tags(column) if tag not in held]
    return {name: tags for name, tags in missing.items() if tags}


def file_duplicates(tracks: Sequence[Track]) -> list[list[Track]]:
    """Tracks whose files hold the same bytes, as groups of two or more; only files of equal size are read.

    >>> file_duplicates([])
    []
    """
    by_size: dict[int, list[Track]] = {}
    for track in tracks:
        by_size.setdefault(track.path.stat().st_size, []).append(track)
    by_content: dict[str, list[Track]] = {}
    for alike in by_size.values():
        if len(alike) > 1:
            for track in alike:
                by_content.setdefault(content_digest(track.path), []).append(track)
    return [same for same in by_content.values() if len(same) > 1]


def content_digest(path: Path) -> str:
    """SHA-256 of the file's bytes, in hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
