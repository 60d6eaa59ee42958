"""Bad weights, rates and lengths as a user meets them on the command line: one line that says what came, what was
wanted and how to get it; exit code 2; nothing written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ssl_music import audio, checkpoint, cli
from ssl_music.encoders import LogMelStatistics, SampleCNN, ShortChunk
from ssl_music.errors import UserError
from ssl_music.tagger import Tagger

RATE = 16000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of music and a tagger's file; the tests work where they are."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    lines = ["path,artist,mood"]
    for number in range(12):
        audio.write(tmp_path / "music" / f"{number}.wav", (0.1 * rng.standard_normal(RATE)).astype(np.float32), RATE)
        lines.append(f"{number}.wav,artist {number},{['calm', 'loud'][number % 2]}")
    (tmp_path / "music" / "tags.csv").write_text("\n".join(lines))
    torch.manual_seed(0)
    encoder = ShortChunk(width=4, depth=3, bands=16, sample_rate=RATE, input_samples=8000, norm="group")
    tagger = Tagger(encoder, ["x", "y"], column="genre", multi_label=False)
    checkpoint.save(tmp_path / "t.safetensors", tagger, provenance={})
    return tmp_path


def told(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What `ssl-music` says of a mistake."""
    capsys.readouterr()
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


def tag(capsys: pytest.CaptureFixture[str], weights: str = "t.safetensors") -> str:
    return told(["tag", "music/0.wav", "--checkpoint", weights], capsys)


def rewrite(path: Path, *, weights: dict[str, Any] | None = None, **changes: Any) -> None:
    """Changes weights, and of the header what `changes` says: a dictionary goes into what is there, None away."""
    with safe_open(path, "pt") as file:
        header = file.metadata()
    for name, change in changes.items():
        merged = isinstance(change, dict)
        header[name] = json.dumps({**json.loads(header[name]), **change}) if merged else change
    kept = {name: value for name, value in header.items() if value is not None}
    save_file({**load_file(path), **(weights or {})}, path, metadata=kept)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": {"tags": ["x", "y", "z"]}}, "head for the 3 tags of 'genre' that the file names: head.1.weight is "
         "(2, 16) in the file, (3, 16) by its arguments (the first of 2 that differ)"),
        ({"head": {"tags": ["x", "q"]}}, "do not have the digest that the file states"),
        ({"head": {"tags": []}}, "Tagger that the file names cannot be built (a tagger wants one or more tags"),
        ({"head": {"colour": 1}}, "made by a Tagger with the argument 'colour', which this version does not know: a "
         "newer one has written it, update ssl_music. Known here: encoder, tags, column"),
        ({"head": "{"}, "the header is not as ssl_music writes it (JSONDecodeError"),
        ({"digest": None}, "the header is not as ssl_music writes it (KeyError('digest')): it is damaged"),
        ({"encoder": "[1]"}, "the header is not as ssl_music writes it (TypeError"),
        ({"encoder": {"spec": {"newer": 1}}}, "made by a ShortChunk with the argument 'newer'"),
        ({"encoder": {"spec": {"width": "four"}}}, "the ShortChunk that the file names cannot be built ("),
        ({"encoder": {"spec": {"input_samples": 5}}}, "cannot be built (ShortChunk of depth 7 and hop 256 wants"),
        ({"weights": {"stray": torch.zeros(2)}}, "stray is (2,) in the file, unknown by its arguments (the first of"),
        ({"weights": {"head.1.bias": torch.tensor([1.0, float("nan")])}}, "the weights head.1.bias are not finite (1 "
         "of 20 tensors hold NaN or infinity): its training has diverged, or it is damaged; take an earlier file"),
        ({"format": "ssl_music/9"}, "(format 'ssl_music/9', wanted 'ssl_music/1'); update ssl_music"),
        ({"format": None}, "(format 'none', wanted 'ssl_music/1'); give the encoder.safetensors or tagger.safeten"),
    ],
)  # fmt: skip
def test_changed_files(changes: dict, message: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(home / "t.safetensors", **changes)
    said = tag(capsys)
    assert said.startswith("ssl-music: error: t.safetensors: ") and message in said
    with pytest.raises(UserError):
        checkpoint.fill_encoder(SampleCNN(width=4), "t.safetensors")


def test_what_is_no_checkpoint(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {}}, "last.ckpt")
    assert "a .ckpt serves resuming only). Published weights of other programs come in by" in tag(capsys, "last.ckpt")
    assert "a folder, where a file is wanted; its .safetensors files: t.safetensors" in tag(capsys, ".")
    assert "music: a folder, where a file is wanted; its .safetensors files: none" in tag(capsys, "music")
    checkpoint.save("e.safetensors", checkpoint.load_encoder("t.safetensors"), provenance={})
    assert "holds a ShortChunk without a head, and tags need a tagger; train one: ssl-music pre" in tag(
        capsys, "e.safetensors"
    )


