"""The contract of every encoder, over every subclass that importing `ssl_music.encoders` registers.

A new encoder falls under it by existing; it needs a line in `SMALL` where its published size is too slow for a test,
and its state dict's keys in the golden list: `python tests/contracts/test_encoders.py` writes the list anew.
Its keys may only change together with a way to read the older checkpoints.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ssl_music.encoders as family
from ssl_music._registry import members
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError

GOLDEN = Path(__file__).parents[1] / "golden" / "encoder_keys.json"
ENCODERS = {name: kind for name, kind in members(Encoder).items() if kind.__module__.startswith(family.__name__)}

_SHORT = {"width": 4, "depth": 4, "bands": 32, "sample_rate": 8000, "input_samples": 6000, "n_fft": 256, "hop": 128}
_IMAGE = {"bands": 16, "sample_rate": 8000, "input_samples": 6000, "n_fft": 256, "hop": 128}
_MUSICNN = {"width": 6, "dense": 5, "vertical_width": 8, "horizontal_width": 4, "horizontal_frames": [9, 5, 4]}
_CNNSA = {"widths": [4, 6, 8], "time_strides": [2, 2, 1], "heads": 2}
_TAGGING = {"width": 8, "conv_width": 6, "layers": 2, "heads": 2}
_HARMONIC = {"width": 8, "harmonics": 3, "sample_rate": 8000, "input_samples": 13000, "n_fft": 257, "hop": 64}
#: settings that are quick to try; an encoder that is not named here is tried with its defaults
SMALL: dict[str, list[dict[str, Any]]] = {
    "SampleCNN": [
        {"width": 4, "depth": 5},
        {"width": 8, "depth": 4, "norm": "group", "first_padding": 1, "last_kernel": 1},
        {"width": 4, "depth": 4, "checkpointing": True},
        {"width": 8, "depth": 4, "norm": "layer", "checkpointing": True},
    ],
    "SampleCNNSE": [{"width": 4, "depth": 5}, {"width": 8, "depth": 4, "norm": "group"}],
    "EndToEnd": [
        {"width": 8, "dense": 12, "input_samples": 8000},
        {"width": 8, "dense": 12, "norm": "batch", "dropout": 0.2, "normalise_input": "standard"},
        {"width": 8, "norm": "group", "window_samples": 512, "normalise_input": "min_max"},
    ],
    "HarmonicCNN": [_HARMONIC, {**_HARMONIC, "last_pools": [[2, 1], [2, 1]], "n_fft": 256, "norm": "layer"}],
    "ShortChunk": [
        _SHORT,
        {**_SHORT, "residual": True, "dropout": 0.1},
        {**_SHORT, "norm": "layer"},
        {**_SHORT, "residual": True, "norm": "none", "bands": 40},
    ],
    "FCN": [
        {**_IMAGE, "widths": [4, 6], "pools": [[2, 4], [4, 4]]},
        {**_IMAGE, "widths": [4, 6, 8], "pools": [[2, 4], [4, 2], [2, 2]], "activation": "elu", "dense": 5},
        {
            **_IMAGE,
            "widths": [4, 6],
            "pools": [[4, 4], [2, 2]],
            "kernels": [3, 1],
            "pool_strides": [[4, 4], [5, 5]],
            "dropout": 0.1,
            "norm": "group",
            "mel": {"scale": "log1p10k", "mel_scale": "slaney", "mel_norm": "slaney"},
        },
    ],
    "TimeCNN": [
        {**_IMAGE, "widths": [4, 6, 6], "pools": [4, 2, 1], "dense": [5, 7]},
        {**_IMAGE, "across_bands": False, "widths": [4, 6], "pools": [4, 5], "dense": [8], "dropout": 0.2},
    ],
    "MusiCNN": [
        {**_IMAGE, **_MUSICNN},
        {**_IMAGE, **_MUSICNN, "embedding": "pooled", "mel": {"scale": "pcen", "spec_augment": {}}},
        {**_IMAGE, **_MUSICNN, "over_frequency": "max", "norm": "layer", "mel": {"scale": "log1p10k"}},
    ],
    "CRNN": [
        {**_IMAGE, "widths": [4, 6], "pools": [[2, 2], [4, 4]], "gru_width": 5},
        {
            **_IMAGE,
            "widths": [4],
            "pools": [[5, 4]],
            "gru_width": 3,
            "gru_layers": 1,
            "dropout": 0.1,
            "norm": "group",
        },
    ],
    "CNNSA": [
        {**_IMAGE, **_CNNSA, "dropout": 0.0, "attention_dropout": 0.0},
        {**_IMAGE, **_CNNSA, "conv_dropout": 0.1, "bands": 20, "norm": "layer"},
    ],
    "MusicTaggingTransformer": [
        {**_IMAGE, **_TAGGING, "dropout": 0.0},
        {**_IMAGE, **_TAGGING, "pools": [[2, 3], [3, 1]], "positions": 20, "bands": 20, "norm": "group"},
    ],
    "LogMelStatistics": [{}, {"mfcc": 13, "bands": 40}],
    "MfccStatistics": [{}, {"mfcc": 13, "bands": 40}],
}
CASES = [
    pytest.param(kind, arguments, id=f"{name}-{number}")
    for name, kind in ENCODERS.items()
    for number, arguments in enumerate(SMALL.get(name, [{}]))
]
cases = pytest.mark.parametrize(("kind", "arguments"), CASES)


def build(kind: type[Encoder], arguments: dict[str, Any]) -> Encoder:
    torch.manual_seed(0)
    return kind(**arguments)


def noise(encoder: Encoder, *, rows: int = 3, samples: int | None = None) -> Tensor:
    shape = (rows, 1, samples or encoder.input_samples)
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(1))


def lived_in(encoder: Encoder) -> Encoder:
    """`encoder` in evaluation mode, its running statistics no longer those of the constructor."""
    with torch.no_grad():
        encoder.train()(noise(encoder))
    return encoder.eval()


def test_there_are_encoders() -> None:
    assert len(CASES) >= 3


@cases
def test_declared_facts_are_the_measured_ones(kind: type[Encoder], arguments: dict[str, Any]) -> None:
    encoder = build(kind, arguments).eval()
    assert encoder.sample_rate > 0
    assert 1 <= encoder.minimum_samples <= encoder.input_samples
    for samples in (encoder.input_samples, encoder.minimum_samples):
        out = encoder(noise(encoder, samples=samples))
        assert out.shape == (3, encoder.embedding_dim)
        assert out.dtype == torch.float32
        assert out.isfinite().all()


@cases
def test_spec_rebuilds_an_equal_encoder(kind: type[Encoder], arguments: dict[str, Any]) -> None:
    encoder = lived_in(build(kind, arguments))
    spec = json.loads(json.dumps(encoder.spec()))
    assert arguments.items() <= spec.items()
    rebuilt = kind(**spec).eval()
    rebuilt.load_state_dict(encoder.state_dict())
    assert rebuilt.spec() == encoder.spec()
    # what stands in a file rebuilds it as well, where later arguments are left out
    assert json.loads(json.dumps(kind(**encoder.facts()["spec"]).spec())) == spec
    assert kind.later_arguments <= spec.keys()
    assert torch.equal(rebuilt(noise(encoder)), encoder(noise(encoder)))


@cases
def test_every_parameter_gets_a_gradient(kind: type[Encoder], arguments: dict[str, Any]) -> None:
    encoder = build(kind, arguments).train()
    if not list(encoder.parameters()):
        pytest.skip("nothing to learn in it")
    out = encoder(noise(encoder))
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # a bias before a norm has a gradient of nearly zero, rightly; a matrix has not
        assert parameter.dim() < 2 or parameter.grad.abs().max() > 0, name


@cases
def test_a_row_of_a_batch_is_the_item_alone(kind: type[Encoder], arguments: dict[str, Any]) -> None:
    encoder = lived_in(build(kind, arguments))
    wave = noise(encoder, rows=5) * torch.tensor([1.0, 0.1, 3.0, 0.0, 1.0]).view(5, 1, 1)
    together = encoder(wave)
    for row in range(5):
        torch.testing.assert_close(together[row : row + 1], encoder(wave[row : row + 1]), rtol=1e-4, atol=1e-4)


@cases
def test_evaluation_is_deterministic_and_changes_nothing(kind: type[Encoder], arguments: dict[str, Any]) -> None:
    encoder = lived_in(build(kind, arguments))
    wave = noise(encoder)
    kept, state = wave.clone(), {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    assert torch.equal(encoder(wave), encoder(wave))
    assert torch.equal(wave, kept)
    assert all(torch.equal(tensor, state[name]) for name, tensor in encoder.state_dict().items())


@cases
def test_bf16_autocast_is_finite_and_near_float32(kind: type[Encoder], arguments: dict[str, Any]) -> None:
    encoder = lived_in(build(kind, arguments))
    exact = encoder(noise(encoder))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = encoder(noise(encoder)).float()
    assert rounded.isfinite().all()
    assert (rounded - exact).norm() <= 0.1 * exact.norm()  # bf16 keeps 8 bits
    if list(encoder.parameters()):
        with torch.autocast("cpu", torch.bfloat16):
            loss = encoder.train()(noise(encoder)).float().square().sum()
        loss.backward()
        assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())


@cases
@pytest.mark.parametrize("training", [False, True])
def test_silence_is_finite(kind: type[Encoder], arguments: dict[str, Any], training: bool) -> None:
    encoder = build(kind, arguments).train(training)
    out = encoder(torch.zeros(2, 1, encoder.input_samples))
    assert out.isfinite().all()
    if list(encoder.parameters()):
        out.sum().backward()
        assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())


@cases
def test_bad_waves_are_refused_with_what_is_wanted(kind: type[Encoder], arguments: dict[str, Any]) -> None:
    encoder = build(kind, arguments).eval()
    samples, name = encoder.input_samples, kind.__name__
    short = encoder.minimum_samples - 1
    with pytest.raises(UserError, match=rf"{name} wants at least {short + 1} samples.*came {short}: pad or loop"):
        encoder(noise(encoder, samples=short))
    for shape in [(2, samples), (2, 2, samples), (samples,), (1, 1, 1, samples)]:
        with pytest.raises(UserError, match=rf"{name} wants waves of shape \(B, 1, T\); came \({shape[0]}"):
            encoder(torch.zeros(shape))
    with pytest.raises(UserError, match=r"float waves.*int16.*32768"):
        encoder(torch.zeros(1, 1, samples, dtype=torch.int16))


@cases
def test_a_longer_clip_gives_one_vector_too(kind: type[Encoder], arguments: dict[str, Any]) -> None:
    encoder = lived_in(build(kind, arguments))
    for samples in (encoder.input_samples + 1, 2 * encoder.input_samples + 777):
        out = encoder(noise(encoder, samples=samples))
        assert out.shape == (3, encoder.embedding_dim)
        assert out.isfinite().all()


@pytest.mark.parametrize("norm", ["batch", "group", "layer", "none"])
@pytest.mark.parametrize("name", [name for name in ENCODERS if "norm" in ENCODERS[name]().spec()])
def test_every_norm_is_choosable(name: str, norm: str) -> None:
    encoder = build(ENCODERS[name], {**SMALL.get(name, [{}])[0], "norm": norm}).train()
    wave = noise(encoder)
    together = encoder(wave)
    assert together.isfinite().all()
    if norm != "batch":  # in training too, an example does not depend on the others
        torch.testing.assert_close(together[1:2], encoder(wave[1:2]), rtol=1e-4, atol=1e-4)
    kinds = {type(module).__name__.rstrip("12d") for module in encoder.modules()} & {"BatchNorm", "GroupNorm"}
    assert kinds == {"batch": {"BatchNorm"}, "none": set()}.get(norm, {"GroupNorm"})


@pytest.mark.parametrize("name", [name for name in ENCODERS if "norm" in ENCODERS[name]().spec()])
def test_an_unknown_norm_is_named(name: str) -> None:
    with pytest.raises(UserError, match="unknown norm 'bacth'; did you mean 'batch'"):
        ENCODERS[name](norm="bacth")


def weights_of(kind: type[Encoder]) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in kind().state_dict().items()}


@pytest.mark.parametrize("name", ENCODERS)
def test_names_and_shapes_of_weights_are_the_golden_ones(name: str) -> None:
    golden = json.loads(GOLDEN.read_text())
    assert name in golden, f"{name} is new: write it into the list with `python {Path(__file__).name}`"
    assert weights_of(ENCODERS[name]) == golden[name]


def test_the_golden_list_names_only_encoders_that_exist() -> None:
    assert set(json.loads(GOLDEN.read_text())) == set(ENCODERS)


if __name__ == "__main__":
    lines = ",\n".join(
        f"{json.dumps(name)}: {{\n"
        + ",\n".join(f"  {json.dumps(key)}: {shape}" for key, shape in weights_of(kind).items())
        + "\n}"
        for name, kind in ENCODERS.items()
    )
    GOLDEN.write_text(f"{{\n{lines}\n}}\n")
