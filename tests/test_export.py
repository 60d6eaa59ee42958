"""Exported files: every encoder gives what torch gives; ONNX Runtime in place of torch; nothing wrong is written."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from contracts.test_encoders import ENCODERS, SMALL, build, lived_in, noise
from torch import Tensor

from ssl_music import audio, checkpoint, cli
from ssl_music.catalogs import Folder
from ssl_music.embed import embed, tag_files
from ssl_music.encoders import Encoder, SampleCNN
from ssl_music.errors import UserError
from ssl_music.export import OnnxTagger, export, load_encoder, load_tagger
from ssl_music.export.check import TOLERANCE, Trial
from ssl_music.export.runtime import OnnxFile
from ssl_music.export.stft import exact_stft, matrix_stft
from ssl_music.tagger import Tagger

RATE = 8000
TAGS = ["calm", "loud", "é"]


def small(name: str) -> Encoder:
    return lived_in(build(ENCODERS[name], SMALL.get(name, [{}])[0]))


def waves(encoder: Encoder) -> list[Tensor]:
    """Other ones than those which `export` itself tries: lengths between, a tone, loud and quiet clips."""
    between = (encoder.minimum_samples + encoder.input_samples) // 2
    tone = torch.sin(torch.arange(encoder.input_samples) * 0.3).view(1, 1, -1)
    return [
        noise(encoder, rows=2, samples=between),
        noise(encoder, rows=5, samples=3 * encoder.input_samples + 11),
        tone + 0.01 * noise(encoder, rows=1),
        noise(encoder) * torch.tensor([1e-2, 1.0, 5.0]).view(3, 1, 1),
    ]


def assert_same(other: Callable[[Tensor], Tensor], encoder: Encoder) -> None:
    for wave in waves(encoder):
        with torch.inference_mode():
            wanted, came = encoder(wave), other(wave)
        assert came.shape == wanted.shape
        assert float((came - wanted).abs().max() / wanted.abs().max()) < 1e-4


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_by_onnx_runtime(name: str, tmp_path: Path) -> None:
    encoder = small(name)
    done = export(encoder, tmp_path / "encoder.onnx")
    assert done.difference <= TOLERANCE
    assert {trial.batch for trial in done.trials} == {1, 3}
    assert min(trial.samples for trial in done.trials) == encoder.minimum_samples
    model = onnx.load(tmp_path / "encoder.onnx")
    onnx.checker.check_model(model, full_check=True)
    shapes = [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    ]
    assert shapes == [["batch", 1, "time"], ["batch", encoder.embedding_dim]]
    assert "STFT" not in {node.op_type for node in model.graph.node}
    assert str(Path(__file__).parents[1]).encode() not in (tmp_path / "encoder.onnx").read_bytes()
    assert_same(load_encoder(tmp_path / "encoder.onnx"), encoder)


@pytest.mark.parametrize("name", list(ENCODERS)[5::3])
def test_encoders_by_torch_export(name: str, tmp_path: Path) -> None:
    encoder = small(name)
    assert export(encoder, tmp_path / "encoder.pt2").difference < 1e-5
    files = {"ssl_music.json": ""}
    program = torch.export.load(tmp_path / "encoder.pt2", extra_files=files).module()
    assert_same(lambda wave: program(wave)[0], encoder)
    assert json.loads(files["ssl_music.json"])["digest"] == encoder.digest()
    assert str(Path(__file__).parents[1]).encode() not in (tmp_path / "encoder.pt2").read_bytes()


@pytest.mark.parametrize(
    "settings",
    [
        {"n_fft": 512, "hop_length": 256},
        {"n_fft": 400, "hop_length": 160, "win_length": 320, "normalized": True},
        {"n_fft": 101, "hop_length": 7, "center": False},
        {"n_fft": 128, "pad_mode": "constant"},
    ],
    ids=str,
)
def test_the_product_is_the_stft(settings: dict[str, Any]) -> None:
    wave = torch.randn(2, 2000, generator=torch.Generator().manual_seed(0))
    window = torch.hann_window(settings.get("win_length", settings["n_fft"]))
    wanted = torch.stft(wave, **settings, window=window, return_complex=True)
    with matrix_stft():
        came = torch.stft(wave, **settings, window=window, return_complex=True)
    torch.testing.assert_close(came, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))
    with exact_stft():
        exact = torch.stft(wave, **settings, window=window, return_complex=True)
    assert exact.dtype == wanted.dtype and not torch.equal(exact, wanted)
    torch.testing.assert_close(exact, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))
    with matrix_stft(), pytest.raises(UserError, match="onesided=False"):
        torch.stft(wave, **settings, window=window, return_complex=True, onesided=False)


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    encoder = lived_in(build(SampleCNN, {"width": 4, "depth": 7, "sample_rate": RATE}))
    return Tagger(encoder, TAGS, column="mood", multi_label=False, hidden_dim=5, dropout=0.5).eval()


@pytest.fixture(scope="module")
def files(tagger: Tagger, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tagger.safetensors, tagger.onnx and a folder of music."""
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    for number, seconds in enumerate([0.5, 1.1, 2.9, 4.0]):
        wave = (rng.standard_normal(round(seconds * RATE)) * 0.1).astype(np.float32)
        audio.write(folder / "music" / f"{number}.wav", wave, RATE)
    checkpoint.save(folder / "tagger.safetensors", tagger, provenance={"recipe": {"seed": 1}})
    export(tagger, folder / "tagger.onnx", provenance={"recipe": {"seed": 1}}, music=folder / "music" / "3.wav")
    return folder


