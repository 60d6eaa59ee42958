"""What a report is made of: which results share a column, whom the page is about, what is beside it, and the card."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from report_toy import make_bench, make_run

from ssl_music import report
from ssl_music._records import read_record, write_record
from ssl_music.errors import UserError
from ssl_music.probe import paired
from ssl_music.report.beside import Beside
from ssl_music.report.findings import Findings
from ssl_music.report.heard import change
from ssl_music.report.scores import columns

ENCODERS = ["clmr", "byol", "random initialisation"]
TASKS = {"genre": ("single", 5), "tags": ("multi", 30)}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bench(tmp_path_factory.mktemp("bench"), tasks=TASKS, encoders=ENCODERS)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def page(bench: Path) -> str:
    return report.page(bench).read_text(encoding="utf-8")


@pytest.fixture
def copied(bench: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bench, tmp_path / "copied"))


def altered(path: Path, **facts: object) -> None:
    record = read_record(path)
    write_record(path, record.kind, {**record.facts, **facts}, record.arrays)


def test_tasks_and_ranks(bench: Path) -> None:
    found = Findings([bench])
    assert [task.name for task in found.tasks] == ["genre", "tags"]
    assert found.encoders == ENCODERS == sorted(found.mean_ranks, key=found.mean_ranks.__getitem__)
    assert found.featured == "clmr" and found.tasks[0].best == "clmr"


def test_differences_are_those_of_the_paired_bootstrap(bench: Path) -> None:
    for task in Findings([bench]).tasks:
        for name, gap in task.differences("byol").items():
            assert gap == pytest.approx(paired(task.results["byol"], task.results[name]))
        gaps = {name: paired(task.results[task.best], task.results[name]) for name in task.results}
        assert task.level == {name for name, gap in gaps.items() if name != task.best and gap.low <= 0 <= gap.high}


def test_what_has_learned_nothing_is_not_what_the_page_is_about(copied: Path) -> None:
    for path in (copied / "probes").rglob("*.json"):
        if path.stem != "random initialisation":
            altered(path, metrics={name: [0.1, 0.0, 0.2] for name in read_record(path).facts["metrics"]})
    found = Findings([copied])
    assert found.encoders[0] == "random initialisation" and found.featured == "byol"
    assert Findings([copied], encoder="clmr").featured == "clmr"


def test_other_protocols_and_catalogs_have_a_column_of_their_own(copied: Path) -> None:
    (copied / "bench.json").unlink()
    altered(copied / "probes" / "genre" / "clmr.json", protocol="mlp")
    altered(copied / "probes" / "tags" / "byol.json", catalog_fingerprint="22")
    found = columns(Findings([copied]))
    told = {column.title: set(column.values) for column in found}
    assert told == {
        "genre · linear": {"byol", "random initialisation"},
        "genre · mlp": {"clmr"},
        "tags · catalog 22": {"byol"},
        "tags · catalog 11": {"clmr", "random initialisation"},
    }


def test_other_test_tracks_have_a_column_of_their_own(copied: Path) -> None:
    path = copied / "probes" / "genre" / "clmr.json"
    record = read_record(path)
    ids = record.arrays["ids"].copy()
    ids[0] = "another.wav"
    write_record(path, "probe", record.facts, {**record.arrays, "ids": ids})
    assert [task.name for task in Findings([copied]).tasks] == ["genre (1)", "genre (2)", "tags"]


def test_one_name_for_two_weights(bench: Path, copied: Path) -> None:
    for path in (copied / "probes").rglob("clmr.json"):
        altered(path, digest="other")
    assert set(Findings([bench, copied]).mean_ranks) == {
        f"clmr ({bench.name})",
        "clmr (copied)",
        "byol",
        "random initialisation",
    }  # the same evaluation twice is one
    assert set(Findings([bench, bench, bench / "probes", bench / "probes" / "tags" / "byol.json"]).encoders) == {
        *ENCODERS
    }


def test_one_set_of_weights_has_one_name(bench: Path, copied: Path) -> None:
    """What a bench calls clmr and a probe calls mine is one encoder; colours know it by both names."""
    (copied / "bench.json").unlink()
    for path in (copied / "probes").rglob("clmr.json"):
        altered(path, name="mine", protocol="knn")
    found = Findings([copied, bench])
    assert {task.name: list(task.results) for task in found.tasks} == {
        "genre · linear": ["byol", "random initialisation", "clmr"],
        "genre · knn": ["clmr"],
        "tags · linear": ["byol", "random initialisation", "clmr"],
        "tags · knn": ["clmr"],
    }
    assert found.colours["mine"] == found.colours["clmr"] != found.colours["random initialisation"]
    assert found.mean_ranks["clmr"] == 1  # alone is no rank


def test_who_learned_nothing_is_known_by_class_too(copied: Path) -> None:
    for path in (copied / "probes").rglob("byol.json"):
        altered(path, encoder="ssl_music.encoders.statistics.LogMelStatistics")
    found = Findings([copied])
    assert found.baselines == {"byol", "random initialisation"} and found.colours["byol"] == "muted"


def test_the_card_knows_a_training_only_where_it_is_sure(bench: Path, copied: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    trained = Findings([run]).training_of("pretrained")
    assert trained is not None and trained.method == "SimCLR"
    assert Findings([bench, run / "train"]).training_of("clmr") is None
    report.page(bench, run / "train", out=tmp_path / "out")
    assert "SimCLR" not in (tmp_path / "out" / "MODEL_CARD.md").read_text(encoding="utf-8")
    facts = read_record(copied / "bench.json").facts["encoders"]
    altered(copied / "bench.json", encoders={**facts, "byol": {**facts["byol"], "run": str(run / "train")}})
    made = {name: Findings([copied]).training_of(name) for name in ENCODERS}
    assert made["byol"] is not None and made["clmr"] is None


def test_every_evaluation_has_its_part(page: str, bench: Path) -> None:
    for heading in ("With few labels", "When the sound changes", "From segments to a song", "Songs over time"):
        assert f"<h2>{heading}</h2>" in page
    figures = bench / "figures"
    for name in ("genre/label-efficiency", "genre/robustness", "taggrams/song", "tags/precision-recall", "scores"):
        assert (figures / f"{name}.csv").is_file() and (figures / f"{name}.png").is_file()
    assert "&lt;b&gt;Song" in page and "Map of the catalog" not in page


def test_tables_beside_the_page_hold_the_numbers(page: str, bench: Path) -> None:
    result = Findings([bench]).tasks[1].results["byol"]
    with (bench / "figures" / "tags" / "tags.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["encoder"] == "byol" and row["metric"] == "pr_auc"]
    assert {row["tag"]: float(row["value"]) for row in rows} == {
        tag.tag: tag.scores["pr_auc"].value for tag in result.per_tag
    }
    assert [int(row["tracks"]) for row in rows] == sorted((tag.support for tag in result.per_tag), reverse=True)


def test_the_same_folders_give_the_same_bytes(page: str, bench: Path, tmp_path: Path) -> None:
    report.page(bench, out=tmp_path)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert len(made) > 30
    for name, content in made.items():
        if name.suffix in (".png", ".csv"):  # the page itself names the folder it is in
            assert (bench / name).read_bytes() == content
    report.page(bench, out=tmp_path)
    assert made == {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.*")}


def test_a_training_alone(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    page = report.page(run / "train", out=tmp_path / "out").read_text(encoding="utf-8")
    assert "Training of run" in page and "<h2>Training</h2>" in page and "<h2>Scores" not in page
    page = report.page(run / "vectors" / "pretrained", out=tmp_path / "out").read_text(encoding="utf-8")
    assert "<h2>Map of the catalog</h2>" in page and "<h2>Training</h2>" not in page


def test_songs_over_time(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    page = report.page(run, songs=["05.wav"]).read_text(encoding="utf-8")
    assert "the songs asked for" in page
    with pytest.raises(UserError, match=r"unknown song in .*'nosuch\.wav'"):
        report.page(run, songs=["nosuch.wav"])
    with pytest.raises(UserError, match=r"songs 05\.wav: .* there are none of an encoder that was probed for tags"):
        report.page(run / "train", songs=["05.wav"])
    with pytest.raises(UserError, match="unknown encoder of the report 'pretraned'; did you mean 'pretrained'"):
        report.page(run, encoder="pretraned")
    rising = [[0.0, 1.0]] * 6 + [[1.0, 0.0]] * 4
    assert change(np.array(rising)) == 1 and change(np.array(rising[4:8])) == 0


def test_a_page_has_a_greatest_size(tmp_path: Path) -> None:
    figure = Figure((3, 2))
    figure.add_subplot().plot([0, 1])
    beside = Beside(tmp_path / "figures", room=20_000)
    shown = [beside.figure("a line", figure, label="a <line>") for _ in range(4)]
    assert shown[0].startswith("<figure><svg") and "a &lt;line&gt;: figures/a-line" in shown[-1]
    assert sum(map(len, shown)) < 21_000 and len(list((tmp_path / "figures").iterdir())) == 4


def test_the_card_says_what_was_found_and_no_more(page: str, bench: Path) -> None:
    card = (bench / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card.startswith("# Model card: clmr\n")
    sections = [line for line in card.splitlines() if line.startswith("## ")]
    assert sections == [
        "## Model details",
        "## Intended use",
        "## Factors",
        "## Metrics",
        "## Evaluation data",
        "## Training data",
        "## Quantitative analyses",
        "## Ethical considerations",
        "## Caveats and recommendations",
    ]
    assert card.count("Not stated: nothing in the evaluated folders says it") == 2
    value = Findings([bench]).tasks[0].value("clmr")
    assert f"{value.value:.3f} \\[{value.low:.3f}, {value.high:.3f}\\]" in card
    assert "fewer than 10 groups stand behind" in card


def test_leaks_into_a_test_split_are_said(copied: Path) -> None:
    leak = {"catalog": "toy", "track": "a.wav", "split": "test", "how": "same audio", "met_in": "b.wav"}
    altered(copied / "bench.json", leaks=[leak], leaks_are="reported")
    page = report.page(copied).read_text(encoding="utf-8")
    assert "<b>Leak:</b> 1 test tracks were met in pretraining" in page and "same audio" in page
