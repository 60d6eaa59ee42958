"""Noise: its measured SNR is the asked one, its spectrum falls as its color says, only colored rows pay."""

import numpy as np
import pytest
import scipy.signal
import torch

from ssl_music.augment import Chain, Noise
from ssl_music.augment.noise import COLORS, shaped_noise
from ssl_music.errors import UserError

RATE = 22_050


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def music(rows=8, samples=59_049):
    loudness = torch.logspace(0, -4, rows)[:, None, None]
    return torch.randn(rows, 1, samples, generator=generator(1)) * loudness * 0.3


def only(color, *, snr_db=0.0):
    return Noise(p=1.0, low_snr_db=snr_db, high_snr_db=snr_db, colors=[color]).at_rate(RATE)


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 6.02, 20.0, 40.0])
def test_measured_snr_is_the_asked_one(snr_db, color):
    wave = music()
    noisy = only(color, snr_db=snr_db)(wave, generator())
    noise = noisy.double() - wave.double()
    measured = 10 * torch.log10(wave.double().square().mean(-1) / noise.square().mean(-1))
    assert (measured - snr_db).abs().max() < 0.1


def test_snr_of_white_noise_that_is_hardly_there():
    wave = music()
    noise = Noise(p=1.0, low_snr_db=80.0, high_snr_db=80.0)(wave, generator()).double() - wave.double()
    measured = 10 * torch.log10(wave.double().square().mean(-1) / noise.square().mean(-1))
    assert (measured - 80.0).abs().max() < 0.1
    assert noise.mean(-1).abs().max() < 0.02 * noise.std(-1).max()


@pytest.mark.parametrize(("color", "decibels_an_octave"), [("white", 0.0), ("pink", -3.01), ("brown", -6.02)])
def test_spectrum_falls_as_the_color_says(color, decibels_an_octave):
    noise = only(color)(torch.ones(16, 1, 200_000), generator())[:, 0] - 1
    frequency, power = scipy.signal.welch(noise.numpy(), RATE, nperseg=4096)
    inside = (frequency > 60) & (frequency < 9000)
    level_db = 10 * np.log10(power.mean(0)[inside])
    slope, base = np.polyfit(np.log2(frequency[inside]), level_db, 1)
    assert slope == pytest.approx(decibels_an_octave, abs=0.2)
    assert np.abs(level_db - base - slope * np.log2(frequency[inside])).max() < 1.5


@pytest.mark.parametrize("color", ["pink", "brown"])
def test_nothing_below_what_is_heard(color):
    noise = only(color)(torch.ones(4, 1, 10 * RATE), generator())[:, 0] - 1
    frequency, power = scipy.signal.periodogram(noise.numpy(), RATE, window="hann")
    assert power[:, frequency < 18].sum() < 1e-3 * power.sum()
    assert power[:, (frequency > 20) & (frequency < 40)].sum() > 0.05 * power.sum()


@pytest.mark.parametrize("samples", [1, 2, 33, 1000, 59_049])
def test_short_waves(samples):
    noisy = only("brown")(torch.ones(2, 1, samples), generator())
    assert noisy.shape == (2, 1, samples)
    assert torch.isfinite(noisy).all()


def test_colors_are_drawn_at_even_odds_and_rows_are_what_they_drew():
    effect = Noise(p=1.0, low_snr_db=0.0, high_snr_db=0.0, colors=COLORS).at_rate(RATE)
    wave = torch.ones(300, 1, 4096)
    params = effect.draw(wave, generator())
    assert torch.bincount(params["color"]).min() > 70
    noise = effect.apply(wave, **params)[:, 0] - 1
    rough = noise.diff(dim=1).square().mean(1) / noise.square().mean(1)
    for index, (low, high) in enumerate([(1.7, 2.3), (0.3, 0.8), (0.0, 0.05)]):
        its = rough[params["color"] == index]
        assert low < its.min() and its.max() < high


def test_only_colored_rows_pay_for_shaping(monkeypatch):
    rows = []
    original = torch.fft.irfft

    def counting(spectrum, **options):
        rows.append(len(spectrum))
        return original(spectrum, **options)

    monkeypatch.setattr(torch.fft, "irfft", counting)
    wave = music()
    Noise(p=1.0)(wave)
    assert rows == []
    effect = Noise(p=1.0, colors=["white", "pink"]).at_rate(RATE)
    params = effect.draw(wave, generator())
    effect.apply(wave, **params)
    assert sum(rows) == (params["color"] > 0).sum() < len(wave)
    for color in (0, 1):  # none of one kind
        effect.apply(wave, **(params | {"color": torch.full((8,), color)}))


def test_noise_is_a_function_of_its_seed():
    seed = torch.tensor([5, 6, 5], dtype=torch.int32)
    first, second, third = shaped_noise(seed, torch.tensor([1, 1, 1]), 10_000, RATE)
    assert torch.equal(first, third)
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 0.2


def test_every_row_has_its_own_noise():
    noise = Noise(p=1.0, low_snr_db=0.0, high_snr_db=0.0)(torch.ones(2, 1, 10_000)) - 1
    assert abs(torch.corrcoef(noise[:, 0])[0, 1]) < 0.05


@pytest.mark.parametrize("color", COLORS)
def test_silence_stays_silent_and_the_noise_is_a_constant(color):
    wave = music()
    wave[3] = 0.0
    wave.requires_grad_()
    noisy = only(color)(wave)
    noisy.sum().backward()
    assert torch.equal(noisy[3], torch.zeros(1, wave.shape[-1]))
    assert torch.isfinite(noisy).all()
    assert torch.equal(wave.grad, torch.ones_like(wave))


def test_the_range_is_that_of_the_fields_noise():
    # torchaudio-augmentations draws std(noise)/std(signal) from .0001 to .01
    drawn = Noise().draw(torch.zeros(1000, 1, 1), generator())["snr_db"]
    ratio = 10 ** (-drawn / 20)
    assert ratio.min() >= 0.9999e-4
    assert ratio.max() <= 1.0001e-2


def test_only_colored_noise_needs_the_rate():
    Chain([Noise(p=1.0)])(music())
    with pytest.raises(UserError, match="Noise needs the sample rate"):
        Chain([Noise(p=1.0, colors=["pink"])])(music())


@pytest.mark.parametrize("colors", [[], ["blue"], "pink", ["white", "grey"]])
def test_other_colors_are_errors(colors):
    with pytest.raises(UserError, match=r"Noise: came colors=.*white, pink, brown"):
        Noise(colors=colors)


def test_snr_range_the_wrong_way_round():
    with pytest.raises(UserError, match="low_snr_db <= high_snr_db"):
        Noise(low_snr_db=80.0, high_snr_db=40.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("color", COLORS)
def test_gpu_equals_cpu(color):
    wave, effect = music(), only(color)
    assert (effect(wave.cuda(), generator()).cpu() - effect(wave, generator())).abs().max() < 1e-4
