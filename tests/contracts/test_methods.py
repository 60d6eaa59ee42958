"""What every method keeps, with every encoder that learns: it is enough to exist to be tested here."""

import inspect
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssl_music import checkpoint
from ssl_music._registry import members
from ssl_music.augment import Gain, PolarityInversion
from ssl_music.catalogs import Catalog, Track
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder, SampleCNN, ShortChunk
from ssl_music.methods import Method
from ssl_music.tagger import Tagger

METHODS = {name: kind for name, kind in members(Method).items() if kind.__module__.startswith("ssl_music")}
ENCODERS = {
    "SampleCNN": lambda: SampleCNN(width=4, depth=4, sample_rate=8000),
    "SampleCNN without batch norm": lambda: SampleCNN(width=4, depth=4, sample_rate=8000, norm="layer"),
    "ShortChunk": lambda: ShortChunk(width=4, depth=3, bands=32, sample_rate=8000, input_samples=2048),
}
TRACKS = 6
FOLDER = Path(tempfile.mkdtemp())


def table_of_factors() -> dict[str, str]:
    """Two item factors of each of the six tracks."""
    file = FOLDER / "factors.csv"
    file.write_text("track,1,2\n" + "".join(f"{n},{n},{n % 3}\n" for n in range(TRACKS)))
    return {"factors": str(file)}


#: what a method wants beside its encoder, or wants smaller: name → a function that gives these arguments
NEEDS: dict[str, Callable[[], dict[str, Any]]] = {
    "BYOL": lambda: {"hidden_dim": 32},
    "Collaborative": table_of_factors,
    "MoCo": lambda: {"queue_size": 6},
    "MoCoV3": lambda: {"hidden_dim": 32},
}


def needed(kind: type[Method]) -> dict[str, Any]:
    return NEEDS[kind.__name__]() if kind.__name__ in NEEDS else {}


class Six(Catalog):
    """Six tracks without sound, with tags and by two artists."""

    columns = {"mood": True}  # noqa: RUF012
    split_name = "none"

    @property
    def tracks(self) -> list[Track]:
        moods = [("calm",), ("loud",), ("calm", "loud")] * 2
        facts = [{"artist": "ab"[n % 2], "album": "x", "labels": {"mood": mood}} for n, mood in enumerate(moods)]
        return [Track(str(n), Path(str(n)), split="train", **known) for n, known in enumerate(facts)]


def make(kind: type[Method], encoder: str, *, augment: bool = True) -> Method:
    """A method with what it needs and nothing else: an encoder, and what NEEDS says."""
    torch.manual_seed(0)
    effects = [PolarityInversion(p=0.5), Gain(p=0.5)] if augment else []
    method = kind(ENCODERS[encoder](), augment=effects, **needed(kind))
    method.prepare(Six(), Six().tracks)
    method.train()
    return method


def clips_for(method: Method, tracks: int = TRACKS) -> Clips:
    generator = np.random.default_rng(1)
    length = method.input_samples
    time = np.arange(length) / 8000
    hz = generator.uniform(100, 3000, (method.crops, tracks, 1, 1))
    wave = 8000 * np.sin(2 * np.pi * hz * time) + 500 * generator.standard_normal((method.crops, tracks, 1, length))
    _, targets = method.examples(Six(), Six().tracks)
    chosen = None if targets is None else torch.from_numpy(targets[:tracks])
    return Clips(torch.from_numpy(wave.astype(np.int16)), torch.arange(tracks), chosen)


def step(method: Method, clips: Clips, position: tuple = ("train", 0, 0)) -> dict[str, torch.Tensor]:
    method._seed(*position)
    return method.losses(method.on_after_batch_transfer(clips, 0))


def test_there_are_methods() -> None:
    assert {"SimCLR", "Supervised"} <= METHODS.keys()


@pytest.fixture(params=METHODS)
def kind(request: pytest.FixtureRequest) -> type[Method]:
    return METHODS[request.param]


