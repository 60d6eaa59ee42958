"""Compression: static curves in pairs of dB, attack and release on a step, the profiles of the robustness study."""

import math

import numpy as np
import pytest
import torch

from ssl_music.augment import Compressor, DynamicRangeCompression
from ssl_music.augment.dynamics import BLOCK_SECONDS, PROFILES, block_samples, followed, interpolated, levels
from ssl_music.errors import UserError

RATE = 22_050


def tone(level_db, seconds=3.0, frequency_hz=1000.0):
    """A sine of this RMS."""
    time = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    return (10 ** (level_db / 20) * math.sqrt(2) * torch.sin(2 * math.pi * frequency_hz * time)).float()[None, None]


def music(rows=6, samples=30_000):
    loudness = torch.logspace(0, -2, rows)[:, None, None]
    return torch.randn(rows, 1, samples, generator=torch.Generator().manual_seed(1)) * loudness * 0.3


def level_of(wave):
    return float(10 * torch.log10(wave.double().square().mean()))


def compressed(wave, *, threshold_db=-20.0, ratio=4.0, attack_ms=10.0, release_ms=100.0):
    settings = {"threshold_db": threshold_db, "ratio": ratio, "attack_ms": attack_ms, "release_ms": release_ms}
    values = {name: torch.full((len(wave),), value) for name, value in settings.items()}
    return Compressor(p=1.0, make_up=False).at_rate(RATE).apply(wave, **values)


@pytest.mark.parametrize(
    ("threshold_db", "ratio", "into_db", "out_db"),
    [
        (-20.0, 4.0, -40.0, -40.0),
        (-20.0, 4.0, -21.0, -21.0),
        (-20.0, 4.0, -12.0, -18.0),
        (-20.0, 4.0, -4.0, -16.0),
        (-40.0, 2.0, -10.0, -25.0),
        (-30.0, 1000.0, -5.0, -29.975),
        (-30.0, 1.0, -5.0, -5.0),
    ],
)
def test_static_curve_on_steady_tones(threshold_db, ratio, into_db, out_db):
    out = compressed(tone(into_db), threshold_db=threshold_db, ratio=ratio)
    assert level_of(out[..., RATE:-RATE]) == pytest.approx(out_db, abs=0.1)


def measured_levels(out, wave, *, threshold_db, ratio):
    """The level that the follower saw, read back from the gain, block by block, in dB."""
    block = block_samples(RATE)
    gain_db = 20 * torch.log10(levels(out, block) / levels(wave, block))[0]
    return (threshold_db + gain_db / (1 / ratio - 1)).numpy()


@pytest.mark.parametrize("attack_ms", [10.0, 50.0, 200.0])
def test_attack_time_on_a_step(attack_ms):
    wave = torch.cat([tone(-40.0, 1.0), tone(-6.0, 2.0)], dim=-1)
    setting = {"threshold_db": -60.0, "ratio": 4.0}
    level = 10 ** (measured_levels(compressed(wave, attack_ms=attack_ms, **setting), wave, **setting) / 20)
    rest, end = 10 ** (-40 / 20), 10 ** (-6 / 20)
    reached = np.flatnonzero(level > rest + (1 - 1 / math.e) * (end - rest))[0] * BLOCK_SECONDS - 1.0
    assert reached * 1000 == pytest.approx(attack_ms, abs=1200 * BLOCK_SECONDS)


@pytest.mark.parametrize("release_ms", [50.0, 300.0])
def test_release_time_on_a_step(release_ms):
    wave = torch.cat([tone(-6.0, 1.0), tone(-60.0, 2.0)], dim=-1)
    setting = {"threshold_db": -80.0, "ratio": 2.0}
    out = compressed(wave, attack_ms=0.5, release_ms=release_ms, **setting)
    level_db = measured_levels(out, wave, **setting)
    after = np.arange(len(level_db)) * BLOCK_SECONDS - 1.0
    falling = (after > 0.02) & (level_db > -50)
    slope = np.polyfit(after[falling], level_db[falling], 1)[0]
    assert slope == pytest.approx(-20 / math.log(10) / (release_ms / 1000), rel=0.02)  # 8.7 dB in each release time
    below = np.flatnonzero(level_db < -6 - 8.686)[0] * BLOCK_SECONDS - 1.0
    assert below * 1000 == pytest.approx(release_ms, abs=1200 * BLOCK_SECONDS)


def test_the_follower_is_the_recursion_that_it_stands_for():
    level = music(rows=3)[:, 0, :400].abs()
    attack_ms, release_ms = torch.tensor([5.0, 30.0, 200.0]), torch.tensor([300.0, 20.0, 1000.0])
    ours = followed(level, attack_ms, release_ms)
    for row in range(3):
        a = math.exp(-1000 * BLOCK_SECONDS / attack_ms[row])
        b = math.exp(-1000 * BLOCK_SECONDS / release_ms[row])
        peak = smooth = float(level[row, 0])
        expected = []
        for value in level[row].tolist():
            peak = max(value, b * peak)
            smooth = a * smooth + (1 - a) * peak
            expected.append(20 * math.log10(smooth))
        assert np.abs(ours[row].numpy() - expected).max() < 1e-3