@pytest.mark.filterwarnings("ignore:column 'mood'")
def test_a_head_for_other_tags_is_left_behind_and_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = {
        "catalog": {"class_path": "Table", "init_args": {"table": "music/tags.csv"}},
        "method": {
            "class_path": "Supervised",
            "init_args": {
                "column": "mood",
                "encoder": {"class_path": "ShortChunk", "init_args": checkpoint.load_encoder("t.safetensors").spec()},
            },
        },
        "batch_size": 4,
        "valid_split": None,
        "trainer": {"max_steps": 1, "enable_progress_bar": False},
    }
    Path("recipe.yaml").write_text(json.dumps(recipe))
    words = ["pretrain", "--recipe", "recipe.yaml", "--init_from", "t.safetensors", "--out", "run"]
    assert cli.main(words) == 0
    error = capsys.readouterr().err
    assert "t.safetensors: a tagger, of which the encoder is taken; its head for the 2 tags of 'genre' is" in error
    assert checkpoint.load_tagger("run/tagger.safetensors").tags == ["calm", "loud"]

    arguments = "--method.encoder.init_args"
    said = told([*words, f"{arguments}.sample_rate", "8000"], capsys)
    assert "another encoder (sample_rate: 16000 in the file, 8000 in the recipe); make the recipe say" in said
    said = told([*words[:3], f"{arguments}.input_samples", "100", "--out", "o"], capsys)
    assert "wants input_samples of at least 1792; came 100" in said
    assert not Path("o").exists()


def test_a_pack_of_another_rate(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["pack", "--catalog.root", "music", "--out", "pack", "--sample_rate", "22050"]) == 0
    said = told(["embed", "--checkpoint", "t.safetensors", "--catalog.root", "pack", "--out", "v"], capsys)
    assert "pack: packed at 22050 Hz, but ShortChunk wants 16000 Hz; pack again with --sample_rate 16000" in said


@pytest.mark.parametrize("seconds", ["0", "-1", ".nan", ".inf", "1e-9"])
def test_hops_that_are_none(seconds: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["embed", "--checkpoint", "t.safetensors", "--catalog.root", "music", "--out", "v"]
    assert "a distance of at least one sample is wanted" in told([*words, "--hop_seconds", seconds], capsys)
    assert not Path("v").exists()


def test_waves_of_another_shape_are_told_how_to_become_the_right_one() -> None:
    encoder = LogMelStatistics()
    for shape, hint in [
        ((22050,), r"wave\[None, None\]"),
        ((2, 22050), r"wave\[:, None\]"),
        ((2, 2, 22050), r"wave.mean\(1, keepdim=True\)"),
    ]:
        with pytest.raises(UserError, match=rf"came \({shape[0]}.*: .*{hint}"):
            encoder(torch.zeros(shape))
    with pytest.raises(UserError, match="n_fft 1024 wants 513 input_samples or more; came 10"):
        LogMelStatistics(input_samples=10)
