"""Other people's transforms in our chain: what they are given, where their randomness comes from, what is refused."""

import json
import random
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from ssl_music import cli
from ssl_music._torchaudio import torchaudio
from ssl_music.augment import Chain, Foreign, Gain
from ssl_music.errors import UserError

RATE, SAMPLES = 22_050, 22_050


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def music(rows=5):
    return 0.3 * torch.randn(rows, 1, SAMPLES, generator=generator(7))


def foreign(transform, **arguments):
    return Foreign(transform=transform, **arguments).at_rate(RATE)


# ---- what the callable is given


@pytest.mark.parametrize(
    ("takes", "kind", "shapes", "type_"),
    [
        ("clip", "tensor", [(1, SAMPLES)] * 5, torch.Tensor),
        ("clip", "numpy", [(1, SAMPLES)] * 5, np.ndarray),
        ("batch", "tensor", [(5, 1, SAMPLES)], torch.Tensor),
        ("batch", "numpy", [(5, 1, SAMPLES)], np.ndarray),
    ],
)
def test_shapes_and_kinds(takes, kind, shapes, type_):
    seen = []

    def halve(wave):
        assert isinstance(wave, type_)
        assert str(wave.dtype).endswith("float32")
        seen.append(tuple(wave.shape))
        return wave / 2

    out = foreign(halve, takes=takes, kind=kind)(music(), generator())
    assert seen == shapes
    assert torch.equal(out, music() / 2)


def test_only_chosen_rows_are_given():
    count = []
    out = foreign(lambda wave: count.append(1) or -wave, p=0.5)(music(40), generator())
    changed = (out != music(40)).flatten(1).any(1)
    assert 10 < changed.sum() == len(count) < 30


class Module(torch.nn.Module):
    def forward(self, wave, sample_rate=None):
        return wave * (0.5 if sample_rate == RATE else 0.25)


def test_the_rate_goes_to_a_parameter_of_that_name():
    wave = music()
    assert torch.equal(foreign(lambda wave, sample_rate: wave * sample_rate)(wave), wave * RATE)
    assert torch.equal(foreign(lambda wave: wave / 2)(wave), wave / 2)
    assert torch.equal(foreign(Module())(wave), wave / 2)
    assert torch.equal(foreign(Module(), wants_rate=False)(wave), wave / 4)
    assert torch.equal(foreign(lambda wave, **more: wave * more["sample_rate"], wants_rate=True)(wave), wave * RATE)
    with pytest.raises(UserError, match="Foreign needs the sample rate"):
        Foreign(transform=Module())(wave)


def test_a_signature_that_cannot_be_read_has_to_be_said():
    with pytest.raises(UserError, match="the signature of neg cannot be read; say wants_rate=True"):
        foreign(torch.neg)
    assert torch.equal(foreign(torch.neg, wants_rate=False)(music()), -music())


# ---- randomness


def tensor_noise(wave):
    return wave + torch.rand(wave.shape) * random.random() * np.random.rand()  # noqa: NPY002


@pytest.mark.parametrize("takes", ["clip", "batch"])
@pytest.mark.parametrize(
    "noise",
    [
        lambda wave: wave * random.random(),
        lambda wave: wave * np.random.rand(),  # noqa: NPY002
        lambda wave: wave * torch.rand(()),
    ],
    ids=["random", "numpy", "torch"],
)
def test_it_repeats_with_our_seed_and_leaves_the_global_generators_alone(noise, takes):
    effect = foreign(noise, takes=takes)
    before = states()
    first = effect(music(), generator(1))
    assert states() == before
    random.random(), np.random.rand(), torch.rand(())  # noqa: NPY002
    assert torch.equal(effect(music(), generator(1)), first)
    assert not torch.equal(effect(music(), generator(2)), first)


def test_rows_draw_for_themselves_and_equal_the_item_alone():
    effect, wave = foreign(tensor_noise), music()
    seed = effect.draw(wave, generator())["seed"]
    out = effect.apply(wave, seed=seed)
    gain = (out - wave).flatten(1).mean(1)
    assert len(gain.unique()) == len(wave)
    assert torch.equal(effect.apply(wave[2:3], seed=seed[2:3]), out[2:3])


def test_generators_come_back_after_an_error():
    def broken(wave):
        raise RuntimeError("theirs")

    before = states()
    with pytest.raises(RuntimeError, match="theirs"):
        foreign(broken)(music(), generator())
    assert states() == before


def states():
    numpy = np.random.get_state()  # noqa: NPY002
    return random.getstate(), [str(part) for part in numpy], torch.get_rng_state().tolist()


# ---- what comes back