def test_a_tagger_gives_probabilities_and_embedding(tagger: Tagger, files: Path) -> None:
    found = load_tagger(files / "tagger.onnx")
    assert (found.tags, found.digest(), found.encoder.digest()) == (TAGS, tagger.digest(), tagger.encoder.digest())
    assert found.multi_label == tagger.multi_label
    for wave in waves(tagger.encoder):
        torch.testing.assert_close(found.probabilities(wave), tagger.probabilities(wave), rtol=0, atol=1e-5)
    facts = {prop.key: prop.value for prop in onnx.load(files / "tagger.onnx").metadata_props}
    assert json.loads(facts["tags"]) == TAGS and json.loads(facts["provenance"]) == {"recipe": {"seed": 1}}
    assert (facts["sample_rate"], facts["input_samples"]) == ("8000", str(tagger.encoder.input_samples))
    assert facts["class_path"] == "ssl_music.encoders.samplecnn.SampleCNN"


def test_embedding_and_tagging_without_torch(tagger: Tagger, files: Path, tmp_path: Path) -> None:
    encoder, music = load_encoder(files / "tagger.onnx"), Folder(files / "music")
    ours = embed(music, tagger.encoder, tmp_path / "torch", progress=False)
    theirs = embed(music, encoder, tmp_path / "onnx", progress=False, batch_size=3)
    np.testing.assert_allclose(theirs.chunks, ours.chunks, rtol=0, atol=1e-4 * np.abs(ours.chunks).max())
    assert theirs.header["digest"] == ours.header["digest"]
    assert theirs.header["encoder"] == ours.header["encoder"] + " by ONNX Runtime"
    with pytest.raises(UserError, match="was made with"):  # one store is of one kind
        embed(music, encoder, tmp_path / "torch", progress=False)
    exact = dict(tag_files([files / "music"], tagger, progress=False))
    for path, probabilities in tag_files([files / "music"], load_tagger(files / "tagger.onnx"), progress=False):
        np.testing.assert_allclose(probabilities, exact[path], atol=1e-5)