def test_the_follower_of_a_long_wave_keeps_its_digits():
    level = music(rows=1, samples=60_000)[:, 0].abs()  # five minutes
    ours = followed(level, torch.tensor([5.0]), torch.tensor([20.0]))
    late = followed(level[:, 50_000:], torch.tensor([5.0]), torch.tensor([20.0]))
    assert (ours[:, 50_100:] - late[:, 100:]).abs().max() < 0.05


def test_gain_is_a_straight_line_between_the_middles_of_blocks():
    gain = interpolated(torch.tensor([[0.0, 10.0, 10.0]]), 28, 10)[0]
    assert len(gain) == 28
    assert torch.allclose(gain[5:15], torch.arange(10.0) + 0.5)
    assert gain[:5].max() == 0.0
    assert (gain[15:] == 10.0).all()


def test_the_last_block_may_be_short():
    level = levels(torch.full((1, 1, 250), 0.5), 100)
    assert torch.allclose(level, torch.full((1, 3), 0.5))
    for samples in (1, 109, 110, 111):
        assert compressed(tone(-6.0)[..., 100 : 100 + samples]).shape == (1, 1, samples)


def test_make_up_gives_the_power_back():
    wave = music()
    effect = Compressor(p=1.0).at_rate(RATE)
    out = effect(wave, torch.Generator().manual_seed(0))
    assert (out.square().mean(-1) / wave.square().mean(-1) - 1).abs().max() < 1e-4


@pytest.mark.parametrize("effect", [Compressor(p=1.0), DynamicRangeCompression(p=1.0, profiles=list(PROFILES))])
def test_silence_stays_silent_and_gradients_are_the_gain(effect):
    wave = music()
    wave[2] = 0.0
    wave.requires_grad_()
    out = effect.at_rate(RATE)(wave, torch.Generator().manual_seed(0))
    out.sum().backward()
    assert torch.equal(out[2], torch.zeros_like(out[2]))
    assert torch.isfinite(wave.grad).all()
    assert (wave.grad * wave - out).abs().max() < 1e-5


# ---- the profiles


def drc(wave, name):
    return DynamicRangeCompression(p=1.0, profiles=[name]).at_rate(RATE)(wave)


@pytest.mark.parametrize(
    ("name", "into_db", "out_db"),
    [
        ("radio", -65.0, -50.0),  # half way from (−70, −70) to (−60, −20), and 5 dB less
        ("radio", -30.0, -15.0),
        ("film standard", -31.0, -31.0),
        ("film standard", -37.0, -34.0),
        ("film light", -47.0, -44.0),
        ("music standard", -55.0, -43.0),
        ("music standard", -25.0, -25.0),
        ("music standard", -10.5, -20.5),
        ("music light", -10.5, -16.0),
        ("speech", -50.0, -35.0),
        ("speech", -5.0, -20.238),
    ],
)
def test_static_curve_of_the_profiles(name, into_db, out_db):
    assert level_of(drc(tone(into_db), name)[..., RATE:-RATE]) == pytest.approx(out_db, abs=0.1)


def test_profiles_look_ahead():
    wave = torch.cat([tone(-60.0, 1.0), tone(-10.0, 2.0)], dim=-1)
    gain_db = 20 * torch.log10(levels(drc(wave, "music standard"), 110) / levels(wave, 110))[0]
    blocks_a_second = RATE // 110
    assert gain_db[: blocks_a_second - 30].min() > 11.5
    assert gain_db[blocks_a_second - 5] < 0  # quieter before the loud part comes


def test_profiles_lessen_the_range():
    wave = torch.cat([tone(-45.0, 2.0), tone(-12.0, 2.0)], dim=-1)
    for name in ("music standard", "speech"):
        out = drc(wave, name)
        assert level_of(out[..., 3 * RATE :]) - level_of(out[..., RATE // 2 : RATE]) < 33 - 15


def test_profiles_are_drawn_at_even_odds():
    drawn = DynamicRangeCompression(profiles=list(PROFILES)).draw(torch.zeros(6000, 1, 1), None)["profile"]
    assert torch.bincount(drawn).min() > 850
    wave, effect = music(rows=2), DynamicRangeCompression(p=1.0).at_rate(RATE)
    both = effect.apply(wave, profile=torch.tensor([0, 1]))
    assert (both[[0]] - drc(wave[[0]], "music standard")).abs().max() < 1e-6
    assert (both[[1]] - drc(wave[[1]], "speech")).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: DynamicRangeCompression(profiles=["music"]), "unknown profile 'music'; .*film standard"),
        (lambda: DynamicRangeCompression(profiles="speech"), "wanted a list of names"),
        (lambda: DynamicRangeCompression(profiles=[]), "wanted a list of names"),
        (lambda: Compressor(low_ratio=0.5), "1 <= low_ratio"),
        (lambda: Compressor(low_attack_ms=0.0), "0.01 <= low_attack_ms"),
        (lambda: Compressor(high_threshold_db=-50.0), "low_threshold_db=-40.0, high_threshold_db=-50.0"),
    ],
)
def test_impossible_settings(make, match):
    with pytest.raises(UserError, match=match):
        make()