def test_it_may_write_into_what_it_was_given():
    def silence(wave):
        wave *= 0
        return wave

    wave = music()
    for kind in ("tensor", "numpy"):
        effect = foreign(silence, kind=kind)
        assert not effect.apply(wave, **effect.draw(wave, generator())).any()
        assert torch.equal(wave, music())


def test_other_forms_of_an_answer():
    wave = music()
    assert torch.equal(foreign(lambda wave: SimpleNamespace(samples=-wave))(wave), -wave)
    double = foreign(lambda wave: wave.astype(np.float64)[:, ::-1], kind="numpy")(wave)
    assert double.dtype == torch.float32
    assert torch.equal(double, wave.flip(-1))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            lambda wave: wave[..., :-1],
            r"<lambda> was given \(1, 22050\) and returned \(1, 22049\).*number of samples",
        ),
        (lambda wave: wave[0], r"was given \(1, 22050\) and returned \(22050,\)"),
        (lambda wave: wave * float("nan"), "<lambda> made NaN or infinite samples"),
        (lambda wave: wave.to(torch.int16), "<lambda> returned torch.int16"),
        (lambda wave: None, "<lambda> returned NoneType"),
    ],
    ids=["length", "shape", "nan", "integers", "nothing"],
)
def test_wrong_answers(answer, message):
    with pytest.raises(UserError, match=message):
        foreign(answer)(music(), generator())


def test_wrong_arguments():
    with pytest.raises(UserError, match="give one, not its class"):
        Foreign(transform=Module)
    with pytest.raises(UserError, match="no object that can be called"):
        Foreign(transform="Reverb")
    with pytest.raises(UserError, match="takes='row'; wanted 'clip' or 'batch'"):
        foreign(torch.neg, wants_rate=False, takes="row")
    with pytest.raises(UserError, match="kind='list'; wanted 'tensor' or 'numpy'"):
        foreign(torch.neg, wants_rate=False, kind="list")


def test_gradients_pass_tensors_and_end_at_numpy():
    wave = music().requires_grad_()
    foreign(lambda wave: 2 * wave)(wave).sum().backward()
    assert torch.equal(wave.grad, torch.full_like(wave, 2))
    wave = music().requires_grad_()
    chain = Chain([foreign(lambda wave: 2 * wave, kind="numpy", p=0.5)])
    drawn = chain.draw(wave, generator(0))
    chain.apply_drawn(wave, drawn).sum().backward()
    assert torch.equal(wave.grad.flatten(1).amax(1) == 0, drawn[0].chosen)
    assert 0 < drawn[0].chosen.sum() < len(wave)


def test_a_module_keeps_its_mode():
    for mode in (True, False):
        dropout = torch.nn.Dropout(0.5).train(mode)
        chain = Chain([foreign(dropout, wants_rate=False)])
        for chains in (True, False):
            chain.train(chains)
            assert dropout.training == mode
            assert torch.equal(chain(music(), generator()), music()) != mode


# ---- a recipe


def test_two_steps_of_a_recipe(tmp_path):
    encoder = {
        "width": 4,
        "depth": 3,
        "bands": 16,
        "sample_rate": RATE,
        "input_samples": 8000,
        "n_fft": 512,
        "hop": 256,
    }
    shrink = {"class_path": "torch.nn.Softshrink", "init_args": {"lambd": 0.01}}
    recipe = {
        "catalog": {
            "class_path": "Synthetic",
            "init_args": {"root": str(tmp_path / "pieces"), "pieces": 8, "seconds": 1.0},
        },
        "method": {
            "class_path": "SimCLR",
            "init_args": {
                "encoder": {"class_path": "ShortChunk", "init_args": encoder},
                "augment": [
                    {"class_path": "Gain"},
                    {"class_path": "Foreign", "init_args": {"p": 0.5, "transform": shrink}},
                    {"class_path": "Foreign", "init_args": {"transform": "torch.neg", "wants_rate": False}},
                ],
            },
        },
        "batch_size": 4,
        "valid_split": None,
        "trainer": {"max_steps": 2, "accelerator": "cpu"},
        "out": str(tmp_path / "run"),
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))  # JSON is YAML
    assert cli.main(["pretrain", "--recipe", str(tmp_path / "recipe.yaml")]) == 0
    assert (tmp_path / "run" / "encoder.safetensors").is_file()


# ---- the four packages


def keeps_the_contract(transform, random_=True, **arguments):
    effect, wave = foreign(transform, **arguments), music()
    before = states()
    out = effect(wave, generator(1))
    assert out.shape == wave.shape
    assert (out != wave).flatten(1).any(1).all()
    assert torch.equal(effect(wave, generator(1)), out)
    assert torch.equal(effect(wave, generator(2)), out) != random_
    assert states() == before
    both = Chain([Gain(p=1.0), effect], sample_rate=RATE)
    assert torch.isfinite(both(wave, generator())).all()
    assert torch.isfinite(effect(0 * wave, generator())).all()


