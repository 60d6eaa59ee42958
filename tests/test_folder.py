"""Folder: which files are tracks, what their tags say, how a table of labels finds them."""

import csv
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from unicodedata import normalize

import mutagen
import numpy as np
import pytest
import soundfile

from ssl_music.catalogs import Catalog, Folder
from ssl_music.errors import UserError

REAL_MUSIC = Path(__file__).parents[2] / "shared" / "data" / "music"


@pytest.fixture(autouse=True)
def no_unexpected_warnings() -> None:
    warnings.simplefilter("error")


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"never decoded")
    return root


def table(path: Path, *rows: tuple[str, ...]) -> Path:
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as handle:
        csv.writer(handle).writerows(rows)
    return path


def ids(catalog: Catalog) -> list[str]:
    return [track.id for track in catalog.tracks]


def test_audio_at_any_depth_whatever_the_case(tmp_path: Path) -> None:
    touch(tmp_path, "b.mp3", "x/y/z/A.FLAC", "x/Ä.Ogg", "x/cover.jpg", "notes", "film.mp4", "x/.hidden.wav")
    touch(tmp_path, "._b.mp3", ".trash/c.wav", "__MACOSX/x/d.wav", "x/__MACOSX/e.wav", "dir.wav/f.aiff")
    assert ids(Folder(tmp_path)) == ["b.mp3", "dir.wav/f.aiff", "x/y/z/A.FLAC", "x/Ä.Ogg"]
    assert ids(Folder(tmp_path / ".trash")) == ["c.wav"]  # a hidden folder that is asked for by name


def test_a_constructor_only_stores(tmp_path: Path) -> None:
    assert Folder(tmp_path / "later").root == tmp_path / "later"


def test_names_with_newlines_and_of_any_bytes(tmp_path: Path) -> None:
    raw = b"caf\xe9.wav".decode(errors="surrogateescape")
    try:
        touch(tmp_path, "two\nlines.wav", " blank .wav", raw)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such names")
    labels = table(
        tmp_path / "labels.csv", ("path", "genre"), ("two\nlines.wav", "folk"), (raw, "jazz"), (" blank .wav", "")
    )
    catalog = Folder(tmp_path, labels=labels, columns=["genre"])
    assert ids(catalog) == sorted([" blank .wav", raw, "two\nlines.wav"])
    assert {track.id: track.labels for track in catalog.tracks} == {
        "two\nlines.wav": {"genre": ("folk",)},
        raw: {"genre": ("jazz",)},
        " blank .wav": {},
    }
    assert [track.title for track in catalog.tracks][1] == "caf\N{REPLACEMENT CHARACTER}"
    assert len(catalog.fingerprint()) == 16


def test_links_are_followed_but_never_in_circles(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "z/1.wav", "z/deep/2.wav")
    touch(tmp_path / "elsewhere", "3.wav")
    (root / "a").symlink_to(root / "z")  # the real place gives the name
    (root / "z" / "deep" / "up").symlink_to(root)
    (root / "m").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(root)
    (root / "n.wav").symlink_to(tmp_path / "elsewhere" / "3.wav")
    assert ids(Folder(root)) == ["m/3.wav", "n.wav", "z/1.wav", "z/deep/2.wav"]
    assert ids(Folder(root / "a")) == ["1.wav", "deep/2.wav", "deep/up/m/3.wav", "deep/up/n.wav"]


def test_links_that_lead_nowhere_are_told(tmp_path: Path) -> None:
    touch(tmp_path, "1.wav")
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nothing")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    with pytest.warns(UserWarning, match="2 folders or links cannot be followed: 'gone.wav', 'self'"):
        assert ids(Folder(tmp_path)) == ["1.wav"]


def test_no_such_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^songs: no such folder \(.*[/\\]songs\); give a folder"):
        Folder("songs").tracks  # noqa: B018
    touch(tmp_path, "1.wav")
    with pytest.raises(UserError, match=r"1\.wav: is a file, not a folder"):
        Folder("1.wav").tracks  # noqa: B018


