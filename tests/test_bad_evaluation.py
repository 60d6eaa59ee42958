"""Bad input as a user of the evaluating verbs meets it: one line that says what came, what was wanted and what to do,
exit code 2; and nothing left out unsaid."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_music import audio, checkpoint, cli
from ssl_music.encoders import ShortChunk
from ssl_music.tagger import Tagger

RATE = 16000
SPLITS = ["train"] * 4 + ["valid"] * 2 + ["test"] * 2
LABELLED = ["--catalog.root", "music", "--catalog.labels", "songs.csv", "--catalog.columns", "[mood]"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of music with labels, a broken and an empty file in it, and weights; the tests work where they are."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    lines = ["path,mood,split"]
    for number in range(24):
        wave = 0.1 * rng.standard_normal(RATE) + (number % 2) * np.sin(np.arange(RATE) / 9) / 2
        audio.write(tmp_path / "music" / f"{number:02d}.wav", wave.astype(np.float32), RATE)
        lines.append(f"{number:02d}.wav,{['calm', 'loud'][number % 2]},{SPLITS[number // 2 % 8]}")
    (tmp_path / "music" / "empty.wav").write_bytes((tmp_path / "music" / "00.wav").read_bytes()[:44])
    (tmp_path / "music" / "broken.mp3").write_bytes(rng.bytes(3000))
    (tmp_path / "songs.csv").write_text("\n".join([*lines, "broken.mp3,calm,train", "empty.wav,loud,test"]))
    torch.manual_seed(0)
    encoder = ShortChunk(width=4, depth=3, bands=16, sample_rate=RATE, input_samples=8000, norm="group")
    checkpoint.save(tmp_path / "e.safetensors", encoder, provenance={})
    tagger = Tagger(encoder, ["calm", "loud"], column="mood", multi_label=False)
    checkpoint.save(tmp_path / "t.safetensors", tagger, provenance={})
    return tmp_path


def told(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What `ssl-music` says of a mistake."""
    capsys.readouterr()
    assert cli.main(list(words)) == 2
    said = capsys.readouterr().err
    assert said.count("ssl-music: error: ") == 1 and said.splitlines()[-1].startswith("ssl-music: error: ")
    return said


GAIN = ["--alterations", "{gain up: [3]}"]
WRITING = {
    "tag": ["tag", "music/00.wav", "--checkpoint", "t.safetensors", "--format", "csv"],
    "taggram": ["taggram", "music/00.wav", "--checkpoint", "t.safetensors"],
    "probe": ["probe", "--checkpoint", "e.safetensors", *LABELLED],
    "bench probe": ["bench", "probe", "--encoders", "{e: e.safetensors}", *LABELLED],
    "bench pooling": ["bench", "pooling", "--checkpoint", "e.safetensors", *LABELLED],
    "robustness": ["robustness", "--checkpoint", "e.safetensors", *LABELLED, "--column", "mood", *GAIN],
}


@pytest.mark.parametrize("verb", WRITING)
def test_a_place_that_cannot_be_written(verb: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (home / "songs.csv").read_bytes()
    for place in ("songs.csv", "songs.csv/below"):
        out = f"{place}/a.csv" if verb == "tag" else place
        said = told([*WRITING[verb], "--out", out], capsys)
        assert place in said and ("choose another" in said)
    assert (home / "songs.csv").read_bytes() == before


def test_a_score_is_kept_as_a_record(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score = ["score", "scores.csv", *LABELLED, "--out"]
    assert "no such file" in told([*score, "r.json"], capsys)
    assert "r/mine: the name of a record ends in .json" in told([*score, "r/mine"], capsys)
    assert "songs.csv: no folder can be made there" in told([*score, "songs.csv/mine.json"], capsys)


@pytest.mark.parametrize("verb", ["probe", "bench probe", "bench pooling", "robustness"])
def test_files_that_take_no_part_are_named(verb: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*WRITING[verb], "--out", "out"]) == 0
    said = capsys.readouterr()
    assert "not heard: broken.mp3: no audio that can be read" in said.err
    assert "empty.wav: " in said.err + said.out
    assert cli.main([*WRITING[verb], "--out", "out"]) == 0
    again = capsys.readouterr()
    assert again.out == said.out and "not heard: broken.mp3" in again.err


def test_nothing_left_to_score_without_the_leaks(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The only test track that was not met in pretraining is one that cannot be heard."""
    heard = [line for line in (home / "songs.csv").read_text().splitlines() if ".wav" in line and "empty" not in line]
    (home / "met.csv").write_text("\n".join(["path,mood,split", *heard]))
    met = ["--pretrained_on", "Table", "--pretrained_on.table", "met.csv", "--pretrained_on.root", "music"]
    said = told([*WRITING["bench probe"], *met, "--pretrained_split", "all", "--leaks", "exclude"], capsys)
    assert "task 'mood': " in said and "nothing can be scored on them; take another test split" in said


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_onnx_file_has_no_fresh_weights_and_learns_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    for broken in ("broken.mp3", "empty.wav"):
        (home / "music" / broken).unlink()
    lines = (home / "songs.csv").read_text().splitlines()
    (home / "songs.csv").write_text("\n".join(lines[:-2]))
    assert cli.main(["export", "--checkpoint", "e.safetensors", "--out", "e.onnx"]) == 0
    asked = ["probe", "--checkpoint", "e.onnx", *LABELLED, "--out", "out"]
    assert "not an .onnx file; give the .safetensors file" in told([*asked, "--baselines", "[random]"], capsys)
    assert "an .onnx file cannot be trained" in told([*asked, "--protocol", "finetune"], capsys)


def test_another_protocol_leaves_a_record_of_its_own(home: Path) -> None:
    for options in ([], ["--protocol", "knn"], ["--pool", "scores"], ["--protocol", "knn"]):
        assert cli.main([*WRITING["probe"], "--out", "out", *options]) == 0
    assert sorted(path.name for path in (home / "out" / "probes" / "mood").glob("*.json")) == [
        "e-knn.json",
        "e-scores.json",
        "e.json",
    ]
