"""Masks: silent exactly where drawn, soft at the edges; time reversal."""

import pytest
import torch

from ssl_music.augment import TimeMask, TimeReversal
from ssl_music.errors import UserError

RATE = 22_050
SAMPLES = 59_049


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def stretches_of(silent):
    """Pairs (first, samples) of the runs of True in a row."""
    edges = torch.nn.functional.pad(silent.int(), (1, 1)).diff().nonzero().flatten().tolist()
    return [(first, end - first) for first, end in zip(edges[::2], edges[1::2], strict=True)]


def test_silent_exactly_where_drawn_and_unchanged_beyond_the_fade():
    wave = torch.ones(50, 1, SAMPLES)
    effect = TimeMask(p=1.0).at_rate(RATE)
    params = effect.draw(wave, generator())
    out = effect.apply(wave, **params)[:, 0]
    fade = round(0.005 * RATE)
    for row in range(50):
        near = torch.zeros(SAMPLES, dtype=torch.bool)
        silent = near.clone()
        for first, samples in zip(params["first"][row].tolist(), params["samples"][row].tolist(), strict=True):
            assert first >= 0 and first + samples <= SAMPLES
            silent[first : first + samples] = True
            near[max(0, first - fade - 1) : first + samples + fade + 1] = True
        assert (out[row][silent] == 0).all()
        assert (out[row][~near] == 1).all()
        assert (out[row] == 0).sum() - silent.sum() <= 4
    assert out.diff(dim=1).abs().max() < 1.6 / fade  # no clicks: 3s² − 2s³ climbs by 1.5 at most


def test_lengths_and_places_fill_their_ranges():
    wave = torch.ones(4000, 1, 2205)
    params = TimeMask(p=1.0, low_ms=20.0, high_ms=60.0, stretches=3).at_rate(RATE).draw(wave, generator())
    assert params["first"].shape == params["samples"].shape == (4000, 3)
    assert params["samples"].min() == 441 and params["samples"].max() in (1322, 1323)
    end = params["first"] + params["samples"]
    assert params["first"].min() == 0 and end.max() == 2205
    assert params["samples"].float().mean() == pytest.approx(882, abs=10)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_silent_share(share):
    length_ms = share * 1000 * SAMPLES / RATE
    effect = TimeMask(p=1.0, low_ms=length_ms, high_ms=length_ms, stretches=1, fade_ms=0.0).at_rate(RATE)
    out = effect(torch.ones(5, 1, SAMPLES), generator())
    assert (out == 0).float().mean().item() == pytest.approx(share, abs=1e-4)
    assert ((out == 0) | (out == 1)).all()
    for row in out[:, 0]:
        assert len(stretches_of(row == 0)) == 1


def test_gradient_is_the_mask_itself():
    wave = torch.randn(3, 1, SAMPLES, generator=generator(), requires_grad=True)
    out = TimeMask(p=1.0).at_rate(RATE)(wave, generator())
    out.sum().backward()
    assert torch.equal(out == 0, wave.grad == 0)
    assert 0.02 < (wave.grad == 0).float().mean() < 0.2


def test_a_mask_longer_than_the_wave_is_an_error():
    with pytest.raises(UserError, match=r"TimeMask: high_ms=250 is 5512 samples at 22050 Hz.* only 5000"):
        TimeMask(p=1.0).at_rate(RATE)(torch.ones(2, 1, 5000))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"low_ms": 300.0}, "0 <= low_ms <= high_ms"),
        ({"stretches": 0}, "wanted stretches >= 1"),
        ({"fade_ms": -1.0}, "fade_ms >= 0"),
    ],
)
def test_impossible_masks(arguments, match):
    with pytest.raises(UserError, match=match):
        TimeMask(**arguments)


def test_backwards_twice_is_forwards():
    wave = torch.randn(4, 1, 1001, generator=generator())
    effect = TimeReversal(p=1.0)
    assert torch.equal(effect(wave)[..., 0], wave[..., -1])
    assert torch.equal(effect(effect(wave)), wave)
