"""Predictions as a table against a catalog's labels: by name, and what is refused."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ssl_music._records import gather_records
from ssl_music.audio import write
from ssl_music.catalogs import Table
from ssl_music.cli import main
from ssl_music.errors import UserError
from ssl_music.probe import ProbeResult, read_table, score_table

TAGS = ["calm", "dark", "loud"]
COUNT = 30


@pytest.fixture
def catalog(tmp_path: Path) -> Table:
    random = np.random.default_rng(0)
    with (tmp_path / "songs.csv").open("w", newline="") as handle:
        lines = csv.writer(handle)
        lines.writerow(["path", "mood", "split"])
        for number in range(COUNT):
            write(tmp_path / f"{number:02d}.wav", np.zeros(100, np.float32), 8000)
            moods = [tag for tag in TAGS if random.random() < 0.4] or ["calm"]
            lines.writerow([f"{number:02d}.wav", ", ".join(moods), ("train", "valid", "test")[number % 3]])
    return Table(tmp_path / "songs.csv", columns=["mood"], multi=["mood"])


def predicted(
    path: Path, catalog: Table, *, tags: list[str], named: str = "id", ids: list[str] | None = None
) -> np.ndarray:
    """A table of scores that know something; `named` says how it names the tracks. Shape: (N, K) as the catalog."""
    random = np.random.default_rng(1)
    scores = np.clip(0.5 * catalog.targets(catalog.tracks, "mood") + random.random((COUNT, 3)) / 2, 0, 1)
    with path.open("w", newline="") as handle:
        lines = csv.writer(handle)
        lines.writerow(["file", *tags])
        for row in random.permutation(COUNT):
            track = catalog.tracks[row]
            if ids is None or track.id in ids:
                cells = [f"{scores[row, TAGS.index(tag)]:.6f}" if tag in TAGS else "0.5" for tag in tags]
                lines.writerow([getattr(track, named), *cells])
    return scores.round(6)


@pytest.mark.parametrize("named", ["id", "path"])
def test_tracks_and_tags_are_found_by_name(tmp_path: Path, catalog: Table, named: str) -> None:
    scores = predicted(tmp_path / "p.csv", catalog, tags=["loud", "calm", "dark"], named=named)
    result = score_table(read_table(tmp_path / "p.csv"), catalog, "mood", bootstrap=50)
    rows = [number for number, track in enumerate(catalog.tracks) if track.split == "test"]
    targets = catalog.targets([catalog.tracks[row] for row in rows], "mood")
    for column, tag in enumerate(TAGS):
        expected = roc_auc_score(targets[:, column], scores[rows, column])
        assert result.per_tag[column].scores["roc_auc"].value == pytest.approx(expected)
        assert (result.per_tag[column].tag, result.per_tag[column].threshold is None) == (tag, False)
    assert result.tracks == {"valid": 10, "test": 10} and result.protocol == "outside"


def test_without_valid_there_are_no_thresholds(tmp_path: Path, catalog: Table) -> None:
    test = [track.id for track in catalog.split("test")]
    predicted(tmp_path / "p.csv", catalog, tags=TAGS, ids=test)
    result = score_table(read_table(tmp_path / "p.csv"), catalog, bootstrap=50)
    assert result.tracks == {"test": 10} and result.per_tag[0].threshold is None
    assert "f1" not in result.per_tag[0].scores
    with pytest.raises(
        UserError, match=r"p\.csv: lacks 10 of 10 labelled tracks of the split 'valid'.*another split"
    ):
        score_table(read_table(tmp_path / "p.csv"), catalog, test="valid")


def test_tags_that_do_not_fit(tmp_path: Path, catalog: Table) -> None:
    predicted(tmp_path / "few.csv", catalog, tags=["calm", "loud"])
    with pytest.raises(UserError, match=r"few\.csv: .*lack 1 of 3 tags: 'dark'.*by name, never by position"):
        score_table(read_table(tmp_path / "few.csv"), catalog)
    result = score_table(read_table(tmp_path / "few.csv"), catalog, drop=["dark"], bootstrap=50)
    assert result.tags == ["calm", "loud"]
    predicted(tmp_path / "more.csv", catalog, tags=["sad", *TAGS])
    with pytest.warns(UserWarning, match="that 'mood' does not have are left out: 'sad'"):
        assert score_table(read_table(tmp_path / "more.csv"), catalog, bootstrap=50).tags == TAGS
    with pytest.raises(UserError, match="did you mean 'dark'"):
        score_table(read_table(tmp_path / "few.csv"), catalog, drop=["drak"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name,calm\n1,0.5\n", "wanted file or path or id or track in the first column"),
        ("file,calm\n1,0.5\n2\n", "line 3 has 1 cells, the header has 2"),
        ("file,calm\n1,high\n", "'1' has 'high' for 'calm', where a number is wanted"),
        ("file,calm,calm\n1,0,0\n", "more than one column is called calm"),
        ("", "its first line is"),
        ("\0" * 50, "neither CSV text nor Parquet"),
        ("a" * 5000, "its first line is 'a{30}';"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(UserError, match=told):
        read_table(tmp_path / "p.csv")
    with pytest.raises(UserError, match="no such file"):
        read_table(tmp_path / "q.csv")


def test_scores_that_are_none(tmp_path: Path, catalog: Table) -> None:
    predicted(tmp_path / "p.csv", catalog, tags=TAGS)
    lines = (tmp_path / "p.csv").read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("02.wav"))
    for cell, told in (
        ("nan", r"bad\.csv: the scores of 1 of 10 tracks .* hold NaN or Inf, the first is '02.wav'"),
        ("", "are empty or hold NaN or Inf, the first is '02.wav'"),
        ("1.7", "outside 0 … 1, the first is '02.wav'"),
    ):
        changed = [*lines[:at], f"02.wav,{cell},0.5,0.5", *lines[at + 1 :]]
        (tmp_path / "bad.csv").write_text("\n".join(changed))
        with pytest.raises(UserError, match=told):
            score_table(read_table(tmp_path / "bad.csv"), catalog)
    (tmp_path / "bad.csv").write_text("\n".join([*lines, lines[at]]))
    with pytest.raises(UserError, match=r"'02\.wav' stands in several lines"):
        score_table(read_table(tmp_path / "bad.csv"), catalog)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_tables_as_spreadsheets_save_them(tmp_path: Path, catalog: Table, encoding: str) -> None:
    predicted(tmp_path / "p.csv", catalog, tags=TAGS)
    plain = read_table(tmp_path / "p.csv")
    (tmp_path / "q.csv").write_text((tmp_path / "p.csv").read_text().replace(",", ";"), encoding=encoding)
    found = read_table(tmp_path / "q.csv")
    assert (found.names, found.tags) == (plain.names, plain.tags)
    np.testing.assert_array_equal(found.scores, plain.scores)


def test_thresholds_are_not_chosen_on_what_is_scored_nor_left_out_unsaid(tmp_path: Path, catalog: Table) -> None:
    predicted(tmp_path / "p.csv", catalog, tags=TAGS)
    table = read_table(tmp_path / "p.csv")
    for valid in ("test", "all"):
        with pytest.raises(UserError, match=f"'{valid}' and 'test' share tracks"):
            score_table(table, catalog, valid=valid)
    with pytest.raises(UserError, match="unknown split 'vlaid'; did you mean 'valid'"):
        score_table(table, catalog, valid="vlaid")
    test = [track.id for track in catalog.split("test")]
    predicted(tmp_path / "some.csv", catalog, tags=TAGS, ids=[*test, catalog.split("valid")[0].id])
    with pytest.warns(
        UserWarning, match=r"some\.csv: lacks 9 of 10 labelled tracks of the split 'valid'.*no threshol"
    ):
        result = score_table(read_table(tmp_path / "some.csv"), catalog, bootstrap=50)
    assert result.tracks == {"test": 10}


def test_on_the_command_line(tmp_path: Path, catalog: Table, capsys: pytest.CaptureFixture[str]) -> None:
    predicted(tmp_path / "p.csv", catalog, tags=TAGS, named="path")
    words = ["score", str(tmp_path / "p.csv"), "--catalog", "Table", "--catalog.table", str(tmp_path / "songs.csv")]
    assert (
        main(
            [
                *words,
                "--catalog.columns",
                "[mood]",
                "--catalog.multi",
                "[mood]",
                "--out",
                str(tmp_path / "r" / "m.json"),
            ]
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert "mood: protocol outside" in printed and "micro ROC-AUC" in printed
    (record,) = gather_records(tmp_path / "r")
    assert ProbeResult.of(record).tags == TAGS
    assert json.loads((tmp_path / "r" / "m.json").read_text())["kind"] == "probe"
