"""Table: reading CSV and Parquet, choosing label columns, splits given and made, every wrong table told."""

import re
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from ssl_music.catalogs import Table, missing_positives
from ssl_music.errors import UserError

REAL_MUSIC = Path(__file__).parents[2] / "shared" / "data" / "music"


@pytest.fixture(autouse=True)
def no_unexpected_warnings() -> None:
    warnings.simplefilter("error")


@pytest.fixture
def write(tmp_path: Path):
    """Writes a table and touches files 0.wav … 9.wav beside it."""
    for number in range(10):
        (tmp_path / f"{number}.wav").touch()

    def writer(content: str | bytes, name: str = "songs.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return writer


def labels(table: Table) -> dict[str, dict]:
    return {track.id: dict(track.labels) for track in table.tracks}


def test_rows_are_tracks(write: Callable[..., Path]) -> None:
    path = write("path,artist,album,title,group,genre\n2.wav,Ann,Blue,Two,g,folk\n1.wav,,,,,\n")
    table = Table(path, columns=["genre"])
    first, second = table.tracks
    assert (first.id, first.title, first.artist, first.labels) == ("1.wav", "1", "", {})
    assert (second.artist, second.album, second.title, second.group) == ("Ann", "Blue", "Two", "g")
    assert second.labels == {"genre": ("folk",)}
    assert second.path == path.parent / "2.wav"


def test_columns_of_other_names(write: Callable[..., Path], tmp_path: Path) -> None:
    write("id,file,performer,record,name,work,fold\n7,1.wav,Ann,Blue,One,w,dev\n", "t.csv")
    named = {"path_column": "file", "id_column": "id", "artist_column": "performer", "album_column": "record"}
    table = Table(
        tmp_path / "t.csv", **named, title_column="name", group_column="work", split_column="fold", columns=[]
    )
    track = table.tracks[0]
    assert (track.id, track.artist, track.album, track.title) == ("7", "Ann", "Blue", "One")
    assert (track.group, track.split, table.split_name) == ("w", "valid", "t.csv: fold")


PLAIN = "path,genre,mood\n0.wav,folk,calm\n1.wav,jazz,\n"


DIALECTS: dict[str, str | bytes] = {
    "plain": PLAIN,
    "bom": "\ufeff" + PLAIN,
    "crlf": PLAIN.replace("\n", "\r\n"),
    "cr": PLAIN.replace("\n", "\r"),
    "semicolon": PLAIN.replace(",", ";"),
    "tab": PLAIN.replace(",", "\t"),
    "bar": PLAIN.replace(",", "|"),
    "blanks": PLAIN.replace(",", ", ").replace("folk", '"folk"'),
    "quoted": PLAIN.replace("folk", '"folk"').replace("path,genre", '"path","genre"'),
    "empty lines": "\n" + PLAIN + "\n\n,,\n",
    "unnamed columns": "".join(f",{line},\n" for line in PLAIN.splitlines()),
    "utf-16": ("\ufeff" + PLAIN.replace(",", "\t")).encode("utf-16-le"),
    "no last newline": PLAIN.rstrip("\n"),
}


@pytest.mark.parametrize("content", DIALECTS.values(), ids=DIALECTS)
def test_dialects_of_csv(write: Callable[..., Path], content: str | bytes) -> None:
    table = Table(write(content), columns=["genre", "mood"])
    assert labels(table) == {"0.wav": {"genre": ("folk",), "mood": ("calm",)}, "1.wav": {"genre": ("jazz",)}}


def test_quoted_delimiters_and_newlines(write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "a\nb.wav").touch()
    content = 'path;"genre, or style; or kind";note\n"a\nb.wav";"folk; ""old""";"two\nlines"\n'
    table = Table(write(content), columns=["genre, or style; or kind", "note"])
    assert labels(table) == {"a\nb.wav": {"genre, or style; or kind": ('folk; "old"',), "note": ("two\nlines",)}}


def test_multi_and_label_values_are_kept_as_given(write: Callable[..., Path]) -> None:
    content = 'path,mood,genre\n0.wav," calm ,Dark,, calm","Hip-Hop, old"\n1.wav," , ",hip-hop\n'
    table = Table(write(content), columns=["genre"], multi=["mood"])
    assert table.columns == {"genre": False, "mood": True}
    assert labels(table) == {
        "0.wav": {"mood": ("calm", "Dark"), "genre": ("Hip-Hop, old",)},
        "1.wav": {"genre": ("hip-hop",)},
    }


def test_separator(write: Callable[..., Path]) -> None:
    path = write("path,mood\n0.wav,calm/dark / slow\n")
    assert labels(Table(path, multi=["mood"], separator="/")) == {"0.wav": {"mood": ("calm", "dark", "slow")}}
    with pytest.raises(UserError, match="separator is empty"):
        Table(path, multi=["mood"], separator="").tracks  # noqa: B018


def test_label_columns_are_chosen_by_rule(write: Callable[..., Path]) -> None:
    rows = [
        f"{i}.wav,{'ab'[i % 2]},same,{i},{i // 3},{'xy'[i % 2] if i < 3 else ''},{'pq'[i % 2]},train"
        for i in range(10)
    ]
    path = write("\n".join(["path,two,one,distinct,four,sparse,artist,split", *rows]))
    table = Table(path)
    assert table.columns == {"two": False, "four": False}  # sparse: 2 tags in 3 cells; one: nothing to tell apart
    assert table.tags("four") == ["0", "1", "2", "3"]
    assert Table(path, columns=["artist", "one"]).tags("artist") == ["p", "q"]
    assert Table(path, multi=["distinct"]).columns == {"two": False, "four": False, "distinct": True}


def test_where(write: Callable[..., Path]) -> None:
    path = write("path,set,genre\n0.wav,music,a\n1.wav,speech,b\n2.wav,music,c\n")
    table = Table(path, where={"set": "music"}, columns=["genre"])
    assert table.tags() == ["a", "c"]
    with pytest.raises(UserError, match="no row left where set is 'musik'; it is: 'music', 'speech'"):
        Table(path, where={"set": "musik"}).tracks  # noqa: B018
    with pytest.raises(UserError, match=r"column 'st'; did you mean 'set'\?"):
        Table(path, where={"st": "music"}).tracks  # noqa: B018
    # rows that are left out need no file
    assert len(Table(write("path,set\n0.wav,a\nno.wav,b\n"), where={"set": "a"}).tracks) == 1


def test_given_splits(write: Callable[..., Path]) -> None:
    names = ["train", "Train ", "valid", "validation", "VAL", "dev", "test", "fold 3", ""]
    table = Table(write("path,split\n" + "".join(f"{i}.wav,{name}\n" for i, name in enumerate(names))), columns=[])
    expected = ["train", "train", "valid", "valid", "valid", "valid", "test", "fold 3", ""]
    assert [track.split for track in table.tracks] == expected
    assert table.split_name == "songs.csv: split"


@pytest.mark.parametrize("header", ["path,group", "path,group,split", "path,group,ignored"])
def test_made_splits_keep_groups(write: Callable[..., Path], header: str) -> None:
    given = {"path,group": "", "path,group,split": ",", "path,group,ignored": ",train"}[header]
    path = write(header + "\n" + "".join(f"{i}.wav,{'ab'[i // 5]}{given}\n" for i in range(10)))
    table = Table(path, split_seed=4, columns=[], split_column=None if "ignored" in header else "split")
    assert table.split_name == "group-disjoint 80/10/10 seed 4"
    assert {len({t.split for t in table.tracks if t.group == group}) for group in "ab"} == {1}
    assert len({t.split for t in table.tracks}) == 2


def test_given_splits_that_break_groups_are_told(write: Callable[..., Path]) -> None:
    path = write(
        "path,artist,group,split\n0.wav,A,x,train\n1.wav,A,x,test\n2.wav,A,,train\n3.wav,A,,\n4.wav,B,y,test\n"
    )
    with pytest.warns(UserWarning, match=r"songs.csv: split: 1 of 3 groups stand in more than one split \('x'\)"):
        assert len(Table(path, columns=[]).split("test")) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the table has no rows; it wants a header"),
        ("path,genre\n", "the table has no rows"),
        ("file,genre\n0.wav,a\n", "no column 'path' with paths; name it as path_column. Known: file, genre"),
        ("path,genre\n0.wav,a\n1.wav\n", r"line 3 has 1 cells, the header has 2 \(delimiter ','\)"),
        ("path,genre\n0.wav,a,b\n", "line 2 has 3 cells, the header has 2"),
        ('path,genre\n0.wav,"a\n1.wav,b\n', "line 3 is not well-formed CSV: unexpected end of data"),
        ("path,genre,genre\n0.wav,a,b\n", "more than one column is called genre"),
        ("path,genre\n0.wav,a\n0.wav,b\n", "1 ids in column 'path' stand in more than one row: '0.wav'"),
        (
            "path,genre\n0.wav,a\nx.wav,b\n",
            r"1 of 2 files are not in .*: 'x.wav'; fix the table or give --catalog.root",
        ),
        ("path,genre\n,a\n", "1 rows have no id in column 'path'"),
        ("path,genre\n" + "x" * 5000 + ",a\n", "1 of 1 files are not in"),
        (b"path,genre\n0.wav,caf\xe9\n", "column 'genre' of row 1 is not UTF-8; save the table as UTF-8"),
        (b"PK\x03\x04\0\0\0", "neither CSV text nor Parquet; save a spreadsheet as CSV"),
        (b"PAR1 and no more", "damaged Parquet file"),
        (b"\xff\xfea", "begins as UTF-16 but is not"),
    ],
)
def test_wrong_tables(write: Callable[..., Path], content: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=rf"(?s)songs\.csv: .*{message}"):
        Table(write(content)).tracks  # noqa: B018