@pytest.fixture
def torchaudio_augmentations(monkeypatch):
    if not hasattr(torchaudio, "sox_effects"):  # wavaugment's module asks for it while it is imported
        monkeypatch.setitem(sys.modules, "augment", ModuleType("augment"))
    return pytest.importorskip("torchaudio_augmentations")


@pytest.mark.parametrize("name", ["Delay", "Gain", "HighLowPass", "HighPassFilter", "LowPassFilter", "Noise"])
@pytest.mark.filterwarnings(
    "ignore:__array_wrap__:DeprecationWarning"
)  # of its Noise, which adds an array to a tensor
def test_torchaudio_augmentations(torchaudio_augmentations, name):
    arguments = () if name in ("Gain", "Noise") else (RATE,)
    keeps_the_contract(getattr(torchaudio_augmentations, name)(*arguments))


def test_torchaudio_augmentations_as_a_chain(torchaudio_augmentations):
    of = torchaudio_augmentations
    keeps_the_contract(of.Compose([of.PolarityInversion(), of.Reverse(), of.RandomApply([of.Gain()], p=0.9)]))
    with pytest.raises(UserError, match=r"RandomResizedCrop was given \(1, 22050\) and returned \(1, 1000\)"):
        foreign(of.RandomResizedCrop(1000))(music())
    if not hasattr(torchaudio, "sox_effects"):
        for transform in (of.PitchShift(SAMPLES, RATE), of.Reverb(RATE)):
            with pytest.raises(AttributeError, match="EffectChain"):
                foreign(transform)(music())


@pytest.mark.parametrize(
    "name",
    ["AddColoredNoise", "BandPassFilter", "BandStopFilter", "Gain", "HighPassFilter", "LowPassFilter", "Shift"],
)
@pytest.mark.parametrize("output_type", ["dict", "tensor"])
@pytest.mark.filterwarnings("ignore:.*output_type.*:DeprecationWarning")
def test_torch_audiomentations(name, output_type):
    package = pytest.importorskip("torch_audiomentations")
    transform = getattr(package, name)(p=1.0, output_type=output_type)
    keeps_the_contract(transform, takes="batch")
    chain = Chain([foreign(transform, takes="batch")]).eval()
    assert not torch.equal(chain(music(), generator()), music())


@pytest.mark.filterwarnings("ignore:.*hop_length")
def test_torch_audiomentations_that_read_files_or_shift_pitch(tmp_path):
    package = pytest.importorskip("torch_audiomentations")
    keeps_the_contract(package.PitchShift(p=1.0, sample_rate=RATE, output_type="dict"), takes="batch")
    if not hasattr(torchaudio, "info"):
        from ssl_music import audio

        audio.write(tmp_path / "room.wav", 0.1 * np.ones(4000, np.float32), RATE)
        for name in ("ApplyImpulseResponse", "AddBackgroundNoise"):
            transform = getattr(package, name)(tmp_path / "room.wav", p=1.0, output_type="dict")
            with pytest.raises(AttributeError, match="torchaudio"):
                foreign(transform, takes="batch")(music())


@pytest.mark.parametrize(
    "name",
    ["AddGaussianSNR", "BandPassFilter", "ClippingDistortion", "Gain", "LowPassFilter", "PitchShift", "TimeStretch"],
)
def test_audiomentations(name):
    package = pytest.importorskip("audiomentations")
    keeps_the_contract(getattr(package, name)(p=1.0), kind="numpy")


def test_audiomentations_as_a_chain():
    package = pytest.importorskip("audiomentations")
    chain = package.Compose(
        [package.Gain(p=1.0), package.OneOf([package.LowPassFilter(p=1.0), package.Shift(p=1.0)])]
    )
    keeps_the_contract(chain, kind="numpy")
    with pytest.raises(UserError, match="Resample was given"):
        foreign(package.Resample(min_sample_rate=8000, max_sample_rate=8000, p=1.0), kind="numpy")(music())


def test_pedalboard():
    package = pytest.importorskip("pedalboard")
    board = package.Pedalboard([package.HighpassFilter(300.0), package.Delay(0.1), package.Reverb()])
    keeps_the_contract(board, random_=False, kind="numpy", wants_rate=True)
    with pytest.raises(UserError, match="signature of Pedalboard cannot be read"):
        foreign(board, kind="numpy")

    def at_random(wave, sample_rate):
        return package.Pedalboard([package.LowpassFilter(random.uniform(1000, 4000))])(wave, sample_rate)

    keeps_the_contract(at_random, kind="numpy")
