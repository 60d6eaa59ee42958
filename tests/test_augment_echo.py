"""The delay's impulse at the right sample and height; a reverb whose measured RT60 and energy are the asked ones."""

import numpy as np
import pytest
import torch

from ssl_music.augment import Delay, Reverb
from ssl_music.augment.echo import shifted_by_gather, shifted_by_slices
from ssl_music.errors import UserError

RATE = 22_050


def impulse(rows=1, samples=59_049):
    wave = torch.zeros(rows, 1, samples)
    wave[..., 0] = 1.0
    return wave


def test_delay_repeats_at_the_right_sample_and_height():
    out = Delay(p=1.0).at_rate(RATE).apply(impulse(rows=3), delay_ms=torch.tensor([200.0, 300.0, 450.0]))[:, 0]
    expected = torch.zeros(3, 59_049)
    expected[:, 0] = 0.5
    for row, sample in enumerate((4410, 6615, 9922)):  # 9922.5 to the even one
        expected[row, sample] = 0.25
    assert torch.equal(out, expected)


def test_delays_are_drawn_from_the_grid_of_the_field():
    delays = Delay().at_rate(RATE).draw(impulse(rows=600), torch.Generator().manual_seed(0))["delay_ms"]
    values, counts = delays.unique(return_counts=True)
    assert values.tolist() == [200.0, 250.0, 300.0, 350.0, 400.0, 450.0]
    assert counts.min() > 60


def test_a_step_that_does_not_divide_the_range():
    effect = Delay(low_ms=10.0, high_ms=10.35, step_ms=0.1).at_rate(RATE)
    values = effect.draw(impulse(rows=400), torch.Generator().manual_seed(0))["delay_ms"].unique()
    assert values.numpy() == pytest.approx([10.0, 10.1, 10.2, 10.3], abs=1e-5)


def test_both_ways_to_shift_are_the_same():
    wave = torch.randn(5, 1, 100, generator=torch.Generator().manual_seed(0))
    samples = torch.tensor([0, 1, 50, 99, 250])
    assert torch.equal(shifted_by_slices(wave, samples), shifted_by_gather(wave, samples))
    assert torch.equal(shifted_by_slices(wave, samples)[2, 0, 50:], wave[2, 0, :50])


def test_a_wave_shorter_than_the_delay_is_an_error():
    with pytest.raises(UserError, match=r"high_ms=450 is 9922 samples at 22050 Hz, but the wave has only 9000"):
        Delay(p=1.0).at_rate(RATE)(torch.ones(2, 1, 9000))


def test_delay_refuses_what_is_no_step_or_range():
    with pytest.raises(UserError, match="step_ms=0"):
        Delay(step_ms=0.0)
    with pytest.raises(UserError, match="0 <= low_ms <= high_ms"):
        Delay(low_ms=-1.0)


def room(rt60_seconds, *, wet=1.0, pre_delay_ms=0.0, seed=5, samples=59_049):
    """The impulse response of the reverb, as the effect itself gives it. Shape: (T,)."""
    effect = Reverb(p=1.0, high_rt60_seconds=2.0, high_wet=1.0).at_rate(RATE)
    params = {"rt60_seconds": rt60_seconds, "wet": wet, "pre_delay_ms": pre_delay_ms}
    return effect.apply(
        impulse(samples=samples),
        seed=torch.tensor([seed], dtype=torch.int32),
        **{name: torch.tensor([value]) for name, value in params.items()},
    )[0, 0]


def measured_rt60(response):
    """Schroeder's backward integration (1965), the slope between −5 and −35 dB, carried on to −60 (ISO 3382: T30)."""
    energy = np.cumsum(response.double().numpy()[::-1] ** 2)[::-1]
    decay_db = 10 * np.log10(energy / energy[0] + 1e-30)
    part = np.flatnonzero((decay_db < -5) & (decay_db > -35))
    return -60 / (np.polyfit(part, decay_db[part], 1)[0] * RATE)


@pytest.mark.parametrize("rt60_seconds", [0.2, 0.35, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("seed", [0, 123_456_789])
def test_measured_reverberation_time_is_the_asked_one(rt60_seconds, seed):
    assert measured_rt60(room(rt60_seconds, seed=seed)) == pytest.approx(rt60_seconds, rel=0.1)


def test_direct_sound_and_tail_share_the_energy_as_asked():
    response = room(0.5, wet=0.3, pre_delay_ms=10.0)
    assert response[0].square() == pytest.approx(0.7, abs=1e-3)
    assert response[1:].square().sum() == pytest.approx(0.3, abs=1e-3)
    assert response[1:220].abs().max() < 1e-4  # silence until the pre-delay of 220.5 samples is over
    assert response[220:300].abs().max() > 0.01


def test_broad_band_sound_keeps_its_energy():
    wave = torch.randn(8, 1, 10 * RATE, generator=torch.Generator().manual_seed(0))
    out = Reverb(p=1.0).at_rate(RATE)(wave, torch.Generator().manual_seed(0))
    assert 10 * torch.log10(out.square().mean(-1) / wave.square().mean(-1)).abs().max() < 1.0


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
        ({"low_pre_delay_ms": -1.0}, "0 <= low_pre_delay_ms"),
        ({"high_wet": 1.5}, "high_wet=1.5 is above 1"),
    ],
)
def test_reverb_refuses_impossible_rooms(arguments, match):
    with pytest.raises(UserError, match=match):
        Reverb(**arguments)
