"""The first run: built-in music and one's own, the numbers it prints, and that it goes on where it was."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssl_music import audio, quickstart, report
from ssl_music.augment import Gain
from ssl_music.catalogs import Folder, Synthetic
from ssl_music.cli import parse, verbs
from ssl_music.encoders import ShortChunk
from ssl_music.errors import UserError
from ssl_music.methods import SimCLR
from ssl_music.probe import ProbeResult
from ssl_music.vectors import Vectors

TRAINING: dict[str, Any] = {
    "batch_size": 8,
    "trainer_options": {"max_steps": 3, "accelerator": "cpu", "enable_progress_bar": False},
}


def small_method() -> SimCLR:
    torch.manual_seed(0)  # the command line does, between parsing and building
    encoder = ShortChunk(width=4, depth=3, bands=16, sample_rate=22050, input_samples=16384, n_fft=512, hop=512)
    return SimCLR(encoder, [Gain(p=0.5)], temperature=0.2)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("quickstart") / "run"
    catalog = Synthetic(out / "music", pieces=70, seconds=2.0, seed=1)
    return out, quickstart.run(catalog, small_method(), training=TRAINING, out=out, seed=1, recipe={"seed": 1})


def test_everything_is_there(first: tuple[Path, dict]) -> None:
    out, results = first
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(results))
    assert set(results["probes"]) == {"genre", "instruments", "tempo"}
    assert "artist" in results["unprobed"]  # artists are disjoint, so nothing can be learnt of the test's
    assert [line[0] for line in results["table"]] == ["encoder", quickstart.PRETRAINED, quickstart.RANDOM,
                                                      quickstart.LOGMEL, "chance"]  # fmt: skip
    assert all(len(line) == 5 for line in results["table"])
    assert set(results["seconds"]) == {"pack", "pretrain", "embed", "probe", "index and search"}
    for name in (quickstart.PRETRAINED, quickstart.RANDOM, quickstart.LOGMEL):
        value, low, high = results["search"][name]
        assert 0 <= low <= value <= high <= 1
    assert 0.05 < results["search"]["chance"] < 0.2  # ten genres


def test_neighbours_are_by_other_artists(first: tuple[Path, dict]) -> None:
    _, results = first
    assert len(results["neighbours"]) == 3
    for query in results["neighbours"]:
        assert len(query["hits"]) == 5
        assert query["artist"] not in {hit["artist"] for hit in query["hits"]}


def test_random_initialisation_is_the_same_network_untrained(first: tuple[Path, dict]) -> None:
    out, _ = first
    pretrained, random, statistics = (Vectors(out / "vectors" / name) for name in
                                      ("pretrained", "random-initialisation", "log-mel-statistics"))  # fmt: skip
    assert pretrained.header["encoder"] == random.header["encoder"] != statistics.header["encoder"]
    assert pretrained.header["digest"] != random.header["digest"]
    spread = random.pooled.std(axis=0)
    assert (spread > 0).mean() > 0.5  # its norms were calibrated: it does not answer the same to everything


def test_second_run_goes_on_and_says_the_same(first: tuple[Path, dict]) -> None:
    out, results = first
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.suffix in (".bin", ".wav", ".ckpt")}
    catalog = Synthetic(out / "music", pieces=70, seconds=2.0, seed=1)
    again = quickstart.run(catalog, small_method(), training=TRAINING, out=out, seed=1, recipe={"seed": 1})
    assert again["table"] == results["table"]
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_the_page_stands_alone(first: tuple[Path, dict]) -> None:
    out, _ = first
    page = report.page(out).read_text(encoding="utf-8")
    assert page.count("<audio") >= 3 * 6 and "data:audio/" in page
    assert "http://" not in page.replace("http://www.w3.org", "") and "src=\"/" not in page  # fmt: skip
    for name in (quickstart.PRETRAINED, quickstart.RANDOM, quickstart.LOGMEL):
        assert name in page


def test_own_folder_without_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(20):
        wave = (rng.standard_normal(30_000) * 0.1).astype(np.float32)
        audio.write(tmp_path / "songs" / f"{number}.flac", wave, 22050)
    results = quickstart.run(
        Folder(tmp_path / "songs"), small_method(), training=TRAINING, out=tmp_path / "run", seed=0, recipe={}
    )
    assert results["probes"] == {} and results["search"] == {} and len(results["neighbours"]) > 0
    assert report.page(tmp_path / "run").is_file()


def test_probes_are_records_that_the_page_reads(first: tuple[Path, dict]) -> None:
    out, results = first
    for column, own in results["probes"].items():
        assert list(own) == [quickstart.PRETRAINED, quickstart.RANDOM, quickstart.LOGMEL]
        for who, path in own.items():
            result = ProbeResult.load(out / path)
            assert (result.column, result.name) == (column, who)
            assert str(result.metrics[result.primary]) in {cell for line in results["table"] for cell in line}


def test_records_of_other_columns_do_not_stay(first: tuple[Path, dict], tmp_path: Path) -> None:
    out, results = first
    loaded = {who: ProbeResult.load(out / path) for who, path in results["probes"]["genre"].items()}
    written = quickstart._save({"genre": loaded, "a/b": loaded}, tmp_path)
    (tmp_path / "results.json").write_text(json.dumps({"probes": written}))
    (tmp_path / "probes" / "mine.json").write_text("{}")
    assert all((tmp_path / path).is_file() for own in written.values() for path in own.values()) and len(written) == 2
    quickstart._save({"a/b": loaded}, tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.json")}
    assert left == {*written["a/b"].values(), "probes/mine.json", "results.json"}


def test_verdict_is_honest(first: tuple[Path, dict]) -> None:
    out, results = first
    genre = {who: ProbeResult.load(out / path) for who, path in results["probes"]["genre"].items()}
    worse, better = genre[quickstart.PRETRAINED], genre[quickstart.PRETRAINED]
    targets = worse.test[0].targets
    worse = replace(worse, test=[replace(worse.test[0], scores=1 - targets)])
    better = replace(better, test=[replace(better.test[0], scores=targets)])
    named = {who: replace(worse, name=who) for who in (quickstart.RANDOM, quickstart.LOGMEL)}
    named[quickstart.PRETRAINED] = replace(better, name=quickstart.PRETRAINED)
    wins, _ = quickstart._verdict({"genre": named})
    assert wins.startswith(
        "pretrained is better than random initialisation by 1.000 [1.000, 1.000] (balanced accuracy"
    )
    named[quickstart.PRETRAINED] = replace(worse, name=quickstart.PRETRAINED)
    named[quickstart.LOGMEL] = replace(better, name=quickstart.LOGMEL)
    level, loses = quickstart._verdict({"genre": named})
    assert "pretrained is not distinguishable from random initialisation" in level
    assert loses.startswith("log-mel statistics is better than pretrained by 1.000")


def test_command_line_takes_the_recipe_and_ones_own_folder(tmp_path: Path) -> None:
    built = parse._quickstart_arguments(verbs.quickstart, ["--out", str(tmp_path / "x"), "--seed", "3"])
    assert built["catalog"] is None and isinstance(built["method"], SimCLR)
    assert built["training"]["trainer_options"]["max_steps"] > 100 and built["seed"] == 3
    (tmp_path / "music").mkdir()
    own = parse._quickstart_arguments(verbs.quickstart, ["--catalog.root", str(tmp_path / "music")])
    assert isinstance(own["catalog"], Folder)
    with pytest.raises(UserError, match="no audio"):
        _ = own["catalog"].tracks
