"""The parts that effects share: uniform draws and hashed noise."""

import math

import pytest
import torch

from ssl_music.augment.layers import gaussian_noise, seeds, uniform, uniform_noise

SEED = torch.tensor([0, 1, -(2**31), 2**31 - 5], dtype=torch.int32)


def test_noise_has_the_moments_of_its_distribution():
    flat, normal = uniform_noise(SEED, 200_000), gaussian_noise(SEED, 200_000)
    for noise, power, kurtosis in ((flat, 1 / 3, 1.8), (normal, 1.0, 3 - 1.2 / 32)):
        assert noise.mean(1).abs().max() < 0.01
        assert noise.square().mean(1).sub(power).abs().max() < 0.01 * power + 0.005
        assert (noise.pow(4).mean(1) / noise.square().mean(1).square()).sub(kurtosis).abs().max() < 0.05
    assert torch.isfinite(normal).all()
    assert flat.abs().max() <= 1


def test_normal_noise_is_normal_far_out_too():
    normal = gaussian_noise(SEED, 1_000_000)
    for deviations, tolerance in ((0.5, 0.01), (1.0, 0.01), (2.0, 0.03), (3.0, 0.1), (4.0, 0.35)):
        share = (normal.abs() > deviations).double().mean()
        assert share == pytest.approx(math.erfc(deviations / 2**0.5), rel=tolerance)


def test_noise_is_white():
    noise = gaussian_noise(SEED, 65_536)
    for lag in (1, 2, 3, 16, 1000):
        assert (noise[:, lag:] * noise[:, :-lag]).mean(1).abs().max() < 5 / 65_536**0.5
    bands = torch.fft.rfft(noise).abs().square()[:, 1:].reshape(len(noise), 32, -1).mean(2) / 65_536
    assert bands.min() > 0.85
    assert bands.max() < 1.15


def test_seeds_stand_for_different_noise_and_the_same_seed_for_the_same():
    drawn = seeds(torch.zeros(100, 1, 1), torch.Generator().manual_seed(0))
    assert len(drawn.unique()) == 100
    first, second = gaussian_noise(drawn[:2], 10_000)
    assert (first * second).mean().abs() < 0.05
    assert torch.equal(gaussian_noise(drawn[:1], 10_000)[0], first)


def test_noise_of_odd_length():
    assert gaussian_noise(SEED, 7).shape == (4, 7)


def test_uniform_fills_its_range():
    drawn = uniform(-20.0, -1.0, torch.zeros(10_000, 1, 1), torch.Generator().manual_seed(0))
    assert -20.0 <= drawn.min() < -19.9
    assert -1.1 < drawn.max() <= -1.0
