"""The parametric equaliser: gains where they were asked for, the cookbook's samples, the tail, the draws."""

import math
import warnings

import numpy as np
import pytest
import scipy.signal
import torch

from ssl_music.augment import Chain, ParametricEQ
from ssl_music.errors import UserError

RATE = 22_050


def equalizer(rate=RATE, **arguments):
    return ParametricEQ(p=1.0, **arguments).at_rate(rate)


def one_row(centre_hz, gain_db, q):
    return {"centre_hz": torch.tensor([centre_hz]), "gain_db": torch.tensor([gain_db]), "q": torch.tensor([q])}


def level_db(effect, params, hz):
    """The gain at a frequency of whole Hz, from the response in bins of 1 Hz."""
    return 20 * math.log10(float(effect.response(RATE, **params)[0, hz].abs()))


def noise(samples=59_049):
    return np.random.default_rng(0).standard_normal(samples).astype(np.float32)


def cookbook(kind, hz, gain_db, q):
    """The Audio EQ Cookbook's coefficients, as one section of scipy."""
    omega, root = 2 * math.pi * hz / RATE, 10 ** (gain_db / 40)
    alpha, cosine = math.sin(omega) / (2 * q), math.cos(omega)
    if kind == "peak":
        section = [1 + alpha * root, -2 * cosine, 1 - alpha * root, 1 + alpha / root, -2 * cosine, 1 - alpha / root]
    else:
        cosine, sign = (cosine, 1) if kind == "low" else (-cosine, -1)
        less, more, slope = root - 1, root + 1, 2 * math.sqrt(root) * alpha
        section = [
            root * (more - less * cosine + slope),
            sign * 2 * root * (less - more * cosine),
            root * (more - less * cosine - slope),
            more + less * cosine + slope,
            sign * -2 * (less + more * cosine),
            more + less * cosine - slope,
        ]
    return np.array(section) / section[3]


