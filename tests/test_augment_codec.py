"""Low fidelity: the band ends at the cutoff, noise falls by 6.02 dB a bit, gradients pass the quantiser."""

import math

import pytest
import torch

from ssl_music.augment import LowFidelity
from ssl_music.errors import UserError

RATE = 22_050


def effect(**arguments):
    return LowFidelity(p=1.0, **arguments).at_rate(RATE)


def tone(frequency_hz, seconds=1.0):
    time = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    return torch.sin(2 * math.pi * frequency_hz * time).float()[None, None]


def white(rows=4, samples=59_049):
    return 0.3 * torch.randn(rows, 1, samples, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("cutoff_hz", [2000.0, 3400.0, 7000.0])
@pytest.mark.parametrize(("off_hz", "low_db", "high_db"), [(-600, -0.05, 0.05), (0, -6.3, -5.8), (600, -200, -60)])
def test_band_limit(cutoff_hz, off_hz, low_db, high_db):
    wave = tone(cutoff_hz + off_hz)
    out = effect().low_passed(wave, torch.tensor([cutoff_hz]))
    settled = slice(RATE // 10, -RATE // 10)
    level_db = 10 * torch.log10(out[..., settled].square().mean() / wave[..., settled].square().mean())
    assert low_db < level_db < high_db


def test_low_pass_delays_nothing():
    impulse = torch.zeros(1, 1, 2001)
    impulse[..., 1000] = 1.0
    out = effect().low_passed(impulse, torch.tensor([4000.0]))[0, 0]
    assert out.argmax() == 1000
    assert (out - out.flip(0)).abs().max() < 1e-6
    for place in (0, 2000):  # nothing wraps round the ends
        edge = torch.zeros(1, 1, 2001)
        edge[..., place] = 1.0
        out = effect().low_passed(edge, torch.tensor([4000.0]))[0, 0]
        assert out[200:-200].abs().max() < 1e-6
        assert out[2000 - place] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("bits", [4, 6, 8, 10, 12])
def test_noise_of_the_quantiser_falls_by_six_decibels_a_bit(bits):
    wave = tone(997.0, seconds=4.0)
    cutoff_hz = torch.tensor([3400.0])
    clean = effect().low_passed(wave, cutoff_hz)
    out = effect().apply(wave, cutoff_hz=cutoff_hz, bits=torch.tensor([bits]))
    snr_db = 10 * torch.log10(clean.double().square().mean() / (out - clean).double().square().mean())
    # 2ᵇ − 1 levels in place of 2ᵇ
    expected = 20 * math.log10(2**bits - 2) + 10 * math.log10(1.5)
    assert snr_db == pytest.approx(expected, abs=0.6)
    assert len(out.unique()) <= 2**bits - 1


def test_bits_and_cutoffs_fill_their_ranges():
    drawn = effect().draw(torch.zeros(5000, 1, 1), torch.Generator().manual_seed(0))
    assert drawn["bits"].unique().tolist() == [6, 7, 8, 9, 10]
    assert torch.bincount(drawn["bits"])[6:].min() > 850
    assert 3400 <= drawn["cutoff_hz"].min() < 3410
    assert 6980 < drawn["cutoff_hz"].max() <= 7001
    assert drawn["cutoff_hz"].median() == pytest.approx(math.sqrt(3400 * 7000), rel=0.03)


def test_loudness_does_not_matter_and_the_peak_stays():
    wave, params = white(), {"cutoff_hz": torch.full((4,), 5000.0), "bits": torch.full((4,), 6)}
    out = effect().apply(wave, **params)
    quiet = effect().apply(wave / 1024, **params)
    assert (quiet * 1024 - out).abs().max() < 0.05 * out.abs().max()  # a rounding the other way at most
    assert (quiet * 1024 - out).abs().mean() < 1e-5
    clean = effect().low_passed(wave, params["cutoff_hz"])
    assert (out.abs().amax(-1) / clean.abs().amax(-1) - 1).abs().max() < 1e-5


def test_silence_stays_silent():
    wave = torch.zeros(2, 1, 10_000, requires_grad=True)
    out = effect()(wave)
    out.sum().backward()
    assert torch.equal(out, torch.zeros_like(out))
    assert torch.isfinite(wave.grad).all()


def test_gradient_passes_the_quantiser_as_if_it_were_not_there():
    wave, params = white().requires_grad_(), {"cutoff_hz": torch.full((4,), 5000.0), "bits": torch.full((4,), 3)}
    weights = white().flip(0)
    (effect().apply(wave, **params) * weights).sum().backward()
    through = wave.grad.clone()
    wave.grad = None
    (effect().low_passed(wave, params["cutoff_hz"]) * weights).sum().backward()
    assert (through - wave.grad).abs().max() < 1e-5


def test_a_cutoff_above_half_the_rate_is_an_error():
    with pytest.raises(UserError, match=r"LowFidelity: high_cutoff_hz=7000 is not below 4000 Hz.*8000 Hz"):
        LowFidelity().at_rate(8000)


@pytest.mark.parametrize("arguments", [{"low_bits": 1}, {"low_bits": 11}, {"low_cutoff_hz": 0.0}])
def test_impossible_settings(arguments):
    with pytest.raises(UserError, match="LowFidelity: came low_"):
        LowFidelity(**arguments)
