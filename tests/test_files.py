"""Files that are whole or absent, and what is said where none can be written."""

import errno
from pathlib import Path

import pytest

from ssl_music._files import Unwritable, made_folder, replacing
from ssl_music.errors import UserError


def test_no_folder_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "songs.csv").write_text("kept")
    for place in (tmp_path / "songs.csv", tmp_path / "songs.csv" / "below"):
        with pytest.raises(UserError, match=r"songs\.csv.*: no folder can be made there \(.*\); choose"):
            made_folder(place)
        with pytest.raises(UserError, match="no folder can be made"), replacing(place / "table.csv"):
            pass
    assert (tmp_path / "songs.csv").read_text() == "kept"
    assert made_folder(tmp_path / "a" / "b").is_dir()


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(UserError, match=r"folder: cannot be written \(Is a directory\); choose"),
        replacing(tmp_path / "folder") as temporary,
    ):
        temporary.write_text("x")
    with (
        pytest.raises(UserError, match=r"a: cannot be written \(No space left.*\); make room and run") as full,
        replacing(tmp_path / "a"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert full.value.errno == errno.ENOSPC and isinstance(full.value, Unwritable)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_errors_of_other_files_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.txt"):
        (tmp_path / "not there").read_text()


@pytest.mark.parametrize("letter", ["l", "音"])
def test_names_as_long_as_a_disk_takes(tmp_path: Path, letter: str) -> None:
    path = tmp_path / (letter * (250 // len(letter.encode())) + ".csv")
    with replacing(path) as temporary:
        temporary.write_text("whole")
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    too_long = tmp_path / (letter * 300 + ".csv")
    with pytest.raises(UserError, match="cannot be written"), replacing(too_long) as temporary:
        temporary.write_text("whole")