@pytest.mark.parametrize("hz", [100, 1000, 7000])
@pytest.mark.parametrize("gain_db", [-12.0, -3.0, 0.0, 12.0])
@pytest.mark.parametrize("q", [0.5, 2.0, 8.0])
def test_the_centre_has_the_gain_and_the_far_ends_none(hz, gain_db, q):
    effect, params = equalizer(bands=1), one_row([float(hz)], [gain_db], [q])
    assert level_db(effect, params, hz) == pytest.approx(gain_db, abs=1e-4)
    assert level_db(effect, params, 0) == pytest.approx(0.0, abs=1e-4)
    assert level_db(effect, params, RATE // 2) == pytest.approx(0.0, abs=1e-4)
    if q == 8.0:
        assert level_db(effect, params, hz // 4) == pytest.approx(0.0, abs=0.1)


def test_half_the_gain_at_the_edges_of_the_band():
    # the cookbook defines Q of the peak by the points of half the gain in dB: |s − 1/s| = 1/Q
    hz, q = 500.0, 2.0
    warped, half = math.tan(math.pi * hz / RATE), 1 / (2 * q)
    for side in (-1, 1):
        edge_hz = math.atan(warped * (math.sqrt(1 + half**2) + side * half)) * RATE / math.pi
        assert level_db(equalizer(bands=1), one_row([hz], [10.0], [q]), round(edge_hz)) == pytest.approx(
            5.0, abs=0.02
        )


@pytest.mark.parametrize("gain_db", [-12.0, 6.0])
def test_shelves_move_all_that_lies_beyond_them(gain_db):
    effect, params = equalizer(bands=2, shelves=True), one_row([300.0, 3000.0], [gain_db, -gain_db], [1.0, 1.0])
    assert level_db(effect, params, 0) == pytest.approx(gain_db, abs=1e-3)
    assert level_db(effect, params, RATE // 2) == pytest.approx(-gain_db, abs=1e-3)
    assert level_db(effect, params, 300) == pytest.approx(gain_db / 2, abs=0.1)
    assert level_db(effect, params, 3000) == pytest.approx(-gain_db / 2, abs=0.1)


@pytest.mark.parametrize("shelves", [False, True])
@pytest.mark.parametrize(
    ("centres_hz", "gains_db", "qs"),
    [
        ([130.0, 1500.0, 5000.0], [12.0, -12.0, 5.0], [2.0, 0.5, 1.0]),
        ([400.0, 430.0, 7000.0], [12.0, 12.0, 12.0], [2.0, 2.0, 2.0]),
        ([400.0, 1000.0, 2000.0], [-12.0, -12.0, -12.0], [0.5, 0.5, 0.5]),
    ],
)
def test_same_samples_as_scipy(centres_hz, gains_db, qs, shelves):
    kinds = ["low", "peak", "high"] if shelves else ["peak"] * 3
    qs_used = [0.5**0.5, qs[1], 0.5**0.5] if shelves else qs
    sections = [cookbook(*each) for each in zip(kinds, centres_hz, gains_db, qs_used, strict=True)]
    expected = scipy.signal.sosfilt(np.array(sections), noise().astype(float))
    params = one_row(centres_hz, gains_db, qs)
    out = equalizer(shelves=shelves).apply(torch.from_numpy(noise())[None, None], **params)
    assert np.abs(out[0, 0].numpy() - expected).max() < 1e-4


@pytest.mark.parametrize("hz", [20.0, 10_800.0])
@pytest.mark.parametrize("gain_db", [-24.0, 24.0])
def test_same_samples_as_scipy_at_the_ends_of_the_band(hz, gain_db):
    expected = scipy.signal.sosfilt(cookbook("peak", hz, gain_db, 4.0)[None], noise().astype(float))
    effect = equalizer(bands=1, low_hz=20.0, high_hz=10_800.0, low_gain_db=-24.0, high_gain_db=24.0, high_q=4.0)
    out = effect.apply(torch.from_numpy(noise())[None, None], **one_row([hz], [gain_db], [4.0]))
    assert np.abs(out[0, 0].numpy() - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("shelves", [False, True])
@pytest.mark.parametrize(
    "ranges",
    [
        {},
        {"bands": 5, "low_hz": 60.0, "high_hz": 10_000.0, "low_q": 2.0, "high_q": 5.0},
        {"bands": 2, "low_hz": 200.0, "high_hz": 10_800.0, "low_gain_db": -24.0, "high_gain_db": 24.0},
        {"bands": 4, "low_hz": 300.0, "high_hz": 300.0, "low_gain_db": -12.0, "high_gain_db": -12.0},
    ],
)
def test_tail_holds_for_all_that_can_be_drawn(ranges, shelves):
    effect, random = equalizer(shelves=shelves, **ranges), np.random.default_rng(0)
    edges_hz = np.geomspace(effect.low_hz, effect.high_hz, effect.bands + 1)
    kinds = ["low", *["peak"] * (effect.bands - 2), "high"] if shelves else ["peak"] * effect.bands
    click = np.zeros(60_000)
    click[0] = 1.0
    for trial in range(40):
        part = random.integers(0, 2, (3, effect.bands)) if trial > 0 else [[0] * effect.bands, [1] * effect.bands] * 2
        sections = []
        for band, kind in enumerate(kinds):
            hz = edges_hz[band + part[0][band]]
            gain_db = (effect.low_gain_db, effect.high_gain_db)[part[1][band]]
            q = (effect.low_q, effect.high_q)[part[2][band]] if kind == "peak" else 0.5**0.5
            sections.append(cookbook(kind, hz, gain_db, q))
        response = np.abs(scipy.signal.sosfilt(np.array(sections), click))
        assert response[effect.tail_samples() + 1 :].sum() < 1e-6 * response.sum()


def test_each_filter_has_its_part_of_the_range():
    effect = equalizer(bands=4, low_hz=100.0, high_hz=1600.0)
    drawn = effect.draw(torch.zeros(2000, 1, 1), torch.Generator().manual_seed(0))
    assert {name: value.shape for name, value in drawn.items()} == dict.fromkeys(
        ("centre_hz", "gain_db", "q"), (2000, 4)
    )
    for band, low_hz in enumerate((100.0, 200.0, 400.0, 800.0)):
        centre_hz = drawn["centre_hz"][:, band]
        assert 0.999 * low_hz <= centre_hz.min() < 1.01 * low_hz
        assert 1.98 * low_hz < centre_hz.max() <= 2.001 * low_hz
        assert centre_hz.log2().mean() == pytest.approx(math.log2(low_hz) + 0.5, abs=0.03)
    assert drawn["gain_db"].abs().max() <= 12
    assert drawn["gain_db"].mean(0).abs().max() < 0.5
    assert ((drawn["q"] >= 0.5) & (drawn["q"] <= 2.0)).all()
    assert (torch.corrcoef(drawn["gain_db"].T) - torch.eye(4)).abs().max() < 0.1


def test_a_flat_equalizer_changes_nothing():
    wave = torch.from_numpy(noise(20_000))[None, None]
    out = equalizer(bands=5, low_gain_db=0.0, high_gain_db=0.0, shelves=True)(wave)
    assert (out - wave).abs().max() < 1e-5


def test_waves_shorter_than_the_tail():
    params = one_row([100.0], [12.0], [2.0])
    out = equalizer(bands=1, low_hz=100.0).apply(torch.from_numpy(noise(50))[None, None], **params)
    expected = scipy.signal.sosfilt(cookbook("peak", 100.0, 12.0, 2.0)[None], noise(50).astype(float))
    assert np.abs(out[0, 0].numpy() - expected).max() < 1e-4


def test_of_a_range_above_half_the_rate_the_part_below_is_used():
    effect = ParametricEQ(p=1.0)
    with pytest.warns(UserWarning, match=r"ParametricEQ: high_hz=7500 Hz is above 3920 Hz, 0.49 of the sample rate"):
        effect.at_rate(8000)
    assert effect.high_hz == 7500.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = effect.draw(torch.zeros(2000, 1, 1), torch.Generator().manual_seed(0))
        assert torch.isfinite(Chain([effect], sample_rate=8000)(torch.randn(3, 1, 9000))).all()
    assert 3870 < drawn["centre_hz"].max() <= 3920.001
    with pytest.raises(UserError, match=r"ParametricEQ: low_hz=125 Hz is above 98 Hz"):
        ParametricEQ().at_rate(200)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"bands": 0}, "bands=0 with shelves=False; give at least 1"),
        ({"bands": 1, "shelves": True}, "bands=1 with shelves=True; give at least 2"),
        ({"low_hz": 0.0}, "1 <= low_hz <= high_hz"),
        ({"low_gain_db": 13.0}, "low_gain_db=13.0, high_gain_db=12.0"),
        ({"low_q": 3.0}, "low_q=3.0, high_q=2.0"),
    ],
)
def test_refuses_what_is_no_equalizer(arguments, match):
    with pytest.raises(UserError, match=match):
        ParametricEQ(**arguments)
