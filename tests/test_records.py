"""Records of evaluations: whole or absent, without pickles, told apart from other files."""

import json
from pathlib import Path

import numpy as np
import pytest

from ssl_music._records import gather_records, read_record, write_record
from ssl_music.errors import UserError


def test_what_was_written_is_read(tmp_path: Path) -> None:
    arrays = {"ids": np.array(["a", "b\udcff"]), "scores": np.arange(6.0).reshape(2, 3)}
    write_record(tmp_path / "deep" / "r.json", "probe", {"column": "génre", "value": [0.5, None]}, arrays)
    record = read_record(tmp_path / "deep" / "r.json")
    assert (record.kind, record.facts) == ("probe", {"column": "génre", "value": [0.5, None]})
    assert record.arrays["ids"].tolist() == ["a", "b\udcff"]
    np.testing.assert_array_equal(record.arrays["scores"], arrays["scores"])
    with pytest.raises(ValueError, match="ends in"):
        write_record(tmp_path / "r.txt", "probe", {})


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    write_record(tmp_path / "b" / "r.json", "bench", {})
    write_record(tmp_path / "a" / "r.json", "fractions", {})
    (tmp_path / "results.json").write_text(json.dumps({"kind": "probe"}))
    (tmp_path / "broken.json").write_text("{")
    assert [record.kind for record in gather_records(tmp_path)] == ["fractions", "bench"]
    for name in ("results.json", "broken.json"):
        with pytest.raises(UserError, match="not a record of ssl_music"):
            read_record(tmp_path / name)
    with pytest.raises(UserError, match="no such"):
        read_record(tmp_path / "none.json")
    with pytest.raises(UserError, match="no such folder"):
        gather_records(tmp_path / "none")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    write_record(tmp_path / "r.json", "probe", {}, {"ids": np.zeros(2)})
    np.savez(tmp_path / "r.npz", ids=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r"r\.npz: the arrays of r\.json cannot be read"):
        read_record(tmp_path / "r.json")
    (tmp_path / "r.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"r\.npz: the arrays"):
        read_record(tmp_path / "r.json")
