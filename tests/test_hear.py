"""HEAR's common API, as its validator checks it and as its rules ask.

`hearvalidator` brings TensorFlow (2 GB, as much as everything else), so it is an extra of its own, `hear`, and runs
here where it is installed. What it checks of a torch model is written out for every encoder in the first three tests,
named after the methods of `hearvalidator.validate.ValidateModel`."""

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contracts.test_encoders import CASES, lived_in
from torch import Tensor

from ssl_music import audio, checkpoint, hear
from ssl_music.embed import embed_file
from ssl_music.encoders import Encoder, LogMelStatistics, SampleCNN
from ssl_music.errors import UserError
from ssl_music.hear import HearModel, get_scene_embeddings, get_timestamp_embeddings, load_model
from ssl_music.tagger import Tagger

cases = pytest.mark.parametrize(("kind", "arguments"), CASES)


def loaded(kind: type[Encoder], arguments: dict[str, Any], folder: Path, **options: Any) -> HearModel:
    """What a file of that encoder gives; where the rate is an argument, at one of HEAR's."""
    torch.manual_seed(0)
    rate = arguments.get("sample_rate", kind(**arguments).sample_rate)
    encoder = kind(**{**arguments, "sample_rate": 16000 if rate not in hear.SAMPLE_RATES_HZ else rate})
    checkpoint.save(folder / "encoder.safetensors", lived_in(encoder), provenance={})
    return load_model(str(folder / "encoder.safetensors"), **options)


def noise(model: HearModel, sounds: int, seconds: float) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(sounds, int(seconds * model.sample_rate), generator=generator) * 2 - 1


@pytest.fixture
def model() -> HearModel:
    encoder = LogMelStatistics(bands=16, sample_rate=16000, input_samples=4000, n_fft=256, hop=128)
    return HearModel(encoder.eval())


@cases
def test_check_load_model_sample_rate_and_embedding_size(kind: type, arguments: dict, tmp_path: Path) -> None:
    model = loaded(kind, arguments, tmp_path)
    assert isinstance(model, torch.nn.Module) and not model.training
    assert model.sample_rate in [16000, 22050, 44100, 48000]
    assert type(model.scene_embedding_size) is int and type(model.timestamp_embedding_size) is int
    assert model.scene_embedding_size == model.encoder.embedding_dim


@cases
def test_torch_timestamp_embeddings(kind: type, arguments: dict, tmp_path: Path) -> None:
    model = loaded(kind, arguments, tmp_path, hop_ms=50 if kind is LogMelStatistics else 333.3)
    embeddings, timestamps = get_timestamp_embeddings(noise(model, 4, 2.0), model)
    assert embeddings.dtype == torch.float32
    assert embeddings.ndim == 3 and timestamps.ndim == 2
    assert embeddings.shape[:2] == timestamps.shape and len(embeddings) == 4
    assert embeddings.shape[2] == model.timestamp_embedding_size
    distances = timestamps.diff()
    assert (distances.mean() - model.hop_ms).abs() < 1e-9
    assert ((distances - distances.mean()).abs() < 1e-3).all()


@cases
def test_torch_scene_embeddings(kind: type, arguments: dict, tmp_path: Path) -> None:
    model = loaded(kind, arguments, tmp_path)
    embeddings = get_scene_embeddings(noise(model, 8, 3.74), model)
    assert embeddings.dtype == torch.float32
    assert embeddings.shape == (8, model.scene_embedding_size)
    assert embeddings.isfinite().all()


@pytest.mark.skipif(importlib.util.find_spec("hearvalidator") is None, reason="extra hear is not installed")
def test_the_validator_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("tensorflow") is None:  # it only asks whether our model is one of tensorflow's
        monkeypatch.setitem(sys.modules, "tensorflow", types.SimpleNamespace(Module=type("Module", (), {})))
    from hearvalidator.validate import ModelError, ValidateModel

    loaded(SampleCNN, {"width": 4, "depth": 5}, tmp_path)
    ValidateModel("ssl_music.hear", str(tmp_path / "encoder.safetensors"), device="cpu")()

    def irregular(sounds: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
        return torch.zeros(len(sounds), 3, model.timestamp_embedding_size), torch.tensor(
            [[0, 50, 90.0]] * len(sounds)
        )

    monkeypatch.setattr(hear, "get_timestamp_embeddings", irregular)
    with pytest.raises(ModelError, match="regular intervals"):  # it does look
        ValidateModel("ssl_music.hear", str(tmp_path / "encoder.safetensors"), device="cpu")()


class Remembering(Encoder):
    """Its embedding is the first, the middle and the last sample of the window."""

    sample_rate, input_samples, embedding_dim = 16000, 1600, 3

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, wave: Tensor) -> Tensor:
        self.batches.append(len(self.check(wave)))
        return wave[:, 0, [0, 800, 1599]]


