"""The page: whole, by itself, true to the run folder, and unbroken by whatever songs are called."""

import base64
import json
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from report_toy import GENRES, RATE, TITLES, make_run, tones

from ssl_music import audio, report
from ssl_music._records import read_record, write_record
from ssl_music.errors import UserError
from ssl_music.report.figures import loss_figure, save, svg
from ssl_music.report.findings import Findings
from ssl_music.report.scores import columns
from ssl_music.report.songs import data_uri
from ssl_music.report.trainings import Curve, Training


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("labelled"))


@pytest.fixture(scope="module")
def page(labelled: Path) -> str:
    return report.page(labelled).read_text(encoding="utf-8")


class Seen(HTMLParser):
    """Every element with its attributes and the text inside; complains of elements that are not closed."""

    VOID = frozenset({"meta", "link", "img", "br", "input"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def count(self, name: str) -> int:
        return sum(tag == name for tag, _ in self.elements)


def test_the_page_stands_alone(page: str, labelled: Path) -> None:
    seen = Seen(page)
    for _, attributes in seen.elements:
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert "@import" not in page and "url(http" not in page
    assert len(page) < 6e6
    for name in ("loss", "similarity", "rank", "scores", "map/artist", "map/genre", "genre/roc", "mood/tags"):
        assert (labelled / "figures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    for name in (
        "scores",
        "tasks",
        "training",
        "encoders",
        "map/map",
        "genre/confusion",
        "mood/tags",
        "mood/metrics",
    ):
        assert (labelled / "figures" / f"{name}.csv").read_text().count("\n") > 1


def test_hostile_names_are_text(page: str) -> None:
    seen = Seen(page)
    assert seen.count("script") == 2  # the data of the map, and page.js
    assert not seen.count("img") and seen.count("b") == page.count("<b>") and seen.count("i") == page.count("<i ")
    assert "alert(1)" in page and "<script>alert" not in page and "<img" not in page
    whole = "".join(seen.texts)
    for text in [*GENRES, *(title for title in TITLES if "\udcff" not in title), "artist <3>", "toy <split>"]:
        assert text in whole


def test_the_page_says_what_the_run_found(page: str, labelled: Path) -> None:
    seen = "".join(Seen(page).texts)
    for text in (
        "0.800 [0.700,\xa00.900]",
        "every artist is in one split",
        "is not distinguishable from random initialisation",
        "collapsed",
        "rank <1>",
    ):
        assert text in seen
    assert json.loads((labelled / "results.json").read_text())["catalog"]["fingerprint"] in seen
    assert Training(labelled / "train", name="mine").trivial_loss == pytest.approx(math.log(95), abs=1e-5)
    assert "guessing: 4.55" in seen
    for heading in ("Verdict", "Scores", "Task by task", "Map of the catalog", "Training", "Time", "Provenance"):
        assert f"<h2>{heading}</h2>" in page
    found = columns(Findings([labelled]))
    assert [column.title for column in found] == ["genre", "mood", "search by genre"]
    assert [column.metric for column in found] == ["balanced accuracy", "ROC-AUC", "precision@10"]


def test_the_same_folder_gives_the_same_page(page: str, labelled: Path) -> None:
    assert report.page(labelled).read_text(encoding="utf-8") == page


def test_players_hold_the_passage_that_matched(page: str, tmp_path: Path) -> None:
    """The query's clip is its middle, in which the tone changes; the hit's lies around 15 s, in the second tone."""
    clips = re.findall(r'<audio controls preload="none" src="data:audio/mpeg;base64,([^"]+)"', page)
    assert len(clips) == 3
    for clip, wanted in zip(clips, [(tones(0)[0], tones(0)[1]), (tones(5)[1],) * 2], strict=False):
        path = tmp_path / "clip.mp3"
        path.write_bytes(base64.b64decode(clip))
        wave = audio.read(path, RATE)
        assert abs(len(wave) / RATE - 8) < 0.2
        for part, tone in zip((wave[RATE : 3 * RATE], wave[-3 * RATE : -RATE]), wanted, strict=True):
            spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
            assert spectrum.argmax() * RATE / len(part) == pytest.approx(tone, abs=2)
    assert "Every other song is by the same artist" in page


def test_a_rate_that_mp3_lacks_is_flac() -> None:
    assert data_uri(np.zeros(1000, np.int16), 10_000).startswith("data:audio/flac;base64,")


def test_a_catalog_without_labels(tmp_path: Path) -> None:
    run = make_run(tmp_path, labelled=False)
    (run / "train" / "metrics.csv").unlink()
    (run / "pack").rename(run / "gone")
    page = report.page(run).read_text(encoding="utf-8")
    Seen(page)
    assert "no labels to probe" in page and "No players" in page and "random initialisation" not in page
    assert "<h2>Verdict" not in page and "<h2>Training" not in page and "<h2>Task by task" not in page
    assert "artist &lt;" in page and not (run / "figures" / "loss.png").exists()


def test_a_leak_is_said(labelled: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(labelled, run)
    for path in (run / "probes").glob("genre-*.json"):
        record = read_record(path)
        write_record(path, "probe", {**record.facts, "shared_groups": ["a", "b"]}, record.arrays)
    assert "<b>Leak:</b> 2 groups of genre" in report.page(run).read_text(encoding="utf-8")


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing to report: looked for a quickstart \(results\.json\), evaluations"):
        report.page(tmp_path)
    with pytest.raises(UserError, match="nothing to report: give one or more folders"):
        report.page()


def test_a_quickstart_that_lost_its_probes(labelled: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(labelled, run)
    (run / "probes" / "genre-pretrained.json").unlink()
    with pytest.raises(UserError, match=r"the records of its 4 probes are not in .*run ssl-music quickstart again"):
        report.page(run)


def test_figures_leave_matplotlib_as_it_was(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    curves = {"train/loss": Curve(np.arange(100.0), np.linspace(4, 2, 100))}
    figure = loss_figure(curves, 4.5)
    assert figure is not None
    drawn = svg(figure, "the loss")
    save(figure, tmp_path / "loss.png")
    assert dict(matplotlib.rcParams) == before
    assert "var(--hue-0)" in drawn and "var(--sans)" in drawn and "<style" not in drawn
    assert not re.search(r"#[0-9a-f]{6}", drawn)
