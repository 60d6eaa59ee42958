"""What every catalog inherits: splits, targets, fingerprint; and group-disjoint splits, duplicates, missing tags."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ssl_music.catalogs import SPLITS, Catalog, Track, file_duplicates, group_splits, missing_positives
from ssl_music.errors import UserError

NOT_UTF8 = b"caf\xe9.ogg".decode(errors="surrogateescape")


class Fixed(Catalog):
    """A catalog of given tracks."""

    split_name = "by hand"

    def __init__(self, tracks: list[Track], columns: dict[str, bool]) -> None:
        self._tracks = tracks
        self.columns = columns

    @property
    def tracks(self) -> list[Track]:
        return self._tracks


def track(name: str, split: str = "train", **labels: tuple[str, ...]) -> Track:
    return Track(name, Path(name), labels=labels, split=split)


@pytest.fixture
def catalog() -> Fixed:
    tracks = [
        track("1", genre=("folk",), mood=("calm", "dark")),
        track("2", "test", genre=("jazz",), mood=("dark",)),
        track("3", "valid", genre=("jazz",)),
        track("4", ""),
    ]
    return Fixed(tracks, {"genre": False, "mood": True})


def test_targets(catalog: Fixed) -> None:
    assert catalog.tags("genre") == ["folk", "jazz"]
    expected = np.array([[1, 0], [0, 1], [0, 1], [0, 0]], np.float32)
    targets = catalog.targets(catalog.tracks, "genre")
    assert targets.dtype == np.float32
    np.testing.assert_array_equal(targets, expected)
    np.testing.assert_array_equal(catalog.targets(catalog.tracks[::-1], "genre"), expected[::-1])
    np.testing.assert_array_equal(catalog.targets(catalog.tracks[:1], "mood"), [[1, 1]])
    assert catalog.targets([], "mood").shape == (0, 2)


def test_splits_and_labelled(catalog: Fixed) -> None:
    assert [t.id for t in catalog.split("test")] == ["2"]
    assert catalog.split("all") == catalog.tracks
    assert [t.id for t in catalog.labelled(catalog.tracks, "mood")] == ["1", "2"]


def test_errors_name_what_there_is(catalog: Fixed) -> None:
    with pytest.raises(UserError, match=r"'tset'; did you mean 'test'\? Known: .*train, valid, all"):
        catalog.split("tset")
    with pytest.raises(UserError, match=r"label column 'gnre'; did you mean 'genre'\?"):
        catalog.tags("gnre")
    with pytest.raises(UserError, match=r"which label column.*genre, mood"):
        catalog.tags()
    assert Fixed(catalog.tracks, {"mood": True}).tags() == ["calm", "dark"]


@pytest.mark.parametrize(
    "change",
    [
        {"id": "9"},
        {"group": "g"},
        {"split": "train"},
        {"labels": {"genre": ("folk",)}},
        {"labels": {"mood": ("jazz",)}},
    ],
)
def test_fingerprint_changes_with(catalog: Fixed, change: dict) -> None:
    assert catalog.fingerprint() == Fixed(list(catalog.tracks), catalog.columns).fingerprint()
    changed = [*catalog.tracks[:2], replace(catalog.tracks[2], **change), catalog.tracks[3]]
    assert Fixed(changed, catalog.columns).fingerprint() != catalog.fingerprint()


def test_fingerprint_is_of_music_not_of_places(catalog: Fixed) -> None:
    moved = [replace(t, path=Path("elsewhere") / t.path) for t in catalog.tracks]
    assert Fixed(moved, catalog.columns).fingerprint() == catalog.fingerprint()


def test_names_that_are_not_utf8() -> None:
    odd = Fixed([track(NOT_UTF8, genre=("folk",))], {"genre": False})
    assert len(odd.fingerprint()) == 16
    assert group_splits([NOT_UTF8, "\ud800"], fractions=(1.0, 0.0, 0.0)) == ["train", "train"]


def test_group_splits_keep_groups_and_fractions() -> None:
    rng = np.random.default_rng(0)
    groups = [f"g{number}" for number in rng.zipf(1.5, 2000) % 300]
    splits = group_splits(groups, seed=3)
    held = {group: {split for g, split in zip(groups, splits, strict=True) if g == group} for group in set(groups)}
    assert all(len(names) == 1 for names in held.values())
    # the largest group alone is 39 % of the tracks, and fits into train
    share = Counter(splits)
    np.testing.assert_allclose([share[name] / 2000 for name in SPLITS], [0.8, 0.1, 0.1], atol=0.01)


def test_few_groups_leave_no_split_empty_while_train_keeps_one() -> None:
    def parts(count: int) -> list[int]:
        held = Counter(group_splits([f"g{number // 2}" for number in range(2 * count)]))
        return [held[name] // 2 for name in SPLITS]

    assert [parts(count) for count in (1, 2, 3, 5, 10)] == [[1, 0, 0], [1, 0, 1], [1, 1, 1], [3, 1, 1], [8, 1, 1]]


def test_group_splits_are_a_function_of_seed_and_groups() -> None:
    groups = [f"g{number}" for number in range(100)]
    splits = group_splits(groups, seed=1)
    assert splits == group_splits(groups, seed=1) != group_splits(groups, seed=2)
    order = np.random.default_rng(0).permutation(100)
    assert [splits[i] for i in order] == group_splits([groups[i] for i in order], seed=1)
    assert group_splits([]) == []


def test_file_duplicates(tmp_path: Path) -> None:
    contents = {"a": b"xx", "b": b"yy", "c": b"xx", "d": b"xxx", "e": b"yy", "f": b"xx"}
    tracks = []
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        tracks.append(Track(name, tmp_path / name))
    assert [[t.id for t in same] for same in file_duplicates(tracks)] == [["a", "c", "f"], ["b", "e"]]


def test_missing_positives(catalog: Fixed) -> None:
    assert missing_positives(catalog, "genre") == {"train": ["jazz"], "test": ["folk"], "valid": ["folk"]}
    assert missing_positives(catalog, "mood") == {"test": ["calm"], "valid": ["calm", "dark"]}
    full = Fixed([track("1", genre=("folk",)), track("2", "test", genre=("folk",))], {"genre": False})
    assert missing_positives(full) == {}