@pytest.mark.parametrize("hop_ms", [50.0, 33.3, 7.01, 1 / 16])
@pytest.mark.parametrize("samples", [1, 799, 800, 1601, 16000])
def test_windows_are_centred_at_timestamps_and_zero_outside(hop_ms: float, samples: int) -> None:
    model = HearModel(Remembering(), hop_ms=hop_ms)
    wave = torch.arange(1.0, samples + 1).repeat(2, 1)  # its own sample number, plus one
    embeddings, timestamps = get_timestamp_embeddings(wave, model)
    centres = (timestamps[0] * 16).round()  # in samples
    assert centres[0] == 0 and samples - 1 - hop_ms * 16 <= centres[-1] <= samples
    assert (timestamps.diff() - hop_ms).abs().max() < 1e-9 if len(centres) > 1 else samples <= hop_ms * 16
    for column, offset in enumerate([-800, 0, 799]):
        at = centres + offset
        expected = torch.where((at >= 0) & (at < samples), at + 1, 0.0).float()
        assert torch.equal(embeddings[0, :, column], expected)
    assert torch.equal(embeddings[0], embeddings[1])


def test_default_hop_is_what_hear_suggests(model: HearModel) -> None:
    _, timestamps = get_timestamp_embeddings(noise(model, 1, 1.0), model)
    assert timestamps[0].tolist() == [50.0 * number for number in range(20)]


@cases
def test_a_sound_alone_is_the_sound_in_a_batch(kind: type, arguments: dict, tmp_path: Path) -> None:
    model = loaded(kind, arguments, tmp_path, hop_ms=250, batch_size=3)
    sounds = noise(model, 3, 0.7)
    together, scenes = get_timestamp_embeddings(sounds, model)[0], get_scene_embeddings(sounds, model)
    model.batch_size = 16
    for row in range(3):
        alone = get_timestamp_embeddings(sounds[row : row + 1], model)[0]
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-4)
        alone = get_scene_embeddings(sounds[row : row + 1], model)
        torch.testing.assert_close(scenes[row : row + 1], alone, rtol=1e-4, atol=1e-4)


def test_ten_minutes_pass_in_bounded_batches() -> None:
    """HEAR: "up to 20 minutes of audio without exceeding 16GB". What grows is the sound itself and its vectors."""
    encoder = Remembering()
    encoder.input_samples = 48000  # 3 s
    model = HearModel(encoder, batch_size=7)
    wave = torch.zeros(1, 600 * 16000)
    assert get_timestamp_embeddings(wave, model)[0].shape == (1, 12000, 3)
    assert max(encoder.batches) == 7 and sum(encoder.batches) == 12000
    encoder.batches.clear()
    assert get_scene_embeddings(wave.view(10, -1), model).shape == (10, 3)
    assert max(encoder.batches) == 7 and sum(encoder.batches) == 10 * 20