def test_missing_files_show_three(write: Callable[..., Path]) -> None:
    path = write("path\n0.wav\n" + "".join(f"no/{number}.wav\n" for number in range(5)))
    with pytest.raises(UserError, match=r"5 of 6 files are not in .*: 'no/0.wav', 'no/1.wav', 'no/2.wav', …; fix"):
        Table(path).tracks  # noqa: B018


def test_no_such_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"^songs.csv: no such table; looked for {re.escape(str(tmp_path))}"):
        Table("songs.csv").tracks  # noqa: B018
    with pytest.raises(UserError, match="cannot be read as a table"):
        Table(tmp_path).tracks  # noqa: B018


@pytest.mark.parametrize(
    "wrong",
    [{"artist_column": "gnre"}, {"columns": ["gnre"]}, {"multi": ["gnre"]}, {"id_column": "gnre"}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_named_columns_must_be_there(write: Callable[..., Path], wrong: dict) -> None:
    path = write("path,genre\n0.wav,a\n")
    with pytest.raises(UserError, match=r"songs.csv: unknown column 'gnre'; did you mean 'genre'\? Known: path"):
        Table(path, **wrong).tracks  # noqa: B018
    with pytest.raises(UserError, match=r"unknown columns who, what\. Known: path, genre"):
        Table(path, artist_column="who", title_column="what").tracks  # noqa: B018


def test_root(write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    path = write(f"path\n1.wav\n{tmp_path / '2.wav'}\n", "lists/songs.csv")
    table = Table(path, root=tmp_path, columns=[])
    assert {track.path for track in table.tracks} == {tmp_path / "1.wav", tmp_path / "2.wav"}


def test_parquet(write: Callable[..., Path], tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra parquet")
    from pyarrow import parquet

    (tmp_path / "genre=folk").mkdir()  # a folder's name is no column
    path = tmp_path / "genre=folk" / "songs.table"
    columns = {
        "path": ["0.wav", "1.wav", "2.wav"],
        "tags": [["calm", "dark, slow"], [], None],
        "bpm": [120.0, float("nan"), None],
        "year": [1999, None, 2001],
        "split": ["train", None, "test"],
    }
    parquet.write_table(pyarrow.table(columns), path)
    table = Table(path, root=tmp_path, columns=["tags", "bpm", "year"])
    assert table.columns == {"tags": True, "bpm": False, "year": False}
    assert labels(table) == {
        "0.wav": {"tags": ("calm", "dark, slow"), "bpm": ("120.0",), "year": ("1999",)},
        "1.wav": {},
        "2.wav": {"year": ("2001",)},
    }
    assert [track.split for track in table.tracks] == ["train", "", "test"]


def test_parquet_without_the_extra(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UserError, match=re.escape("pip install 'ssl-music[parquet]'")):
        Table(write(b"PAR1....")).tracks  # noqa: B018


@pytest.mark.skipif(not REAL_MUSIC.is_dir(), reason="the shared music is not here")
def test_real_music() -> None:
    tasks = {"task_genre": (6, 307), "task_style": (3, 324), "task_instrument": (10, 345), "task_artist": (9, 654)}
    multi = {"mood": (20, 351), "instruments": (100, 344)}
    path = REAL_MUSIC / "tracks.csv"
    table = Table(path, columns=list(tasks), multi=list(multi), title_column="track")
    assert len(table.tracks) == 1232
    assert table.split_name == "tracks.csv: split"
    assert Counter(track.split for track in table.tracks) == {"train": 595, "valid": 240, "test": 397}
    held = {c: (len(table.tags(c)), len(table.labelled(table.tracks, c))) for c in table.columns}
    assert held == tasks | multi
    genre = [len(table.labelled(table.split(name), "task_genre")) for name in ("train", "valid", "test")]
    assert genre == [177, 42, 88]
    assert missing_positives(table, "task_genre") == {}
    assert missing_positives(table, "mood") == {"test": ["Calm"], "valid": ["Calm", "Suspenseful"]}
    music = Table(path, where={"set": "music"}, columns=["task_genre"])
    assert Counter(track.split for track in music.tracks) == {"train": 431, "valid": 152, "test": 250}


def test_a_column_that_does_not_look_like_labels_is_told_how_to_become_one(write: Callable[..., Path]) -> None:
    path = write("path,genre,origin\n0.wav,folk,here\n1.wav,jazz,here\n2.wav,folk,here\n3.wav,jazz,here\n")
    table = Table(path)
    with pytest.raises(
        UserError, match=r"'origin'. Known: genre; a table's column of fewer than 2 .*columns names it"
    ):
        table.column("origin")
    assert Table(path, columns=["origin"]).column("origin") == "origin"
    with pytest.raises(UserError, match=r"Known: origin$"):
        Table(path, columns=["origin"]).column("genre")
