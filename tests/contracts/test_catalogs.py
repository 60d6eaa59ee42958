"""The contract of every catalog: tracks in order, tags, targets, splits, a fingerprint; nothing is decoded."""

import importlib
import inspect
import pickle
import pkgutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import ssl_music.catalogs
from ssl_music.catalogs import Catalog, Track, missing_positives
from ssl_music.errors import UserError


def members() -> dict[str, type[Catalog]]:
    """Every concrete catalog that a module of the family defines, imported by its __init__ or not."""
    for module in pkgutil.walk_packages(ssl_music.catalogs.__path__, "ssl_music.catalogs."):
        importlib.import_module(module.name)
    found, left = {}, [Catalog]
    while left:
        left += (kind := left.pop()).__subclasses__()
        if kind.__module__.startswith("ssl_music.catalogs.") and not inspect.isabstract(kind):
            found[kind.__name__] = kind
    return found


MEMBERS = members()
SONGS = """\
path,artist,genre,mood,group
a/1.ogg,Ann,folk,"calm, dark",x
a/2.ogg,Ann,folk,calm,x
b/1.OGG,Ben,jazz,dark,
b/2.ogg,Ben,jazz,,
b/3.ogg,Cy,jazz,"calm, calm",
"""


def songs(folder: Path) -> Path:
    """Five files that are no audio, and their table."""
    for line in SONGS.splitlines()[1:]:
        file = folder / line.split(",")[0]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"no audio")
    table = folder / "songs.csv"
    table.write_text(SONGS)
    return table


#: a small catalog of each class, its files in a folder of its own
FACTORIES: dict[str, Callable[[type[Catalog], Path], Catalog]] = {
    "Folder": lambda kind, folder: kind(folder, labels=songs(folder), multi=["mood"]),
    "Table": lambda kind, folder: kind(songs(folder), multi=["mood"]),
    "Synthetic": lambda kind, folder: kind(folder / "pieces", pieces=12, seconds=1.0, seed=3),
}


def test_every_member_is_registered_and_has_a_factory() -> None:
    assert MEMBERS, "no catalogs found"
    assert set(MEMBERS) <= set(FACTORIES), "give the new catalog a factory in this file"
    assert set(MEMBERS) <= set(ssl_music.catalogs.__all__), "import the new catalog in catalogs/__init__.py"


@pytest.fixture(scope="module", params=sorted(MEMBERS))
def make(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Catalog]:
    folder = tmp_path_factory.mktemp(request.param)
    return lambda: FACTORIES[request.param](MEMBERS[request.param], folder)


@pytest.fixture(scope="module")
def catalog(make: Callable[[], Catalog]) -> Catalog:
    return make()


def test_tracks(catalog: Catalog) -> None:
    ids = [track.id for track in catalog.tracks]
    assert ids
    assert ids == sorted(set(ids))
    for track in catalog.tracks:
        assert isinstance(track, Track)
        assert track.path.is_absolute()
        assert track.path.is_file()
        assert track.title
    assert catalog.tracks == catalog.tracks


def test_same_arguments_give_the_same_catalog(make: Callable[[], Catalog], catalog: Catalog) -> None:
    again = make()
    assert again.tracks == catalog.tracks
    assert again.columns == catalog.columns
    assert again.split_name == catalog.split_name
    assert again.fingerprint() == catalog.fingerprint()
    assert len(catalog.fingerprint()) == 16


def test_labels(catalog: Catalog) -> None:
    assert catalog.columns
    for column, several in catalog.columns.items():
        tags = catalog.tags(column)
        assert tags and tags == sorted(set(tags))
        for track in catalog.tracks:
            held = track.labels.get(column, ())
            assert isinstance(held, tuple)
            assert len(set(held)) == len(held)
            assert several or len(held) <= 1
            assert all(tag.strip() == tag != "" for tag in held)
    assert all(set(track.labels) <= set(catalog.columns) for track in catalog.tracks)


def test_targets(catalog: Catalog) -> None:
    for column in catalog.columns:
        tags, targets = catalog.tags(column), catalog.targets(catalog.tracks, column)
        assert targets.dtype == np.float32
        naive = [[float(tag in track.labels.get(column, ())) for tag in tags] for track in catalog.tracks]
        np.testing.assert_array_equal(targets, np.array(naive))
        assert (targets.sum(0) > 0).all()
        labelled = catalog.labelled(catalog.tracks, column)
        assert (catalog.targets(labelled, column).sum(1) > 0).all()
        assert len(labelled) == (targets.sum(1) > 0).sum()
        for name, missing in missing_positives(catalog, column).items():
            held = catalog.targets(catalog.split(name), column).sum(0)
            assert missing == [tag for tag, count in zip(tags, held, strict=True) if count == 0]


def test_splits(catalog: Catalog) -> None:
    assert catalog.split_name
    assert catalog.split("all") == catalog.tracks
    names = {track.split for track in catalog.tracks}
    parts = [catalog.split(name) for name in names]
    assert sorted(track.id for part in parts for track in part) == [track.id for track in catalog.tracks]
    groups: dict[str, set[str]] = {}
    for track in catalog.tracks:
        groups.setdefault(track.group or track.artist or track.id, set()).add(track.split)
    assert all(len(held) == 1 for held in groups.values())


def test_unknown_names_name_the_known(catalog: Catalog) -> None:
    with pytest.raises(UserError, match=r"Known: .*train"):
        catalog.split("no such split")
    with pytest.raises(UserError, match=rf"Known: .*{next(iter(catalog.columns))}"):
        catalog.tags("no such column")


def test_catalogs_can_be_sent_to_another_process(catalog: Catalog) -> None:
    assert pickle.loads(pickle.dumps(catalog)).tracks == catalog.tracks