def test_no_audio(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b/c.JPG", "notes")
    with pytest.raises(UserError, match=r"among the 3 files of .*\.jpg \(2\), no ending \(1\); .*\.flac .*\.wav"):
        Folder(tmp_path).tracks  # noqa: B018
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"among the 0 files .* endings seen: none"):
        Folder(tmp_path / "empty").tracks  # noqa: B018


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3", "aiff", "m4a"])
def test_tags_of_files(tmp_path: Path, ending: str) -> None:
    path, wave = tmp_path / f"song.{ending}", np.zeros((22050, 1), np.float32)
    if ending == "m4a":
        av = pytest.importorskip("av", reason="m4a needs the extra codecs")
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=22050, layout="mono")
            frame = av.AudioFrame.from_ndarray(wave.T, format="fltp", layout="mono")
            frame.sample_rate = 22050
            container.mux([*stream.encode(frame), *stream.encode(None)])
    else:
        soundfile.write(path, wave, 22050)
    assert Folder(tmp_path).tracks[0].title == "song"
    file = mutagen.File(path, easy=True)
    if file.tags is None:
        file.add_tags()
    if ending in ("wav", "aiff"):
        from mutagen.id3 import TALB, TIT2, TPE1

        for frame, value in ((TPE1, "Ann"), (TALB, "Blue"), (TIT2, "Café")):
            file.tags.add(frame(encoding=3, text=[value]))
    else:
        file.tags.update({"artist": ["Ann"], "album": ["Blue"], "title": ["Café"]})
    file.save()
    track = Folder(tmp_path).tracks[0]
    assert (track.artist, track.album, track.title, track.group) == ("Ann", "Blue", "Café", "")


