"""High-pass and low-pass: tones, an outside reference (scipy), and what the constructor refuses."""

import math

import numpy as np
import pytest
import scipy.signal
import torch

from ssl_music.augment import HighLowPass
from ssl_music.errors import UserError

RATE = 22_050


def effect():
    return HighLowPass(p=1.0).at_rate(RATE)


def level_db(frequency_hz, *, highpass, cutoff_hz):
    """By how much a tone changes, once the filter has settled."""
    time = torch.arange(RATE, dtype=torch.float64) / RATE
    tone = torch.sin(2 * math.pi * frequency_hz * time).float()[None, None]
    out = effect().apply(tone, highpass=torch.tensor([highpass]), cutoff_hz=torch.tensor([cutoff_hz]))
    settled = slice(RATE // 2, None)
    return 10 * math.log10(out[..., settled].square().mean() / tone[..., settled].square().mean())


@pytest.mark.parametrize("highpass", [True, False])
@pytest.mark.parametrize("cutoff_hz", [200.0, 700.0, 1200.0, 2200.0, 4000.0])
def test_three_decibels_less_at_the_cutoff(highpass, cutoff_hz):
    assert level_db(cutoff_hz, highpass=highpass, cutoff_hz=cutoff_hz) == pytest.approx(-3.01, abs=0.05)


def test_highpass_kills_below_and_passes_above():
    assert level_db(100.0, highpass=True, cutoff_hz=800.0) == pytest.approx(-36.1, abs=0.3)  # 3 octaves of 12 dB
    assert level_db(8000.0, highpass=True, cutoff_hz=800.0) == pytest.approx(0.0, abs=0.02)


def test_lowpass_passes_below_and_kills_above():
    assert level_db(100.0, highpass=False, cutoff_hz=3000.0) == pytest.approx(0.0, abs=0.02)
    # the bilinear transform has its zero at half the rate, so it falls faster than 12 dB an octave
    assert level_db(10_000.0, highpass=False, cutoff_hz=3000.0) < -30


@pytest.mark.parametrize(("highpass", "kind"), [(True, "highpass"), (False, "lowpass")])
@pytest.mark.parametrize("cutoff_hz", [20.0, 200.0, 1000.0, 4000.0, 10_900.0])
def test_same_samples_as_scipy(highpass, kind, cutoff_hz):
    wave = np.random.default_rng(0).standard_normal(59_049).astype(np.float32)
    sections = scipy.signal.butter(2, cutoff_hz, kind, fs=RATE, output="sos")
    expected = scipy.signal.sosfilt(sections, wave.astype(np.float64))
    wide = HighLowPass(p=1.0, highpass_low_hz=20.0, lowpass_high_hz=10_900.0).at_rate(RATE)
    ours = wide.apply(
        torch.from_numpy(wave)[None, None], highpass=torch.tensor([highpass]), cutoff_hz=torch.tensor([cutoff_hz])
    )
    assert np.abs(ours[0, 0].numpy() - expected).max() < 1e-4


def test_the_end_does_not_wrap_round_to_the_beginning():
    wave = torch.zeros(1, 1, 59_049)
    wave[..., -1] = 1.0
    out = effect().apply(wave, highpass=torch.tensor([True]), cutoff_hz=torch.tensor([200.0]))
    assert out[..., :-1].abs().max() < 2e-6  # −120 dB: the tail that the FFT has room for


def test_both_kinds_are_drawn_within_their_ranges():
    drawn = effect().draw(torch.zeros(2000, 1, 1), torch.Generator().manual_seed(0))
    high, low = (drawn["cutoff_hz"][drawn["highpass"] == kind] for kind in (True, False))
    assert len(high) / 2000 == pytest.approx(0.5, abs=0.05)
    assert (high >= 200).all() and (high <= 1200).all()
    assert (low >= 2200).all() and (low <= 4000).all()


def test_works_on_waves_shorter_than_its_tail():
    out = effect()(torch.ones(3, 1, 5))
    assert out.shape == (3, 1, 5)
    assert torch.isfinite(out).all()


def test_a_cutoff_above_half_the_rate_is_an_error():
    with pytest.raises(UserError, match=r"lowpass_high_hz=4000 is not below 4000 Hz.*8000 Hz"):
        HighLowPass().at_rate(8000)


def test_cutoffs_the_wrong_way_round():
    with pytest.raises(UserError, match="1 <= highpass_low_hz <= highpass_high_hz"):
        HighLowPass(highpass_low_hz=2000.0)
    with pytest.raises(UserError, match="lowpass_low_hz=0"):
        HighLowPass(lowpass_low_hz=0)