@pytest.mark.parametrize("seconds", [0.1, 0.25, 1.0, 1.13, 1.2])
def test_scene_is_the_vector_of_embed(seconds: float, model: HearModel, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    audio.write(tmp_path / "a.wav", (0.1 * rng.standard_normal(int(seconds * 16000))).astype(np.float32), 16000)
    _, chunks = embed_file(tmp_path / "a.wav", model.encoder)
    wave = np.concatenate(list(audio.Stream(tmp_path / "a.wav", 16000)))
    scene = get_scene_embeddings(torch.from_numpy(wave)[None], model)
    np.testing.assert_allclose(scene[0].numpy(), chunks.mean(axis=0), atol=1e-4)


def test_taggers_give_their_encoder_and_embeddings_can_be_learnt_from(tmp_path: Path) -> None:
    tagger = Tagger(SampleCNN(width=4, depth=5), ["a", "b"], column="x", multi_label=True).eval()
    checkpoint.save(tmp_path / "tagger.safetensors", tagger, provenance={})
    model = load_model(tmp_path / "tagger.safetensors")
    sounds = noise(model, 2, 0.5)
    scenes = get_scene_embeddings(sounds, model)
    torch.testing.assert_close(scenes, get_scene_embeddings(sounds, HearModel(tagger.encoder)), rtol=0, atol=0)
    assert not scenes.requires_grad
    torch.nn.Linear(scenes.shape[1], 1)(scenes).sum().backward()


def test_evaluation_mode_and_the_sounds_stay(tmp_path: Path) -> None:
    model = loaded(SampleCNN, {"width": 4, "depth": 5}, tmp_path)
    sounds = noise(model, 2, 0.5)
    kept, scenes, digest = sounds.clone(), get_scene_embeddings(sounds, model), model.encoder.digest()
    model.train()
    assert torch.equal(get_scene_embeddings(sounds, model), scenes)
    assert torch.equal(sounds, kept) and model.encoder.digest() == digest
    torch.testing.assert_close(get_scene_embeddings(sounds.double(), model), scenes)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("sounds_on", ["cpu", "cuda"])
def test_models_on_the_gpu(sounds_on: str, tmp_path: Path) -> None:
    model = loaded(SampleCNN, {"width": 4, "depth": 5}, tmp_path, hop_ms=200)
    sounds = noise(model, 2, 1.0)
    expected, times = get_timestamp_embeddings(sounds, model)
    embeddings, timestamps = get_timestamp_embeddings(sounds.to(sounds_on), model.to("cuda"))
    assert embeddings.device.type == timestamps.device.type == sounds_on
    torch.testing.assert_close(embeddings.cpu(), expected, rtol=1e-2, atol=1e-2)
    assert torch.equal(timestamps.cpu(), times)


def test_a_call_without_a_file_says_that_there_is_no_default() -> None:
    with pytest.raises(UserError, match=r"default model, and there is none: give the \.safetensors file"):
        load_model()
    with pytest.raises(UserError, match=r"nowhere\.pt: no such checkpoint"):
        load_model("nowhere.pt")


def test_a_rate_that_hear_does_not_have_is_told(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "e.safetensors", LogMelStatistics(sample_rate=12000), provenance={})
    with pytest.warns(UserWarning, match=r"LogMelStatistics wants 12000 Hz, and HEAR's .* 48000 Hz only: resample"):
        assert load_model(tmp_path / "e.safetensors").sample_rate == 12000


@pytest.mark.parametrize(
    ("sounds", "told"),
    [
        (torch.zeros(16000), r"\(n_sounds, n_samples\).*came \(16000,\): one sound is sounds\[None\]"),
        (torch.zeros(2, 1, 16000), r"came \(2, 1, 16000\): .* sounds\[:, 0\]"),
        (torch.zeros(2, 0), r"at least 1 of each; came \(2, 0\)"),
        (torch.zeros(0, 100), r"at least 1 of each; came \(0, 100\)"),
        (torch.zeros(2, 100, dtype=torch.int16), r"float sounds in \[-1, 1\]; came torch.int16: divide .* 32768"),
        (np.zeros((2, 100), np.float32), r"came a ndarray: torch.as_tensor"),
        (torch.tensor([[0.0, 1.0], [0.0, float("nan")], [float("inf"), 0.0]]), r"in 2 of 3, the first is sound 1"),
    ],
)
def test_bad_sounds(sounds: Any, told: str, model: HearModel) -> None:
    for function in (get_timestamp_embeddings, get_scene_embeddings):
        with pytest.raises(UserError, match=told):
            function(sounds, model)


def test_bad_arguments(model: HearModel) -> None:
    with pytest.raises(UserError, match=r"that ssl_music\.hear\.load_model returned; came a LogMelStatistics"):
        get_scene_embeddings(torch.zeros(1, 100), model.encoder)  # type: ignore[arg-type]
    for hop_ms in (0, -1, 0.06, float("nan"), float("inf")):
        with pytest.raises(UserError, match=r"hop_ms .*: wanted 0\.062 \(one sample at 16000 Hz\) or more"):
            HearModel(model.encoder, hop_ms=hop_ms)
    with pytest.raises(UserError, match="batch_size 0: at least 1"):
        HearModel(model.encoder, batch_size=0)
