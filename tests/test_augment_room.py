"""Rooms: measured RT60 and energy are the asked ones, damped or not; impulse responses from files."""

import numpy as np
import pytest
import scipy.signal
import torch

from ssl_music.augment import Reverb
from ssl_music.augment.room import placed_by_gather, placed_by_slices
from ssl_music.errors import UserError

RATE = 22_050


def impulse(rows=1, samples=59_049):
    wave = torch.zeros(rows, 1, samples)
    wave[..., 0] = 1.0
    return wave


def room(rt60_seconds, *, damping=0.0, wet=1.0, pre_delay_ms=0.0, seed=5, samples=59_049):
    """The impulse response of the reverb, as the effect itself gives it. Shape: (T,)."""
    effect = Reverb(p=1.0, high_rt60_seconds=2.0, high_wet=1.0).at_rate(RATE)
    params = {"rt60_seconds": rt60_seconds, "damping": damping, "wet": wet, "pre_delay_ms": pre_delay_ms}
    return effect.apply(
        impulse(samples=samples),
        seed=torch.tensor([seed], dtype=torch.int32),
        **{name: torch.tensor([value]) for name, value in params.items()},
    )[0, 0]


def measured_rt60(response, low_hz=None, high_hz=None):
    """Schroeder's backward integration (1965), the slope between −5 and −35 dB, carried on to −60 (ISO 3382: T30)."""
    response = response.double().numpy()
    if low_hz or high_hz:
        kind, cutoff = ("lowpass", high_hz) if low_hz is None else ("highpass", low_hz)
        response = scipy.signal.sosfilt(scipy.signal.butter(8, cutoff, kind, fs=RATE, output="sos"), response)
    energy = np.cumsum(response[::-1] ** 2)[::-1]
    decay_db = 10 * np.log10(energy / energy[0] + 1e-30)
    part = np.flatnonzero((decay_db < -5) & (decay_db > -35))
    return -60 / (np.polyfit(part, decay_db[part], 1)[0] * RATE)


@pytest.mark.parametrize("rt60_seconds", [0.2, 0.35, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("damping", [0.0, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("seed", [0, 123_456_789])
def test_measured_reverberation_time_is_the_asked_one(rt60_seconds, damping, seed):
    response = room(rt60_seconds, damping=damping, seed=seed)
    assert measured_rt60(response) == pytest.approx(rt60_seconds, rel=0.1)
    assert measured_rt60(response, high_hz=RATE / 6) == pytest.approx(rt60_seconds, rel=0.1)
    assert measured_rt60(response, low_hz=RATE / 3) == pytest.approx((1 - damping) * rt60_seconds, rel=0.12)


def test_damped_or_not_a_room_begins_white():
    rooms = torch.stack([room(2.0, damping=damping, seed=seed) for damping in (0.0, 0.8) for seed in range(40)])
    bands = torch.fft.rfft(rooms[:, :128]).abs().square().unflatten(0, (2, 40)).mean(1)[:, 1:].unflatten(1, (8, -1))
    level_db = 10 * bands.mean(2).log10()
    assert (level_db - level_db.mean(1, keepdim=True)).abs().max() < 1.5


def test_direct_sound_and_tail_share_the_energy_as_asked():
    response = room(0.5, wet=0.3, pre_delay_ms=10.0)
    assert response[0].square() == pytest.approx(0.7, abs=1e-3)
    assert response[1:].square().sum() == pytest.approx(0.3, abs=1e-3)
    assert response[1:220].abs().max() < 1e-6  # silence until the pre-delay of 220.5 samples is over
    assert response[220:300].abs().max() > 0.01
    assert response[220 + RATE // 2 + 1 :].abs().max() < 1e-6  # and again after the reverberation time


def test_broad_band_sound_keeps_its_energy():
    wave = torch.randn(8, 1, 10 * RATE, generator=torch.Generator().manual_seed(0))
    out = Reverb(p=1.0).at_rate(RATE)(wave, torch.Generator().manual_seed(0))
    assert 10 * torch.log10(out.square().mean(-1) / wave.square().mean(-1)).abs().max() < 1.0


def test_a_room_is_the_same_alone_and_beside_longer_ones():
    effect = Reverb(p=1.0, low_rt60_seconds=0.1).at_rate(RATE)
    params = effect.draw(impulse(rows=8), torch.Generator().manual_seed(0))
    together = effect.impulse(**params)
    for row in range(8):
        alone = effect.impulse(**{name: value[row : row + 1] for name, value in params.items()})[0]
        assert (alone - together[row, : len(alone)]).abs().max() < 1e-6
        assert (together[row, len(alone) :] == 0).all()


def test_both_ways_to_place_a_tail_are_the_same():
    tail, first, count = torch.rand(4, 50), torch.tensor([0, 3, 20, 9]), torch.tensor([50, 10, 40, 1])
    placed = placed_by_slices(tail, first, count, 60)
    assert torch.equal(placed, placed_by_gather(tail, first, count, 60))
    assert torch.equal(placed[1, 3:13], tail[1, :10])
    assert (placed[1, 13:] == 0).all()


def test_rooms_differ_from_row_to_row():
    effect = Reverb(p=1.0, low_wet=0.5).at_rate(RATE)
    first, second = effect(impulse(rows=2), torch.Generator().manual_seed(0))[:, 0]
    assert (first[1:] * second[1:]).sum().abs() < 0.1


def test_the_end_does_not_wrap_round_to_the_beginning():
    wave = torch.zeros(4, 1, 59_049)
    wave[..., -1] = 1.0
    out = Reverb(p=1.0).at_rate(RATE)(wave, torch.Generator().manual_seed(0))
    assert out[..., :-1].abs().max() < 1e-6


def test_a_wave_shorter_than_the_tail_hears_the_beginning_of_the_room():
    whole, short = room(0.6, wet=0.5), room(0.6, wet=0.5, samples=100)
    assert torch.allclose(short, whole[:100], atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"low_rt60_seconds": 0.0}, "0.01 <= low_rt60_seconds"),
        ({"low_rt60_seconds": 2.0}, "low_rt60_seconds=2.0, high_rt60_seconds=1.0"),
        ({"low_damping": 0.6}, "low_damping=0.6, high_damping=0.5"),
        ({"high_damping": 0.9}, "high_damping=0.9 is above 0.8"),
        ({"low_pre_delay_ms": -1.0}, "0 <= low_pre_delay_ms"),
        ({"high_wet": 1.5}, "high_wet=1.5 is above 1"),
    ],
)
def test_reverb_refuses_impossible_rooms(arguments, match):
    with pytest.raises(UserError, match=match):
        Reverb(**arguments)
