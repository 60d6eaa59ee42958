"""Chains by name: the chances that were published, and what key_safe and tempo_safe promise, measured."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_music.augment import Chain, Delay, presets
from ssl_music.cli import parse, verbs
from ssl_music.encoders import SampleCNN
from ssl_music.errors import UserError
from ssl_music.methods import SimCLR, Supervised

RATE, SAMPLES = 22_050, 59_049
RECIPES = Path(__file__).parent.parent / "recipes"
every = pytest.mark.parametrize("name", presets.PRESETS)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chances(chain: Chain) -> dict[str, float]:
    return {type(effect).__name__: effect.p for effect in chain.augmentations}


def ranges(chain: Chain, name: str) -> dict[str, float]:
    (effect,) = [effect for effect in chain.augmentations if type(effect).__name__ == name]
    return {key: value for key, value in vars(effect).items() if key.endswith(("_db", "_hz", "_ms", "_semitones"))}


def test_published_chances_in_their_order() -> None:
    clmr = {"PolarityInversion": 0.8, "Noise": 0.01, "Gain": 0.3, "HighLowPass": 0.8, "Delay": 0.3, "PitchShift": 0.6,
            "Reverb": 0.6}  # fmt: skip
    tutorial = {"PolarityInversion": 0.8, "Noise": 0.3, "Gain": 0.2, "HighLowPass": 0.8, "Delay": 0.5,
                "PitchShift": 0.4, "Reverb": 0.3}  # fmt: skip
    for name, wanted in (("clmr", clmr), ("tutorial", tutorial), ("noisy_student", tutorial)):
        found = chances(presets.named(name, sample_rate=RATE))
        assert list(found.items()) == list(wanted.items())


def test_published_ranges() -> None:
    # the field's package draws std(noise) / std(signal) from these
    for name, quiet, loud in (("clmr", 1e-4, 1e-2), ("tutorial", 0.3, 0.5), ("noisy_student", 0.3, 0.5)):
        chain = presets.named(name, sample_rate=RATE)
        snr = ranges(chain, "Noise")
        assert snr["low_snr_db"] == pytest.approx(-20 * np.log10(loud), abs=0.05)
        assert snr["high_snr_db"] == pytest.approx(-20 * np.log10(quiet), abs=0.05)
        assert ranges(chain, "Gain") == {"low_db": -20.0, "high_db": -1.0}
        assert list(ranges(chain, "HighLowPass").values()) == [200.0, 1200.0, 2200.0, 4000.0]
        assert ranges(chain, "Delay") == {"low_ms": 200.0, "high_ms": 450.0, "step_ms": 50.0}
        assert ranges(chain, "PitchShift") == {"low_semitones": -7.0, "high_semitones": 7.0}


def test_the_recipe_is_the_preset() -> None:
    words = ["--recipe", str(RECIPES / "clmr.yaml"), "--catalog.root", "."]
    assert repr(parse.arguments(verbs.pretrain, words)["method"].chain) == repr(presets.clmr(sample_rate=RATE))


@every
@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100])
def test_runs_at_any_rate_without_a_warning(name: str, rate: int) -> None:
    wave = 0.3 * torch.randn(6, 1, 2 * rate, generator=generator())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chain = presets.named(name, sample_rate=rate)
        out = chain(wave, generator())
    assert out.shape == wave.shape and torch.isfinite(out).all()
    assert (out != wave).any() and chain.sample_rate == rate
    assert torch.equal(out, presets.named(name, sample_rate=rate)(wave, generator()))


@every
def test_has_a_docstring_and_can_be_read_back(name: str) -> None:
    assert presets.PRESETS[name].__doc__
    chain = presets.named(name, sample_rate=RATE)
    assert repr(eval(repr(chain), vars(__import__("ssl_music.augment", fromlist=["*"])))) == repr(chain)


def cents_off(wave: torch.Tensor, hz: float) -> np.ndarray:
    """How far the strongest partial of each row is from `hz`, after the first half second, where echoes set in."""
    cut = wave[:, 0, RATE // 2 :].numpy()
    spectrum = np.log(np.abs(np.fft.rfft(cut * np.hanning(cut.shape[1]))) + 1e-9)
    rows, peak = np.arange(len(cut)), spectrum[:, 1:-1].argmax(axis=1) + 1
    left, middle, right = (spectrum[rows, peak + shift] for shift in (-1, 0, 1))
    found = (peak + (left - right) / (2 * (left - 2 * middle + right))) * RATE / cut.shape[1]
    return 1200 * np.log2(found / hz)


def test_key_safe_leaves_the_pitch_and_clmr_does_not() -> None:
    time = torch.arange(SAMPLES) / RATE
    tone = (0.5 * torch.sin(2 * torch.pi * 440 * time)).expand(64, 1, SAMPLES)
    assert abs(cents_off(tone, 440)).max() < 0.1
    assert abs(cents_off(presets.key_safe(sample_rate=RATE)(tone, generator()), 440)).max() < 1.0
    assert (abs(cents_off(presets.clmr(sample_rate=RATE)(tone, generator()), 440)) > 50).mean() > 0.3
    without = chances(presets.clmr(sample_rate=RATE))
    without.pop("PitchShift")
    assert chances(presets.key_safe(sample_rate=RATE)) == without


def onsets(wave: torch.Tensor) -> list[np.ndarray]:
    """Where each row's energy leaps: steps of 5 ms that hold 8 times the mean of the 50 ms before them."""
    step = RATE // 200
    energy = wave[:, 0, : SAMPLES // step * step].unflatten(1, (-1, step)).square().sum(-1).numpy()  # (B, K)
    before = np.stack([energy[:, k : energy.shape[1] - 10 + k] for k in range(10)]).mean(axis=0)
    leaps = energy[:, 10:] > 8 * before + 1e-4 * energy.max(axis=1, keepdims=True)
    starts = leaps & ~np.pad(leaps, ((0, 0), (1, 0)))[:, :-1]
    return [np.flatnonzero(row) + 10 for row in starts]


def click_train(rows: int) -> torch.Tensor:
    """Clicks of 2 ms, four a second."""
    wave = torch.zeros(rows, 1, SAMPLES)
    click = torch.rand(44, generator=generator(5)) * 2 - 1
    for at in range(RATE // 5, SAMPLES - 100, RATE // 4):
        wave[..., at : at + 44] = click
    return wave


def test_tempo_safe_keeps_every_onset_and_adds_none() -> None:
    clicks = click_train(128)
    wanted = onsets(clicks[:1])[0]
    assert len(wanted) == 10
    for found in onsets(presets.tempo_safe(sample_rate=RATE)(clicks, generator())):
        assert len(found) == 10 and abs(found - wanted).max() <= 1  # a step of 5 ms
    echoed = Chain([Delay(p=1.0)], sample_rate=RATE)(clicks, generator())
    assert max(map(len, onsets(echoed))) > 15  # the measure hears echoes
    assert (
        not {"Delay", "PitchShift", "TimeStretch", "Varispeed"} & chances(presets.tempo_safe(sample_rate=RATE)).keys()
    )


@every
def test_methods_take_names(name: str) -> None:
    for method in (SimCLR(SampleCNN(width=2), name), Supervised(SampleCNN(width=2), "genre", name)):
        assert method.augment == name
        assert repr(method.chain) == repr(presets.named(name, sample_rate=RATE))


def test_unknown_names() -> None:
    with pytest.raises(UserError, match=r"unknown chain of augmentations 'keysafe'; did you mean 'key_safe'\?"):
        presets.named("keysafe", sample_rate=RATE)
    with pytest.raises(
        UserError, match=r"unknown chain of augmentations 'CLMR'.* Known: clmr, tutorial, noisy_student"
    ):
        SimCLR(SampleCNN(width=2), "CLMR")
