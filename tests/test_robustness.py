"""The study: clean is clean, curves fall, intervals, interruptions, broken files, refusals, the verb."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_music import audio, checkpoint, cli
from ssl_music import pack as packing
from ssl_music._records import read_record
from ssl_music.catalogs import Catalog, Table
from ssl_music.embed import embed, embed_file
from ssl_music.encoders import LogMelStatistics
from ssl_music.errors import UserError
from ssl_music.probe import probe
from ssl_music.robustness import ALTERATIONS, robustness, rows
from ssl_music.robustness.cosines import Around, cosine, mean_interval
from ssl_music.vectors import Vectors

RATE = 8000
SPLITS = ("train", "train", "valid", "test")


def toy(**arguments: int) -> LogMelStatistics:
    facts = {"bands": 16, "sample_rate": RATE, "input_samples": RATE, "n_fft": 256, "hop": 128}
    return LogMelStatistics(**{**facts, **arguments})


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Low and high notes with a little noise, two takes a group, in three splits; every fourth short."""
    root = tmp_path_factory.mktemp("music")
    rng = np.random.default_rng(0)
    lines = ["path,register,mood,split,group"]
    for number in range(48):
        seconds = 1.6 if number % 4 == 0 else 3.2
        time = np.arange(round(seconds * RATE)) / RATE
        hz = rng.uniform(200, 500) if number % 2 else rng.uniform(900, 2000)
        wave = 0.2 * np.sin(2 * np.pi * hz * time) + 0.003 * rng.standard_normal(len(time))
        audio.write(root / f"{number:02d}.wav", wave.astype(np.float32), RATE)
        mood = "calm" if number % 2 else "dark,calm"
        split = SPLITS[number // 2 % 4]
        lines.append(f'{number:02d}.wav,{"low" if number % 2 else "high"},"{mood}",{split},take {number // 2}')
    (root / "songs.csv").write_text("\n".join(lines))
    return root


@pytest.fixture(scope="module")
def catalog(music: Path) -> Catalog:
    return Table(music / "songs.csv", columns=["register", "mood"], multi=["mood"])


def test_strength_zero_is_the_clean_score_exactly(catalog: Catalog, tmp_path: Path) -> None:
    nothing = {"gain up": [0.0], "offset": [0.0], "band limit": [RATE / 2]}
    record = robustness({"toy": toy()}, catalog, "register", tmp_path, alterations=nothing, progress=False)
    clean = probe(embed(catalog, toy(), tmp_path / "whole", progress=False), "register")
    for points in record.facts["encoders"]["toy"].values():
        assert points[0]["label"] == "clean" and points[0]["strength"] == 0.0
        for point in points:
            assert point["score"] == list(clean.metrics["balanced_accuracy"])
            assert point["change"] == [0.0, 0.0, 0.0]
            assert point["cosine"] == pytest.approx([1.0, 1.0, 1.0], abs=1e-12)
    facts = record.facts
    assert facts["metric"] == "balanced_accuracy" and facts["chance"] == clean.chance["balanced_accuracy"] == 0.5
    assert (facts["tracks"], facts["units"], facts["unit"]) == (12, 6, "groups") == (12, clean.units, clean.unit)
    assert facts["split_name"] == catalog.split_name and facts["origins"]["toy"]["digest"] == toy().digest()


def test_noise_takes_scores_and_cosines_down_step_by_step(catalog: Catalog, tmp_path: Path) -> None:
    record = robustness(
        {"toy": toy()}, catalog, "register", tmp_path, alterations={"noise": [40, 20, 0, -40]}, progress=False
    )
    points = record.facts["encoders"]["toy"]["noise"]
    assert [point["label"] for point in points] == ["clean", "SNR 40 dB", "SNR 20 dB", "SNR 0 dB", "SNR -40 dB"]
    scores = [point["score"][0] for point in points]
    assert scores[0] == 1.0 and scores == sorted(scores, reverse=True) and scores[-1] == pytest.approx(0.5, abs=0.2)
    cosines = [point["cosine"][0] for point in points]
    assert cosines == sorted(cosines, reverse=True) and cosines[-1] < 0.6
    assert points[1]["plain_cosine"][0] > 1 - (1 - cosines[1]) / 2  # all vectors point much the same way
    for point in points:
        assert point["change"][0] == pytest.approx(point["score"][0] - scores[0], abs=1e-12)
        for value, low, high in (point["score"], point["change"], point["cosine"], point["plain_cosine"]):
            assert low - 1e-9 <= value <= high + 1e-9
    assert points[-1]["change"][2] < 0  # the loss is beyond doubt


def test_what_the_probe_says_of_altered_tracks_is_what_it_says_of_altered_files(
    catalog: Catalog, music: Path, tmp_path: Path
) -> None:
    record = robustness(
        {"toy": toy()}, catalog, "mood", tmp_path, alterations={"offset": [0.5]}, drop=["calm"], progress=False
    )
    assert record.facts["metric"] == "roc_auc" and record.facts["chance"] == 0.5
    (stored,) = [Vectors(path) for path in tmp_path.glob("vectors/*/offset*")]
    for number, row in enumerate(stored.rows):
        cut = audio.read(music / row.id, RATE)[RATE // 2 :]
        audio.write(tmp_path / "cut.wav", cut, RATE)
        _, wanted = embed_file(tmp_path / "cut.wav", toy())
        first, behind = stored.chunk_range(number)
        np.testing.assert_allclose(stored.chunks[first:behind], wanted, atol=1e-3)
        assert row.seconds == len(cut) / RATE


def test_cosines_are_around_the_catalog_and_their_interval_over_groups(catalog: Catalog, tmp_path: Path) -> None:
    record = robustness(
        {"toy": toy()}, catalog, None, tmp_path, alterations={"gain down": [-20]}, bootstrap=300, progress=False
    )
    clean, point = record.facts["encoders"]["toy"]["gain down"]
    assert record.facts["column"] == record.facts["metric"] == "" and clean["score"] is point["score"] is None
    (a,) = [Vectors(path).pooled for path in tmp_path.glob("vectors/*/clean*")]
    (b,) = [Vectors(path).pooled for path in tmp_path.glob("vectors/*/gain*")]
    centred = [(one - a.mean(0)) / a.std(0) for one in (a, b)]
    naive = [float(x @ y / np.linalg.norm(x) / np.linalg.norm(y)) for x, y in zip(*centred, strict=True)]
    value, low, high = point["cosine"]
    assert value == pytest.approx(np.mean(naive), abs=1e-5)
    means = np.array(naive).reshape(6, 2).mean(1)  # two takes a group
    random = np.random.default_rng(1)
    wanted = np.quantile(means[random.integers(6, size=(4000, 6))].mean(1), [0.025, 0.975])
    assert [low, high] == pytest.approx(wanted, abs=0.15 * (high - low))


def test_numbers_are_read_too(music: Path, tmp_path: Path) -> None:
    lines = (music / "songs.csv").read_text().splitlines()
    count = [str(int(line.split(",")[1] == "high") * 2 + 1) for line in lines[1:]]
    table = "\n".join(f"{line},{end}" for line, end in zip(lines, ["level", *count], strict=True))
    (tmp_path / "songs.csv").write_text(table)
    numbers = Table(tmp_path / "songs.csv", root=music, columns=["level"])
    record = robustness(
        {"toy": toy()}, numbers, "level", tmp_path, alterations={"noise": [-40]}, regression=True, progress=False
    )
    clean, noisy = record.facts["encoders"]["toy"]["noise"]
    assert record.facts["metric"] == "r2" and record.facts["chance"] == 0.0
    assert clean["score"][0] > 0.9 > noisy["score"][0]


class Counting(LogMelStatistics):
    """Breaks off in the middle, as Ctrl-C does; the digest is that of the class it stands for."""

    calls, last = 0, 10**9

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        Counting.calls += 1
        if Counting.calls > Counting.last:
            raise KeyboardInterrupt
        return super().forward(wave)

    def facts(self) -> dict:
        return toy().facts()


@pytest.fixture
def counting() -> Iterator[Counting]:
    Counting.calls, Counting.last = 0, 10**9
    yield Counting(bands=16, sample_rate=RATE, input_samples=RATE, n_fft=256, hop=128)
    Counting.calls, Counting.last = 0, 10**9


def test_an_interrupted_study_goes_on_where_it_was(catalog: Catalog, counting: Counting, tmp_path: Path) -> None:
    wanted = {"alterations": {"noise": [20], "reverb": [0.5]}, "batch_size": 4, "progress": False}
    whole = robustness({"toy": toy()}, catalog, "register", tmp_path / "whole", **wanted)
    Counting.last = 35
    with pytest.raises(KeyboardInterrupt):
        robustness({"toy": counting}, catalog, "register", tmp_path / "cut", **wanted)
    assert not (tmp_path / "cut" / "robustness.json").exists()
    Counting.last = 10**9
    again = robustness({"toy": counting}, catalog, "register", tmp_path / "cut", **wanted)
    assert again.facts == whole.facts
    total = Counting.calls - 36
    Counting.calls = 0
    robustness({"toy": counting}, catalog, "register", tmp_path / "new", **wanted)
    assert total < Counting.calls  # what had been heard was not heard again
    Counting.calls = 0
    robustness({"toy": counting}, catalog, "register", tmp_path / "cut", **wanted)
    assert Counting.calls == 0
    noise = {**wanted, "alterations": {"noise": [20]}}
    robustness({"toy": counting}, catalog, "register", tmp_path / "cut", seed=1, **noise)
    assert Counting.calls > 0  # another seed is another noise


def test_vectors_that_are_there_are_taken_and_those_of_others_refused(
    catalog: Catalog, counting: Counting, tmp_path: Path
) -> None:
    made = embed(catalog, toy(), tmp_path / "made", progress=False)
    few = {"alterations": {"gain up": [6]}, "progress": False}
    record = robustness({"toy": counting}, catalog, "register", tmp_path / "a", clean={"toy": made}, **few)
    assert not list(tmp_path.glob("a/vectors/*/clean*"))
    other = robustness({"toy": toy()}, catalog, "register", tmp_path / "b", **few)
    assert record.facts == other.facts
    with pytest.raises(UserError, match="its digest is"):
        robustness({"toy": toy(bands=8)}, catalog, "register", tmp_path / "c", clean={"toy": made}, **few)
    with pytest.raises(UserError, match="unknown encoder of vectors made before: 'tyo'; did you mean 'toy'"):
        robustness({"toy": toy()}, catalog, "register", tmp_path / "c", clean={"tyo": made}, **few)
    dense = embed(catalog, toy(), tmp_path / "dense", hop_seconds=0.5, progress=False)
    with pytest.raises(UserError, match="its hop_samples is 4000"):
        robustness({"toy": toy()}, catalog, "register", tmp_path / "c", clean={"toy": dense}, **few)


def test_broken_and_too_short_tracks_are_named_and_part_of_no_point(music: Path, tmp_path: Path) -> None:
    text = (music / "songs.csv").read_text()
    sick = tmp_path / "sick"
    sick.mkdir()
    (sick / "songs.csv").write_text(text)
    for path in music.glob("*.wav"):
        (sick / path.name).write_bytes(b"no audio" if path.name == "07.wav" else path.read_bytes())
    catalog = Table(sick / "songs.csv", columns=["register"])
    record = robustness(
        {"toy": toy()}, catalog, "register", tmp_path / "out", alterations={"offset": [1.0, 2.0]}, progress=False
    )
    short = [f"{number:02d}.wav" for number in (14, 15, 22, 23, 6, 30, 31) if number % 4 == 0]
    assert set(record.facts["left_out"]) == {"07.wav", *short}
    assert record.facts["tracks"] == 12 - len(record.facts["left_out"])
    wav = sick / "06.wav"
    audio.write(wav, audio.read(wav, RATE)[: RATE // 2], RATE)
    record = robustness(
        {"toy": toy()}, catalog, "register", tmp_path / "out2", alterations={"offset": [1.0]}, progress=False
    )
    assert record.facts["left_out"]["06.wav"] == "ends before 1 s, where it was to begin"
    with pytest.raises(UserError, match="none of 12 tracks could be read"):
        robustness(
            {"toy": toy()}, catalog, "register", tmp_path / "out3", alterations={"offset": [4]}, progress=False
        )


def test_several_encoders_every_alteration_and_the_table(catalog: Catalog, tmp_path: Path) -> None:
    packed = packing.pack(catalog, tmp_path / "pack", sample_rate=RATE, progress=False)
    weak = {name: [its.strengths[1]] for name, its in ALTERATIONS.items()}
    both = {"a": toy(), "b": toy(bands=8)}
    record = robustness(
        both, packed, "register", tmp_path / "out", alterations=weak, max_tracks=8, bootstrap=50, progress=False
    )
    assert record.facts["tracks"] == 8 and not record.facts["left_out"]
    assert all(list(curves) == list(ALTERATIONS) for curves in record.facts["encoders"].values())
    json.loads((tmp_path / "out" / "robustness.json").read_text(), parse_constant=pytest.fail)  # no NaN in it
    with (tmp_path / "out" / "robustness.csv").open() as handle:
        lines = list(csv.DictReader(handle))
    assert len(lines) == 2 * 2 * len(ALTERATIONS)
    point = record.facts["encoders"]["b"]["noise"][1]
    (line,) = [one for one in lines if (one["encoder"], one["label"]) == ("b", "SNR 30 dB")]
    assert [float(line[f"cosine{end}"]) for end in ("", "_low", "_high")] == point["cosine"]
    shown = rows(record.facts)
    assert list(shown[0]) == ["effect", "strength", "encoder", "balanced accuracy", "change", "cosine"]
    assert [one["encoder"] for one in shown[:4]] == ["a", "a", "b", "b"]
    again = robustness(
        both, packed, "register", tmp_path / "out", alterations=weak, max_tracks=8, bootstrap=50, progress=False
    )
    assert again.facts == record.facts == read_record(tmp_path / "out" / "robustness.json").facts


def test_cosines_of_nothing() -> None:
    with pytest.raises(UserError, match="all 3 tracks have the same vector"):
        Around(np.ones((3, 4)))
    assert np.isnan(cosine(np.zeros((1, 2)), np.ones((1, 2)))).all()
    held = mean_interval(np.array([0.5, np.nan]), np.array([[1.0, 1.0], [0.0, 2.0]]))
    assert held == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    "arguments, told",
    [
        ({"column": "registr"}, "unknown label column 'registr'; did you mean 'register'"),
        ({"alterations": ["nois"]}, "unknown alteration 'nois'; did you mean 'noise'"),
        ({"alterations": {"pitch up": [20]}}, "an octave is the most"),
        ({"test": "tset"}, "unknown split 'tset'; did you mean 'test'"),
        ({"test": "train"}, "share tracks"),
        ({"protocol": "liner"}, "unknown protocol 'liner'; did you mean 'linear'"),
        ({"max_tracks": 1}, "two tracks or more"),
        ({"encoders": {}}, "no encoders"),
    ],
)
def test_mistakes_are_told_before_anything_is_altered(
    catalog: Catalog, tmp_path: Path, arguments: dict, told: str
) -> None:
    usual = {"encoders": {"toy": toy()}, "column": "register", "alterations": ["noise"]}
    with pytest.raises(UserError, match=told):
        robustness(catalog=catalog, out=tmp_path, progress=False, **{**usual, **arguments})
    assert not list(tmp_path.glob("vectors/*/noise*"))


def test_the_verb(music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, bands in (("small", 8), ("large", 16)):
        checkpoint.save(tmp_path / name / "encoder.safetensors", toy(bands=bands), provenance={})
    words = ["robustness", "--checkpoint", str(tmp_path / "small/encoder.safetensors")]
    words += ["--catalog", "Table", "--catalog.table", str(music / "songs.csv"), "--column", "register"]
    words += ["--out", str(tmp_path / "out"), "--bootstrap", "50"]
    other = ["--against", f"[{tmp_path / 'large/encoder.safetensors'}]"]
    assert cli.main([*words, *other, "--alterations", "{noise: [10], gain up: [6]}"]) == 0
    printed = capsys.readouterr().out
    assert "register: linear probe, fitted to unaltered music; chance 0.500" in printed
    assert "SNR 10 dB  large" in printed and "+6 dB" in printed and "robustness.json" in printed
    assert list(read_record(tmp_path / "out" / "robustness.json").facts["encoders"]) == ["small", "large"]
    assert cli.main([*words, "--alterations", "[offset, nois]"]) == 2
    assert "did you mean 'noise'" in capsys.readouterr().err
    assert cli.main([*words, "--against", f"[{tmp_path / 'small/encoder.safetensors'}]"]) == 2
    assert "given twice" in capsys.readouterr().err
    made = tmp_path / "made"
    embed(Table(music / "songs.csv"), toy(bands=4), made, progress=False)
    assert cli.main([*words, "--vectors", f"[{made}]"]) == 2
    assert "which none of the encoders has (small " in capsys.readouterr().err