def test_damaged_files_have_no_tags_and_stay(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    heads = [
        b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f",
        b"OggS",
        b"fLaC",
        b"RIFF\xff\xff\xff\xffWAVE",
        b"FORM",
        b"\0\0\0\x20ftyp",
    ]
    for number, head in enumerate(heads):
        for ending in ("mp3", "ogg", "flac", "wav", "m4a", "wma"):
            (tmp_path / f"{number}.{ending}").write_bytes(head + rng.bytes(3000))
    (tmp_path / "empty.mp3").touch()
    tracks = Folder(tmp_path).tracks
    assert len(tracks) == 37
    assert {track.artist for track in tracks} == {""}
    assert all(track.title == track.path.stem for track in tracks)


def test_splits_by_artist_else_by_file(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{number}.wav" for number in range(40)))
    alone = Folder(tmp_path)
    assert alone.split_name == "group-disjoint 80/10/10 seed 0"
    assert [len(alone.split(name)) for name in ("train", "valid", "test")] == [32, 4, 4]
    assert Folder(tmp_path, split_seed=1).split("test") != alone.split("test")
    rows = [(f"{number}.wav", f"artist {number // 4}") for number in range(40)]
    grouped = Folder(tmp_path, labels=table(tmp_path / "who.csv", ("path", "artist"), *rows), columns=[])
    assert [len({t.artist for t in grouped.split(name)}) for name in ("train", "valid", "test")] == [8, 1, 1]


def test_labels_files_without_a_row_stay(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.wav", "a/2.wav", "b/3.wav")
    rows = [
        ("path", "mood", "split", "title"),
        ("a/1.wav", "calm; dark", "train", "One"),
        ("./b//3.wav", "", "dev", ""),
    ]
    catalog = Folder(tmp_path, labels=table(tmp_path / "l.csv", *rows), multi=["mood"], separator=";")
    assert [dict(track.labels) for track in catalog.tracks] == [{"mood": ("calm", "dark")}, {}, {}]
    assert [track.split for track in catalog.tracks] == ["train", "", "valid"]
    assert [track.title for track in catalog.tracks] == ["One", "2", "3"]
    assert catalog.columns == {"mood": True}
    assert catalog.split_name == "l.csv: split"


@pytest.mark.parametrize("place", ["absolute", "through a link", "from the root", "from the table", "decomposed"])
def test_labels_find_files(tmp_path: Path, place: str) -> None:
    root = touch(tmp_path / "music", "x/é.wav")
    (tmp_path / "link").symlink_to(root)
    paths = {
        "absolute": str(root / "x" / "é.wav"),
        "through a link": str(root / "x" / "é.wav"),
        "from the root": "x/é.wav",
        "from the table": "../music/x/é.wav",
        "decomposed": normalize("NFD", "x/é.wav"),
    }
    (tmp_path / "tables").mkdir()
    labels = table(tmp_path / "tables" / "l.csv", ("path", "genre"), (paths[place], "folk"))
    catalog = Folder(tmp_path / "link" if place == "through a link" else root, labels=labels, columns=["genre"])
    assert [dict(track.labels) for track in catalog.tracks] == [{"genre": ("folk",)}]


def test_the_root_goes_before_the_folder_of_the_table(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.wav", "1.wav")
    labels = table(tmp_path / "a" / "l.csv", ("path", "genre"), ("1.wav", "folk"))
    catalog = Folder(tmp_path, labels=labels, columns=["genre"])
    assert [t.id for t in catalog.labelled(catalog.tracks)] == ["1.wav"]


def test_labels_that_match_no_file(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{number}.wav" for number in range(9)))
    labels = table(tmp_path / "l.csv", ("path", "genre"), *((f"x/{number}.wav", "folk") for number in range(5)))
    sides = r"none of its 5 .*'x/0.wav', 'x/1.wav', 'x/2.wav', …; .*'0.wav', '1.wav', '2.wav', …\. .*path_column"
    with pytest.raises(UserError, match=sides):
        Folder(tmp_path, labels=labels).tracks  # noqa: B018


def test_some_rows_that_match_no_file(tmp_path: Path) -> None:
    touch(tmp_path, "1.wav")
    rows = [(f"{number}.wav", "folk") for number in range(1, 6)]
    labels = table(tmp_path / "l.csv", ("path", "genre"), *rows)
    with pytest.warns(UserWarning, match="4 of 5 rows match no audio file .*: '2.wav', '3.wav', '4.wav', …"):
        assert len(Folder(tmp_path, labels=labels, columns=["genre"]).tracks) == 1


def test_more_than_one_row_a_file(tmp_path: Path) -> None:
    touch(tmp_path, "1.wav")
    labels = table(tmp_path / "l.csv", ("path", "genre"), ("1.wav", "folk"), ("./1.wav", "jazz"))
    with pytest.raises(UserError, match=r"1 files have more than one row: '1.wav'; .*see multi"):
        Folder(tmp_path, labels=labels).tracks  # noqa: B018


def test_label_columns_that_are_not_there(tmp_path: Path) -> None:
    touch(tmp_path, "1.wav")
    labels = table(tmp_path / "l.csv", ("path", "genre"), ("1.wav", "folk"))
    with pytest.raises(UserError, match=r"l.csv: unknown column 'gnre'; did you mean 'genre'\?"):
        Folder(tmp_path, labels=labels, columns=["gnre"]).tracks  # noqa: B018
    with pytest.raises(UserError, match=r"no column 'file' with paths; .* Known: path, genre"):
        Folder(tmp_path, labels=labels, path_column="file").tracks  # noqa: B018
    with pytest.raises(UserError, match="give labels too"):
        Folder(tmp_path, columns=["genre"]).tracks  # noqa: B018
    with pytest.warns(UserWarning, match=r"no column looks like labels .* Known: path, genre"):
        assert Folder(tmp_path, labels=labels).columns == {}


def test_a_folder_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "1.wav", "locked/2.wav")
    look = os.scandir

    def scandir(path: Path) -> Iterator[os.DirEntry]:
        if path.name == "locked":  # by hand, since root may read every folder
            raise PermissionError(13, "Permission denied")
        return look(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.warns(UserWarning, match="1 folders or links cannot be followed: 'locked'"):
        assert ids(Folder(tmp_path)) == ["1.wav"]


@pytest.mark.skipif(not REAL_MUSIC.is_dir(), reason="the shared music is not here")
def test_real_music() -> None:
    began = time.perf_counter()
    catalog = Folder(REAL_MUSIC, labels=REAL_MUSIC / "tracks.csv", columns=["task_genre"])
    assert len(catalog.tracks) == 1232
    # measured: 0.25 s with warm files, 0.9 s with cold ones
    assert time.perf_counter() - began < 20
    assert len(catalog.labelled(catalog.tracks)) == 307
    assert catalog.split_name == "tracks.csv: split"
    track = next(t for t in catalog.tracks if t.id == "audio/incompetech/8bit-dungeon-boss_0.ogg")
    assert (track.artist, track.title, track.split) == ("Kevin MacLeod", "8bit Dungeon Boss", "test")
    unlabelled = Folder(REAL_MUSIC / "audio")
    artists = [{t.artist for t in unlabelled.split(name)} for name in ("train", "valid", "test")]
    assert not artists[0] & artists[1] and not artists[0] & artists[2] and not artists[1] & artists[2]