def test_the_commands(tagger: Tagger, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, vectors = str(files / "tagger.onnx"), str(tmp_path / "vectors")
    embedding = ["embed", "--catalog.root", str(files / "music"), "--out", vectors, "--checkpoint"]
    assert cli.main([*embedding, str(files / "tagger.safetensors")]) == 0
    assert cli.main(["index", "--vectors", vectors]) == 0
    song = str(files / "music" / "2.wav")
    assert cli.main(["search", song, "--index", f"{vectors}/index", "--checkpoint", model, "--format", "json"]) == 0
    assert '"id": "2.wav"' in capsys.readouterr().out
    assert cli.main(["tag", song, "--checkpoint", model]) == 0
    assert "calm" in capsys.readouterr().out

    weights = ["export", "--checkpoint", str(files / "tagger.safetensors"), "--out"]
    assert cli.main([*weights, str(tmp_path / "t.pt2"), "--music", song]) == 0
    told = capsys.readouterr()
    assert f"weights {tagger.digest()}; largest difference from torch for noise and music" in told.out
    assert not told.err
    assert cli.main([*weights, str(tmp_path / "e.safetensors"), "--encoder_only", "true"]) == 0
    assert checkpoint.load(tmp_path / "e.safetensors").digest() == tagger.encoder.digest()
    assert checkpoint.provenance(tmp_path / "e.safetensors") == {"recipe": {"seed": 1}}
    assert cli.main([*weights, str(tmp_path / "t.tflite")]) == 2
    assert "'.tflite'. Known: .onnx, .pt2, .safetensors" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.safetensors", "t.pt2", "vectors"]


def test_threads_are_as_many_as_torchs(files: Path) -> None:
    options = OnnxFile(files / "tagger.onnx").session.get_session_options()
    assert options.intra_op_num_threads == torch.get_num_threads()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_devices(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    encoder = load_encoder(files / "tagger.onnx")
    assert encoder.choose_device("auto") == encoder.choose_device("cpu") == torch.device("cpu")
    for name in ("abacus", "cuda:x"):
        with pytest.raises(UserError, match="takes auto, cpu or cuda"):
            encoder.choose_device(name)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(UserError, match="no CUDA; take cpu, or install onnxruntime-gpu"):
        encoder.choose_device("cuda:1")


def test_bad_waves_are_refused(files: Path) -> None:
    encoder = load_encoder(files / "tagger.onnx")
    with pytest.raises(UserError, match=r"wants at least 6561 samples .* came 100"):
        encoder(torch.zeros(1, 1, 100))
    with pytest.raises(UserError, match="wants waves of shape"):
        encoder(torch.zeros(1, 7000))


def test_damaged_and_foreign_files(files: Path, tmp_path: Path) -> None:
    whole, path = (files / "tagger.onnx").read_bytes(), tmp_path / "m.onnx"
    with pytest.raises(UserError, match="no such file"):
        load_encoder(path)
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    graph = onnx.helper.make_graph([], "none", [], [])
    foreign = onnx.helper.make_model(graph).SerializeToString()
    for content in (whole[:-1], whole[: len(whole) // 2], bytes(changed), whole + b"x", foreign, b"no model", b""):
        path.write_bytes(content)
        with pytest.raises(UserError, match="another program's, or damaged, or changed since"):
            load_encoder(path)


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_extra_is_named(missing: str, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UserError, match=r"extra `onnx`: pip install 'ssl-music\[onnx\]'"):
        if missing == "onnxruntime":
            load_encoder(files / "tagger.onnx")
        export(build(SampleCNN, {"width": 2, "depth": 3}), tmp_path / "e.onnx")
    assert not list(tmp_path.iterdir())


class Toy(Encoder):
    """As loud as the clip is on the average, twice."""

    sample_rate, input_samples, minimum_samples, embedding_dim = RATE, 64, 8, 2

    def __init__(self) -> None:
        super().__init__()

    def forward(self, wave: Tensor) -> Tensor:
        return self.check(wave).abs().mean(2).expand(-1, 2)


class Different(Toy):
    def forward(self, wave: Tensor) -> Tensor:
        return super().forward(wave) * (1.001 if torch.compiler.is_compiling() else 1.0)


class Branching(Toy):
    def forward(self, wave: Tensor) -> Tensor:
        return super().forward(wave) if wave.max() > 0 else torch.zeros(len(wave), 2)


class Diverged(Toy):
    def forward(self, wave: Tensor) -> Tensor:
        return super().forward(wave) / 0


@pytest.mark.parametrize(
    "kind, told",
    [
        (Different, r"not written: .* torch's by 1.0e-03 of the largest, for noise \(1, 1, 8\); at most 0.0001"),
        (
            Branching,
            "Branching cannot be exported, torch.export cannot follow its forward for every batch and length",
        ),
        (Diverged, r"torch itself gives no finite numbers for noise \(1, 1, 8\)"),
    ],
)
def test_what_is_wrong_is_not_written(kind: type[Toy], told: str, tmp_path: Path) -> None:
    assert export(Toy(), tmp_path / "good.pt2").difference == 0
    with pytest.raises(UserError, match=told):
        export(kind(), tmp_path / "bad.pt2")
    assert [path.name for path in tmp_path.iterdir()] == ["good.pt2"]


def test_rounding_of_empty_bands_is_told_and_not_excused(tmp_path: Path) -> None:
    """A loud pure tone without noise: whatever the other bands say is rounding, in decibels."""
    encoder = small("LogMelStatistics")
    tone = np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE).astype(np.float32)
    audio.write(tmp_path / "tone.wav", 0.9 * tone, RATE)
    audio.write(tmp_path / "silence.wav", 0 * tone, RATE)
    with pytest.raises(UserError, match=r"not written: .* for music .* beside exact spectra torch is .* other music"):
        export(encoder, tmp_path / "e.onnx", music=tmp_path / "tone.wav")
    with pytest.raises(UserError, match="silent where it was read"):
        export(encoder, tmp_path / "e.pt2", music=tmp_path / "silence.wav")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["silence.wav", "tone.wav"]


@pytest.mark.parametrize(
    "trial, passed",
    [
        (Trial("music", 1, 9, 1e-4), True),
        (Trial("music", 1, 9, 1.1e-4, (5e-4, 1e-6)), False),
        (Trial("noise", 1, 9, float("nan")), False),
        (Trial("silence", 1, 9, 0.4), True),
        (Trial("silence", 1, 9, float("nan")), False),
    ],
)
def test_what_passes(trial: Trial, passed: bool) -> None:
    assert trial.passed == passed


def test_an_encoders_file_cannot_tag(files: Path) -> None:
    file = OnnxFile(files / "tagger.onnx")
    file.facts = {**file.facts, "tags": "[]"}
    with pytest.raises(UserError, match="without a head, and tags need a tagger"):
        OnnxTagger(file)
