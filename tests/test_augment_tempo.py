"""Time stretch keeps the pitch and scales time, varispeed scales both; what runs out of music begins again."""

import math

import pytest
import torch

from ssl_music.augment import TimeStretch, Varispeed
from ssl_music.augment.overlap import sizes
from ssl_music.errors import UserError

RATE = 22_050
SAMPLES = 59_049
TIME = torch.arange(SAMPLES) / RATE
RATES = torch.tensor([0.5, 0.8, 0.95, 1.1, 1.25, 2.0])
both = pytest.mark.parametrize("cls", [TimeStretch, Varispeed])


def played(cls, wave, rates):
    """`wave`, (T,), at each of `rates`. Shape: (N, T)."""
    effect = cls(p=1.0, low_rate=0.5, high_rate=2.0).at_rate(RATE)
    rates = torch.as_tensor(rates, dtype=torch.float32).reshape(-1)
    return effect.apply(wave.expand(len(rates), 1, -1).contiguous(), rate=rates)[:, 0]


def peak_hz(wave):
    spectrum = torch.fft.rfft(wave * torch.hann_window(wave.shape[-1]), 2**20).abs()
    return spectrum.argmax(-1) * RATE / 2**20


@pytest.mark.parametrize("hz", [110.0, 440.0, 3520.0])
def test_stretch_keeps_pitch_and_level(hz):
    out = played(TimeStretch, torch.sin(2 * math.pi * hz * TIME), RATES)
    assert out.shape == (len(RATES), SAMPLES)
    assert (1200 * torch.log2(peak_hz(out) / hz)).abs().max() < 1.0
    envelope = out.unfold(1, 1000, 250).std(-1) * math.sqrt(2)
    assert (20 * torch.log10(envelope)).abs().max() < 0.5


@pytest.mark.parametrize("hz", [110.0, 440.0, 3520.0])
def test_varispeed_scales_pitch_and_keeps_level(hz):
    for rate in RATES:
        until = int(SAMPLES / max(1.0, rate)) - 1500  # before it goes round
        out = played(Varispeed, torch.sin(2 * math.pi * hz * TIME), rate)[:, :until]
        assert (1200 * torch.log2(peak_hz(out) / (hz * rate))).abs().max() < 1.5  # rates are rounded to 1/1120
        envelope = out[:, 200:].unfold(1, 1000, 250).std(-1) * math.sqrt(2)
        assert (20 * torch.log10(envelope)).abs().max() < 0.3


def test_varispeed_is_interpolation():
    out = played(Varispeed, torch.sin(2 * math.pi * 440 * TIME), [0.5])[0]
    ideal = torch.sin(2 * math.pi * 220 * TIME)
    assert (out - ideal)[50:-50].abs().max() < 3e-3


def test_varispeed_leaves_no_alias():
    out = played(Varispeed, torch.sin(2 * math.pi * 9000 * TIME), [1.5])[0]  # would be 13,500 Hz: comes back as 8,550
    assert 20 * torch.log10(out[200:-200].std() * math.sqrt(2)) < -30


@both
@pytest.mark.parametrize("rate", [0.8, 0.95, 1.05, 1.25])
def test_time_goes_by_at_the_rate(cls, rate):
    wave = torch.zeros(SAMPLES)
    places = torch.arange(3000, SAMPLES - 1000, 7000)
    for place in places:  # sounds of 70 ms, longer than a piece, lose none to a jump
        wave[place : place + 1500] = 0.5 * torch.sin(2 * math.pi * 700 * TIME[:1500])
    out = played(cls, wave, rate)[0, : int(SAMPLES / max(1.0, rate)) - 1500]
    loud = out.abs().gt(0.25).nonzero()[:, 0]
    begins = loud[torch.cat([torch.tensor([True]), loud.diff() > 1000])]
    begins, wanted = begins[begins < len(out) - 1500], places[places / rate < len(out) - 1500] / rate
    size = sizes(RATE)
    limit = 80 if cls is Varispeed else size.reach + abs(1 - rate) * size.length / 2 + 80
    assert len(begins) == len(wanted)
    assert (begins - wanted).abs().max() < limit


@both
def test_rate_1_changes_nothing(cls):
    wave = 0.3 * torch.randn(SAMPLES, generator=torch.Generator().manual_seed(1))
    assert (played(cls, wave, 1.0)[0] - wave).abs().max() < 1e-6


@both
def test_what_runs_out_begins_again(cls):
    loudness = torch.where(TIME < 0.5, 1.0, 0.1)  # the beginning is the only loud part
    out = played(cls, loudness * torch.sin(2 * math.pi * 440 * TIME), 2.0)[0]
    envelope = out.unfold(0, 800, 200).std(-1) * math.sqrt(2)
    seconds = torch.arange(len(envelope)) * 200 / RATE
    length = TIME[-1] / 2
    for first, last, level in (
        (0.0, 0.18, 1.0),
        (0.35, 1.2, 0.1),
        (length, length + 0.07, 1.0),
        (1.7, 2.5, 0.1),
    ):
        part = envelope[(seconds >= first) & (seconds <= last)]
        assert (20 * torch.log10(part / level)).abs().max() < 1.0, (first, last)


@both
def test_silence_and_a_constant(cls):
    assert played(cls, torch.zeros(SAMPLES), RATES).abs().max() == 0
    constant = played(cls, torch.full((SAMPLES,), 0.5), RATES)
    assert (constant[:, 50:-50] - 0.5).abs().max() < 5e-3


@both
def test_the_shortest_wave_at_the_extremes(cls):
    effect = cls(p=1.0, low_rate=0.25, high_rate=4.0).at_rate(RATE)
    rates = torch.tensor([0.25, 1.0, 1.7, 4.0])
    shortest = 3072 if cls is TimeStretch else 11_008
    out = effect.apply(torch.ones(4, 1, shortest), rate=rates)
    assert (out[..., 50:-50] - 1).abs().max() < 0.01
    with pytest.raises(UserError, match=f"at least {shortest} samples at 22050 Hz; the wave has only {shortest - 1}"):
        effect(torch.ones(4, 1, shortest - 1))


@both
def test_rates_are_drawn_evenly_on_a_logarithmic_scale(cls):
    effect = cls(p=1.0, low_rate=0.5, high_rate=2.0)
    rates = effect.draw(torch.zeros(4000, 1, 1), torch.Generator().manual_seed(0))["rate"]
    assert rates.min() >= 0.5 and rates.max() <= 2.0
    assert rates.log2().mean().abs() < 0.05


@both
def test_impossible_rates(cls):
    with pytest.raises(UserError, match=r"0\.25 <= low_rate"):
        cls(low_rate=0.2)
    with pytest.raises(UserError, match=r"high_rate=5\.0 is above 4"):
        cls(high_rate=5.0)
