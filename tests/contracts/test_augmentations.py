"""What every augmentation keeps to, over all subclasses: a new one falls under this file by existing."""

import inspect

import pytest
import torch

import ssl_music.augment  # noqa: F401  (registers every member)
from ssl_music import audio
from ssl_music._registry import members
from ssl_music.augment.base import Augmentation
from ssl_music.augment.layers import pick
from ssl_music.errors import UserError

RATE = 22_050
SAMPLES = 12_000
ROWS = 6


def shaken(wave):
    """Somebody else's transform, which draws from torch's global generator."""
    return -wave * (0.5 + torch.rand(()))


#: Arguments of those members that cannot be built from `p` alone.
ARGUMENTS: dict[str, dict] = {"Foreign": {"transform": shaken}, "RandomResizedCrop": {"samples": SAMPLES - 3000}}


@pytest.fixture(scope="session", autouse=True)
def rooms(tmp_path_factory):
    """Two impulse responses, one twice as long as the other."""
    folder = tmp_path_factory.mktemp("rooms")
    for name, seconds in (("small", 0.1), ("large", 0.2)):
        time = torch.arange(seconds * RATE) / RATE
        noise = torch.randn(len(time), generator=torch.Generator().manual_seed(len(time)))
        audio.write(folder / f"{name}.wav", (0.1 * noise * 1000 ** (-time / seconds)).numpy(), RATE)
    ARGUMENTS["ImpulseResponse"] = {"files": str(folder)}


def make(cls, p=1.0):
    return cls(p=p, **ARGUMENTS.get(cls.__name__, {})).at_rate(RATE)


def music(rows=ROWS, samples=SAMPLES):
    return 0.3 * torch.randn(rows, 1, samples, generator=torch.Generator().manual_seed(7))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


MEMBERS = [cls for cls in members(Augmentation).values() if cls.__module__.startswith("ssl_music.")]
every = pytest.mark.parametrize("cls", MEMBERS, ids=lambda cls: cls.__name__)
same_length = pytest.mark.parametrize(
    "cls", [cls for cls in MEMBERS if not cls.changes_length], ids=lambda cls: cls.__name__
)
linear = pytest.mark.parametrize("cls", [cls for cls in MEMBERS if cls.form != "any"], ids=lambda cls: cls.__name__)
#: those that the engine applies by a response of theirs, not by `apply`
fused = pytest.mark.parametrize(
    "cls", [cls for cls in MEMBERS if cls.form in ("response", "impulse")], ids=lambda cls: cls.__name__
)


def test_members_are_found():
    assert len(MEMBERS) >= 6


@every
def test_constructor_is_keyword_only_and_keeps_its_arguments(cls):
    effect = make(cls)
    for name, parameter in inspect.signature(cls).parameters.items():
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, name
        assert parameter.annotation is not inspect.Parameter.empty, name
        assert hasattr(effect, name)
        assert f"{name}={getattr(effect, name)!r}" in repr(effect)
    assert "sample_rate" not in inspect.signature(cls).parameters


@same_length
def test_shape_type_and_the_input_left_alone(cls):
    wave = music()
    before = wave.clone()
    out = make(cls)(wave, generator())
    assert (out.shape, out.dtype) == (wave.shape, torch.float32)
    assert torch.isfinite(out).all()
    assert torch.equal(wave, before)
    assert out.data_ptr() != wave.data_ptr()
    assert (out != wave).flatten(1).any(1).all()


@same_length
def test_p_0_is_identity_and_p_chooses_rows(cls):
    wave = music(rows=200, samples=10_000)
    assert torch.equal(make(cls, p=0.0)(wave, generator()), wave)
    changed = (make(cls, p=0.3)(wave, generator()) != wave).flatten(1).any(1)
    assert 0.2 < changed.float().mean() < 0.4


@every
@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_p_outside_0_to_1(cls, p):
    with pytest.raises(UserError, match=f"{cls.__name__}: p="):
        make(cls, p=p)


