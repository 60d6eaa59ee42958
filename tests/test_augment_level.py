"""Polarity, gain in dB, and noise whose measured SNR is the asked one."""

import pytest
import torch

from ssl_music.augment import Gain, Noise, PolarityInversion
from ssl_music.errors import UserError


def music(rows=8, samples=22_050):
    generator = torch.Generator().manual_seed(1)
    loudness = torch.logspace(0, -4, rows)[:, None, None]
    return torch.randn(rows, 1, samples, generator=generator) * loudness * 0.3


def test_polarity_turns_the_wave_round():
    wave = music()
    assert torch.equal(PolarityInversion(p=1.0)(wave), -wave)


def test_gain_is_in_decibels_and_within_its_range():
    wave = music(rows=500, samples=10)
    louder = Gain(p=1.0, low_db=-20.0, high_db=-1.0)(wave, torch.Generator().manual_seed(0))
    ratio = louder / wave
    assert ratio.std(-1).max() < 1e-6
    gain_db = 20 * ratio[:, 0, 0].log10()
    assert -20.0 <= gain_db.min() < -19.8
    assert -1.2 < gain_db.max() <= -1.0
    assert gain_db.mean() == pytest.approx(-10.5, abs=0.8)


@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 6.02, 20.0, 40.0, 80.0])
def test_measured_snr_is_the_asked_one(snr_db):
    wave = music()
    noisy = Noise(p=1.0, low_snr_db=snr_db, high_snr_db=snr_db)(wave, torch.Generator().manual_seed(0))
    noise = noisy.double() - wave.double()
    measured = 10 * torch.log10(wave.double().square().mean(-1) / noise.square().mean(-1))
    assert (measured - snr_db).abs().max() < 0.1
    assert noise.mean(-1).abs().max() < 0.02 * noise.std(-1).max()


def test_every_row_has_its_own_noise():
    noise = Noise(p=1.0, low_snr_db=0.0, high_snr_db=0.0)(torch.ones(2, 1, 10_000)) - 1
    assert abs(torch.corrcoef(noise[:, 0])[0, 1]) < 0.05


def test_silence_stays_silent():
    wave = music()
    wave[3] = 0.0
    wave.requires_grad_()
    noisy = Noise(p=1.0)(wave)
    noisy.sum().backward()
    assert torch.equal(noisy[3], torch.zeros(1, wave.shape[-1]))
    assert torch.isfinite(noisy).all()
    assert torch.equal(wave.grad, torch.ones_like(wave))  # the noise is a constant


def test_the_range_is_that_of_the_fields_noise():
    # torchaudio-augmentations draws std(noise)/std(signal) from .0001 to .01
    drawn = Noise().draw(torch.zeros(1000, 1, 1), torch.Generator().manual_seed(0))["snr_db"]
    ratio = 10 ** (-drawn / 20)
    assert ratio.min() >= 0.9999e-4
    assert ratio.max() <= 1.0001e-2


@pytest.mark.parametrize("make", [lambda: Gain(low_db=-1.0, high_db=-20.0), lambda: Gain(high_db=float("inf"))])
def test_ranges_the_wrong_way_round(make):
    with pytest.raises(UserError, match=r"Gain: came low_db=.*wanted low_db <= high_db"):
        make()


def test_snr_range_the_wrong_way_round():
    with pytest.raises(UserError, match="low_snr_db <= high_snr_db"):
        Noise(low_snr_db=80.0, high_snr_db=40.0)