def test_stores_its_arguments_under_their_names(kind: type[Method]) -> None:
    method = make(kind, "SampleCNN")
    for name, parameter in inspect.signature(kind).parameters.items():
        assert hasattr(method, name), name
        if name not in ("encoder", "augment"):
            assert getattr(method, name) == needed(kind).get(name, parameter.default), name
            assert parameter.kind == parameter.KEYWORD_ONLY or name == "column"
    assert method.crops >= 1 and method.views >= 1 and method.keeps in ("last", "best")
    assert kind.__doc__ and "Shape:" in kind.__doc__


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_parameter_learns(kind: type[Method], encoder: str) -> None:
    method = make(kind, encoder)
    losses = step(method, clips_for(method))
    assert all(value.shape == () and value.isfinite() for value in losses.values())
    assert [name for name, value in losses.items() if value.requires_grad] == ["loss"]
    losses["loss"].backward()
    # a convolution before a norm has a bias without effect; its gradient is there, and 0
    learning = {name: parameter for name, parameter in method.named_parameters() if parameter.requires_grad}
    assert [name for name, parameter in learning.items() if parameter.grad is None] == []
    moving = [parameter for parameter in learning.values() if parameter.grad.abs().sum() > 0]
    assert len(moving) > len(learning) / 2
    before = {name: parameter.detach().clone() for name, parameter in method.encoder.named_parameters()}
    method.configure_optimizers().step()
    assert any(not torch.equal(before[name], new) for name, new in method.encoder.named_parameters())


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_step_is_a_function_of_seed_and_position(kind: type[Method], encoder: str) -> None:
    method = make(kind, encoder)
    clips = clips_for(method)
    first, again = (step(method, clips)["loss"] for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, step(method, clips, ("train", 0, 1))["loss"])
    method.seed = 1
    assert not torch.equal(first, step(method, clips)["loss"])


def test_the_order_of_tracks_does_not_matter(kind: type[Method]) -> None:
    method = make(kind, "SampleCNN without batch norm", augment=False)
    for layer in method.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0  # what falls out is drawn by the place in the batch
    clips = clips_for(method)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    targets = None if clips.targets is None else clips.targets[order]
    shuffled = Clips(clips.wave[:, order], clips.rows[order], targets)
    torch.testing.assert_close(step(method, clips)["loss"], step(method, shuffled)["loss"])


def test_evaluation_changes_nothing(kind: type[Method]) -> None:
    method = make(kind, "SampleCNN").eval()
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    with torch.no_grad():
        step(method, clips_for(method), ("valid", 0, 0))
    assert all(torch.equal(before[name], tensor) for name, tensor in method.state_dict().items())


def test_leaves_its_batch_alone(kind: type[Method]) -> None:
    method = make(kind, "SampleCNN")
    clips = method.on_after_batch_transfer(clips_for(method), 0)
    before = clips.wave.clone()
    method.losses(clips)
    assert torch.equal(clips.wave, before)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_artefact_is_rebuilt_from_its_file(kind: type[Method], encoder: str, tmp_path: Path) -> None:
    method = make(kind, encoder)
    model = method.artefact()
    assert isinstance(model, (Encoder, Tagger))
    checkpoint.save(tmp_path / "weights.safetensors", model, provenance={})
    again = checkpoint.load(tmp_path / "weights.safetensors")
    wave = clips_for(method).float().view()
    torch.testing.assert_close(again(wave), model.eval()(wave))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_half_precision_stays_finite(kind: type[Method], encoder: str) -> None:
    method = make(kind, encoder)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = step(method, clips_for(method))
    losses["loss"].backward()
    assert all(weight.grad.isfinite().all() for weight in method.parameters() if weight.requires_grad)


def test_silence_stays_finite(kind: type[Method]) -> None:
    method = make(kind, "ShortChunk")
    clips = clips_for(method)
    clips.wave = torch.zeros_like(clips.wave)
    assert step(method, clips)["loss"].isfinite()
