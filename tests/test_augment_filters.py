"""Filters of second order: tones, an outside reference (scipy), tails, and what the constructor refuses."""

import math
import warnings

import numpy as np
import pytest
import scipy.signal
import torch

from ssl_music.augment import BandPass, BandStop, Chain, HighLowPass, HighPass, LowPass
from ssl_music.augment.layers import decay, ringing_samples
from ssl_music.errors import UserError

RATE = 22_050


def effect():
    return HighLowPass(p=1.0).at_rate(RATE)


def at(cls, hz, *, rate=RATE, **ranges):
    """The effect whose only cutoff or centre is at `hz`."""
    return cls(p=1.0, low_hz=hz, high_hz=hz, **ranges).at_rate(rate)


def band(cls, hz, q):
    return at(cls, hz, low_q=q, high_q=q)


def tone_db(filter_, frequency_hz, **params):
    """By how much a tone changes, once the filter has settled."""
    time = torch.arange(RATE, dtype=torch.float64) / RATE
    tone = torch.sin(2 * math.pi * frequency_hz * time).float()[None, None]
    params = {name: torch.tensor([value]) for name, value in params.items()} or filter_.draw(tone, None)
    settled = slice(RATE // 2, None)
    out = filter_.apply(tone, **params)
    return 10 * math.log10(out[..., settled].square().mean() / tone[..., settled].square().mean())


def level_db(frequency_hz, *, highpass, cutoff_hz):
    return tone_db(effect(), frequency_hz, highpass=highpass, cutoff_hz=cutoff_hz)


def cookbook(kind, hz, q, rate=RATE):
    """The Audio EQ Cookbook's coefficients, as one section of scipy."""
    omega = 2 * math.pi * hz / rate
    alpha, cosine = math.sin(omega) / (2 * q), math.cos(omega)
    numerator = {
        "LowPass": [(1 - cosine) / 2, 1 - cosine, (1 - cosine) / 2],
        "HighPass": [(1 + cosine) / 2, -(1 + cosine), (1 + cosine) / 2],
        "BandPass": [alpha, 0, -alpha],
        "BandStop": [1, -2 * cosine, 1],
    }[kind]
    return np.array([[*numerator, 1 + alpha, -2 * cosine, 1 - alpha]]) / (1 + alpha)


def noise(samples=59_049):
    return np.random.default_rng(0).standard_normal(samples).astype(np.float32)


def through(filter_, wave, **params):
    params = {name: torch.tensor([value]) for name, value in params.items()}
    return filter_.apply(torch.from_numpy(wave)[None, None], **params)[0, 0].numpy()


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


@pytest.mark.parametrize("cls", [LowPass, HighPass])
@pytest.mark.parametrize("cutoff_hz", [60.0, 700.0, 2500.0, 9000.0])
def test_each_half_alone_is_three_decibels_down_at_its_cutoff(cls, cutoff_hz):
    assert tone_db(at(cls, cutoff_hz), cutoff_hz) == pytest.approx(-3.01, abs=0.05)


def test_lowpass_and_highpass_pass_and_kill():
    assert tone_db(at(LowPass, 3000.0), 300.0) == pytest.approx(0.0, abs=0.02)
    assert tone_db(at(LowPass, 3000.0), 10_000.0) < -30
    assert tone_db(at(HighPass, 800.0), 8000.0) == pytest.approx(0.0, abs=0.02)
    assert tone_db(at(HighPass, 800.0), 100.0) == pytest.approx(-36.1, abs=0.3)


@pytest.mark.parametrize("centre_hz", [150.0, 1000.0, 4000.0])
@pytest.mark.parametrize("q", [0.5, 2.0, 8.0])
def test_bandpass_peaks_at_0_db_and_falls_on_both_sides(centre_hz, q):
    effect = band(BandPass, centre_hz, q)
    assert tone_db(effect, centre_hz) == pytest.approx(0.0, abs=0.02)
    for edge_hz in edges_hz(centre_hz, q):
        assert tone_db(effect, edge_hz) == pytest.approx(-3.01, abs=0.05)
    # far below the centre 6 dB an octave, through 1/Q of the centre
    low, warped = (math.tan(math.pi * hz / RATE) for hz in (centre_hz / 4, centre_hz))
    assert tone_db(effect, centre_hz / 4) == pytest.approx(
        -10 * math.log10(1 + (q * (warped / low - low / warped)) ** 2), abs=0.05
    )


@pytest.mark.parametrize("centre_hz", [150.0, 1000.0, 4000.0])
@pytest.mark.parametrize("q", [0.5, 2.0, 8.0])
def test_bandstop_takes_its_centre_away_and_nothing_far_from_it(centre_hz, q):
    effect = band(BandStop, centre_hz, q)
    assert tone_db(effect, centre_hz) < -80
    for edge_hz in edges_hz(centre_hz, q):
        assert tone_db(effect, edge_hz) == pytest.approx(-3.01, abs=0.05)
    if q >= 2:
        assert tone_db(effect, centre_hz / 16) == pytest.approx(0.0, abs=0.02)
        assert tone_db(effect, 10_900.0) == pytest.approx(0.0, abs=0.1)


def edges_hz(centre_hz, q):
    """Where the band-pass is 3 dB down: Q |s + 1/s| = 1, and s bent by the bilinear transform."""
    warped = math.tan(math.pi * centre_hz / RATE)
    half = 1 / (2 * q)
    return [math.atan(warped * (math.sqrt(1 + half**2) + side * half)) * RATE / math.pi for side in (-1, 1)]


@pytest.mark.parametrize(("highpass", "kind"), [(True, "highpass"), (False, "lowpass")])
@pytest.mark.parametrize("cutoff_hz", [20.0, 200.0, 1000.0, 4000.0, 10_800.0])
def test_same_samples_as_scipy(highpass, kind, cutoff_hz):
    expected = scipy.signal.sosfilt(
        scipy.signal.butter(2, cutoff_hz, kind, fs=RATE, output="sos"), noise().astype(float)
    )
    wide = HighLowPass(p=1.0, highpass_low_hz=20.0, lowpass_high_hz=10_800.0).at_rate(RATE)
    assert np.abs(through(wide, noise(), highpass=highpass, cutoff_hz=cutoff_hz) - expected).max() < 1e-4


@pytest.mark.parametrize("rate", [8000, 22_050, 48_000])
@pytest.mark.parametrize("cls", [LowPass, HighPass])
@pytest.mark.parametrize("cutoff_hz", [20.0, 300.0, 3900.0])
def test_each_half_alone_gives_the_same_samples_as_scipy(cls, cutoff_hz, rate):
    expected = scipy.signal.sosfilt(cookbook(cls.__name__, cutoff_hz, 0.5**0.5, rate), noise().astype(float))
    assert np.abs(through(at(cls, cutoff_hz, rate=rate), noise(), cutoff_hz=cutoff_hz) - expected).max() < 1e-4


@pytest.mark.parametrize("cls", [BandPass, BandStop])
@pytest.mark.parametrize("centre_hz", [20.0, 1000.0, 10_800.0])
@pytest.mark.parametrize("q", [0.1, 0.5, 2.0, 30.0])
def test_bands_give_the_same_samples_as_scipy(cls, centre_hz, q):
    expected = scipy.signal.sosfilt(cookbook(cls.__name__, centre_hz, q), noise().astype(float))
    assert np.abs(through(band(cls, centre_hz, q), noise(), centre_hz=centre_hz, q=q) - expected).max() < 1e-4


def tail_db(section, samples):
    """What a filter makes of a click after so many samples, against all: sum of the absolute values."""
    click = np.zeros(200_000)
    click[0] = 1.0
    response = np.abs(scipy.signal.sosfilt(section, click))
    return 20 * math.log10(response[samples + 1 :].sum() / response.sum() + 1e-30)


@pytest.mark.parametrize("cls", [LowPass, HighPass])
@pytest.mark.parametrize("cutoff_hz", [20.0, 200.0, 1200.0, 4000.0, 10_800.0])
def test_tail_is_120_db_down_and_not_much_longer(cls, cutoff_hz):
    section, tail = cookbook(cls.__name__, cutoff_hz, 0.5**0.5), at(cls, cutoff_hz).tail_samples()
    assert tail_db(section, tail) < -120
    assert tail_db(section, tail * 3 // 4) > -120


@pytest.mark.parametrize("cls", [BandPass, BandStop])
@pytest.mark.parametrize("ranges", [(200, 4000, 0.5, 2.0), (200, 10_800, 0.2, 0.6), (5000, 10_800, 0.1, 0.55)])
def test_tail_holds_for_all_that_can_be_drawn(cls, ranges):
    low_hz, high_hz, low_q, high_q = ranges
    tail = cls(p=1.0, low_hz=low_hz, high_hz=high_hz, low_q=low_q, high_q=high_q).at_rate(RATE).tail_samples()
    levels_db = [
        tail_db(cookbook(cls.__name__, hz, q), tail)
        for hz in np.geomspace(low_hz, high_hz, 5)
        for q in np.geomspace(low_q, high_q, 5)
    ]
    assert -145 < max(levels_db) < -120


@pytest.mark.parametrize("q", [0.1, 0.4, 0.48, 0.5, 0.52, 0.6, 1.0, 30.0])
@pytest.mark.parametrize("turns", [0.001, 0.25, 0.49])
def test_tail_of_every_damping(turns, q):
    assert tail_db(cookbook("BandPass", turns * RATE, q), ringing_samples([decay(turns, q)])) < -120


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


def test_bands_are_drawn_evenly_over_the_octaves():
    for cls in (BandPass, BandStop):
        drawn = cls(p=1.0).at_rate(RATE).draw(torch.zeros(4000, 1, 1), torch.Generator().manual_seed(0))
        for value, low, high in ((drawn["centre_hz"], 200.0, 4000.0), (drawn["q"], 0.5, 2.0)):
            assert low <= value.min() < 1.01 * low
            assert 0.99 * high < value.max() <= high
            assert value.log().mean() == pytest.approx(math.log(low * high) / 2, abs=0.05)
        assert abs(np.corrcoef(drawn["centre_hz"], drawn["q"])[0, 1]) < 0.05


@pytest.mark.parametrize(("cls", "low", "high"), [(LowPass, 2200, 4000), (HighPass, 200, 1200)])
def test_cutoffs_are_drawn_evenly_in_hz(cls, low, high):
    drawn = cls(p=1.0).at_rate(RATE).draw(torch.zeros(4000, 1, 1), torch.Generator().manual_seed(0))["cutoff_hz"]
    assert low <= drawn.min() < low + 10
    assert high - 10 < drawn.max() <= high
    assert drawn.mean() == pytest.approx((low + high) / 2, abs=(high - low) / 50)


@pytest.mark.parametrize(
    ("effect", "name"),
    [(HighLowPass(), "lowpass_high_hz"), (LowPass(), "high_hz"), (BandPass(), "high_hz"), (BandStop(), "high_hz")],
)
def test_of_a_range_above_half_the_rate_the_part_below_is_used(effect, name):
    before = repr(effect)
    text = (
        rf"{type(effect).__name__}: {name}=4000 Hz is above 3920 Hz, 0.49 of the sample rate of 8000 Hz; 3920 Hz is"
    )
    with pytest.warns(UserWarning, match=text) as warned:
        effect.at_rate(8000)
    assert len(warned) == 1
    assert warned[0].filename == __file__
    assert repr(effect) == before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        effect.at_rate(8000)  # once is enough
        drawn = effect.draw(torch.zeros(2000, 1, 1), torch.Generator().manual_seed(0))
        assert torch.isfinite(Chain([effect], sample_rate=8000)(torch.randn(3, 1, 9000))).all()
    highest = drawn["centre_hz" if "centre_hz" in drawn else "cutoff_hz"].max()
    assert 3870 < highest <= 3920


def test_a_chain_warns_too():
    with pytest.warns(UserWarning, match="LowPass: high_hz=4000 Hz is above 3920 Hz"):
        Chain([LowPass()], sample_rate=8000)


def test_a_range_that_lies_above_half_the_rate_is_an_error():
    text = r"LowPass: low_hz=2200 Hz is above 1960 Hz, 0.49 of the sample rate of 4000 Hz, and nothing of the range"
    with pytest.raises(UserError, match=text):
        LowPass().at_rate(4000)
    with pytest.raises(UserError, match=r"HighLowPass: lowpass_low_hz=2200 Hz is above 1960 Hz"):
        HighLowPass().at_rate(4000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HighPass().at_rate(4000)  # all of its range lies below


@pytest.mark.parametrize("cls", [LowPass, HighPass, BandPass, BandStop])
def test_waves_shorter_than_the_tail(cls):
    out = cls(p=1.0, low_hz=20.0, high_hz=20.0).at_rate(RATE)(torch.from_numpy(noise(50))[None, None])
    section = cookbook(cls.__name__, 20.0, 0.5**0.5)
    if cls in (LowPass, HighPass):
        assert np.abs(out[0, 0].numpy() - scipy.signal.sosfilt(section, noise(50).astype(float))).max() < 1e-4
    assert out.shape == (1, 1, 50)
    assert torch.isfinite(out).all()


def test_cutoffs_the_wrong_way_round():
    with pytest.raises(UserError, match="1 <= highpass_low_hz <= highpass_high_hz"):
        HighLowPass(highpass_low_hz=2000.0)
    with pytest.raises(UserError, match="lowpass_low_hz=0"):
        HighLowPass(lowpass_low_hz=0)
    for cls in (LowPass, HighPass, BandPass, BandStop):
        with pytest.raises(UserError, match=f"{cls.__name__}: came low_hz=5000.0, high_hz=.*1 <= low_hz <= high_hz"):
            cls(low_hz=5000.0)
    for cls in (BandPass, BandStop):
        with pytest.raises(UserError, match=r"0\.1 <= low_q <= high_q"):
            cls(low_q=0.0)
