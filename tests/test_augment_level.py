"""Polarity, and gain in dB."""

import pytest
import torch

from ssl_music.augment import Gain, PolarityInversion
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


@pytest.mark.parametrize("make", [lambda: Gain(low_db=-1.0, high_db=-20.0), lambda: Gain(high_db=float("inf"))])
def test_ranges_the_wrong_way_round(make):
    with pytest.raises(UserError, match=r"Gain: came low_db=.*wanted low_db <= high_db"):
        make()
