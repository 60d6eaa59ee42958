"""Tables for people: what does not fit beside the rest stands below it, and nothing is left out."""

import re
from pathlib import Path

import numpy as np
from probe_toy import gaussian, store

from ssl_music.probe import compare, probe, table
from ssl_music.probe.tables import LINE, aligned


def test_wide_tables_are_folded() -> None:
    rows = [["encoder", "wanted", *(f"{number}" for number in range(10))]]
    rows += [[name, "x", *(f"{name}{number:07d}" + " [0.000, 1.000]" for number in range(10))] for name in "ab"]
    lines = aligned(rows, fixed=2, together=2)
    assert max(map(len, lines)) <= LINE
    cells = [re.split(r"  +", line) for line in lines if line]
    assert all(line[:2] == row[:2] for line, row in zip(cells, rows * (len(cells) // 3), strict=True))
    for number, row in enumerate(rows):
        assert [cell for line in cells[number::3] for cell in line[2:]] == row[2:]
        assert all(len(line[2:]) % 2 == 0 for line in cells[number::3])


def test_narrow_tables_are_not() -> None:
    assert aligned([["a", "b"], ["long", "1"]], together=2) == ["a     b", "long  1"]
    assert aligned([["a" * 200, "b"], ["c", "1"]])[1] == "c" + " " * 199 + "  1"  # a column alone is not parted


def test_a_result_fits_and_says_where_there_is_no_number(tmp_path: Path) -> None:
    features, tags = gaussian(300, classes=3, distance=2.0)
    tags = [("rare",) if number in (0, 190, 250) else tag for number, tag in enumerate(tags)]
    vectors = store(tmp_path / "a", features, {"genre": tags})
    result = probe(vectors, "genre", protocol="knn", bootstrap=50)
    printed = table(result)
    (rare,) = (tag for tag in result.per_tag if tag.tag == "rare")
    assert np.isnan(rare.scores["precision"].value)  # it is never given
    told = printed[printed.index("tag ") :].splitlines()
    assert max(map(len, told)) <= LINE and "nan" not in printed
    assert sum(line.startswith("rare ") for line in told) == 2 and any("—" in line for line in told)
    other = probe(vectors, "genre", bootstrap=50, name="a name of some thirty letters")
    assert max(map(len, compare([result, other]).splitlines()[2:-1])) <= LINE