@every
def test_drawn_values_are_one_for_each_row_and_repeat_with_the_seed(cls):
    effect, wave = make(cls), music()
    first, second = effect.draw(wave, generator(1)), effect.draw(wave, generator(1))
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert len(value) == ROWS, name
        assert torch.equal(value, second[name]), name
    assert torch.equal(effect(wave, generator(1)), effect(wave, generator(1)))


@every
def test_rows_differ_in_what_they_draw(cls):
    for name, value in make(cls).draw(music(rows=50), generator()).items():
        assert len(value.unique(dim=0)) > 1, name


@every
def test_apply_is_deterministic_and_draws_nothing(cls):
    effect, wave = make(cls), music()
    params = effect.draw(wave, generator())
    state = torch.get_rng_state()
    assert torch.equal(effect.apply(wave, **params), effect.apply(wave, **params))
    assert torch.equal(torch.get_rng_state(), state)


@every
def test_row_of_a_batch_equals_the_item_alone(cls):
    effect, wave = make(cls), music()
    params = effect.draw(wave, generator())
    out = effect.apply(wave, **params)
    for row in range(ROWS):
        alone = effect.apply(wave[row : row + 1], **pick(params, torch.tensor([row])))
        assert (alone[0] - out[row]).abs().max() < 1e-5
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    assert (effect.apply(wave[order], **pick(params, order)) - out[order]).abs().max() < 1e-5


@every
def test_silence_makes_no_nan(cls):
    wave = torch.zeros(3, 1, SAMPLES)
    assert torch.isfinite(make(cls)(wave, generator())).all()


@every
def test_gradients_are_finite_and_reach_every_row(cls):
    wave = music().requires_grad_()
    make(cls)(wave, generator()).square().sum().backward()
    assert torch.isfinite(wave.grad).all()
    assert (wave.grad.abs().amax(-1) > 0).all()


@every
def test_autocast_leaves_it_in_float32(cls):
    effect, wave = make(cls), music()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = effect(wave, generator())
    assert torch.equal(out, effect(wave, generator()))


@every
def test_wrong_input(cls):
    effect = make(cls)
    with pytest.raises(UserError, match=rf"{cls.__name__} wants waves of shape \(B, 1, T\)"):
        effect(music()[:, 0])
    with pytest.raises(UserError, match=f"{cls.__name__} wants float32"):
        effect(torch.zeros(2, 1, SAMPLES, dtype=torch.int16))
    wave = music()
    wave[2, 0, 5] = float("nan")
    with pytest.raises(UserError, match=f"{cls.__name__}: NaN or infinite samples in row 2"):
        effect(wave)


@linear
def test_linear_effects_are_linear_and_time_invariant(cls):
    effect, one, two = make(cls), music(), music().flip(0)
    params = effect.draw(one, generator())

    def apply(wave):
        return effect.apply(wave, **params)

    assert (apply(2 * one - 3 * two) - (2 * apply(one) - 3 * apply(two))).abs().max() < 1e-5
    later = torch.nn.functional.pad(one, (500, 0))[..., :SAMPLES]
    assert (apply(later)[..., 500:] - apply(one)[..., :-500]).abs().max() < 1e-5
    assert apply(later)[..., :500].abs().max() < 1e-5  # nothing sounds before its cause


@fused
def test_response_or_impulse_is_what_the_effect_does(cls):
    effect, n_fft = make(cls), 2**16
    impulse = torch.zeros(ROWS, 1, n_fft)
    impulse[..., 0] = 1.0
    params = effect.draw(impulse, generator())
    if cls.form == "response":
        assert effect.tail_samples() < n_fft
        response = effect.response(n_fft, **params)
    else:
        response = torch.fft.rfft(effect.impulse(**params), n=n_fft)
    assert response.shape == (ROWS, n_fft // 2 + 1)
    assert (torch.fft.rfft(effect.apply(impulse, **params))[:, 0] - response).abs().max() < 1e-4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@every
def test_gpu_equals_cpu(cls):
    effect, wave = make(cls, p=0.7), music()
    assert (effect(wave.cuda(), generator()).cpu() - effect(wave, generator())).abs().max() < 1e-4
