"""Clipping: the new peak and the clipped share; saturation: level, odd harmonics, its own formula."""

import math

import pytest
import torch

from ssl_music.augment import Clipping, Saturation
from ssl_music.errors import UserError

RATE = 22_050


def music(rows=6, samples=20_000):
    loudness = torch.logspace(0, -4, rows)[:, None, None]
    return torch.randn(rows, 1, samples, generator=torch.Generator().manual_seed(1)) * loudness * 0.3


def tone(amplitude=1.0, frequency_hz=440.0):
    time = torch.arange(RATE, dtype=torch.float64) / RATE
    return (amplitude * torch.sin(2 * math.pi * frequency_hz * time)).float()[None, None]


def clipped(wave, clip_db):
    return Clipping(p=1.0).apply(wave, clip_db=torch.full((len(wave),), clip_db))


def saturated(wave, drive_db):
    return Saturation(p=1.0).apply(wave, drive_db=torch.full((len(wave),), drive_db))


@pytest.mark.parametrize("clip_db", [2.0, 6.0, 20.0])
def test_clipping_lowers_the_peak_and_touches_nothing_else(clip_db):
    wave = music()
    out = clipped(wave, clip_db)
    peak, before = out.abs().amax(-1), wave.abs().amax(-1)
    assert (20 * torch.log10(before / peak) - clip_db).abs().max() < 1e-3
    inside = wave.abs() <= peak[..., None] * 0.99999
    assert torch.equal(out[inside], wave[inside])


@pytest.mark.parametrize("clip_db", [1.0, 3.0, 12.0])
def test_clipped_share_of_a_sine(clip_db):
    out = clipped(tone(), clip_db)
    expected = 1 - 2 / math.pi * math.asin(10 ** (-clip_db / 20))
    assert (out.abs() >= out.abs().max() * 0.999999).float().mean().item() == pytest.approx(expected, abs=0.005)


def test_clipped_samples_get_no_gradient():
    wave = music().requires_grad_()
    out = clipped(wave, 6.0)
    out.sum().backward()
    assert torch.equal(wave.grad, (out == wave).float())


def harmonics_db(wave):
    """Levels of the first ten multiples of 440 Hz relative to the first; one second, so bins are of 1 Hz."""
    power = torch.fft.rfft(wave[0, 0].double()).abs().square()[440:4401:440]
    return 10 * torch.log10(power / power[0] + 1e-20)


@pytest.mark.parametrize("drive_db", [0.0, 6.0, 18.0])
def test_saturation_adds_odd_harmonics_only(drive_db):
    level_db = harmonics_db(saturated(tone(), drive_db))
    assert level_db[1::2].max() < -90
    assert (level_db[2::2].diff() < 0).all()
    assert level_db[2] < -9.5  # a square wave has −9.54
    # Fourier integral of tanh(g sin t), over one turn
    angle = torch.arange(4096, dtype=torch.float64) * (2 * math.pi / 4096)
    bent = torch.tanh(10 ** (drive_db / 20) * angle.sin())
    first, third = ((bent * (n * angle).sin()).mean() for n in (1, 3))
    assert level_db[2] == pytest.approx(20 * math.log10(abs(third / first)), abs=0.01)


@pytest.mark.parametrize("drive_db", [-20.0, 0.0, 12.0, 40.0])
def test_saturation_keeps_the_power_and_follows_its_formula(drive_db):
    wave = music()
    out = saturated(wave, drive_db)
    assert (out.square().mean(-1) / wave.square().mean(-1) - 1).abs().max() < 1e-4
    bent = torch.tanh(10 ** (drive_db / 20) * wave / wave.abs().amax(-1, keepdim=True))
    scale = wave.norm(dim=-1, keepdim=True) / bent.norm(dim=-1, keepdim=True)
    assert ((out - scale * bent) / out.abs().amax(-1, keepdim=True)).abs().max() < 2e-6


def test_loudness_does_not_matter():
    wave = music()
    for effect in (lambda x: clipped(x, 6.0), lambda x: saturated(x, 12.0)):
        assert (effect(wave * 2.0**-10) * 2.0**10 - effect(wave)).abs().max() < 1e-6


@pytest.mark.parametrize("effect", [Clipping(p=1.0), Saturation(p=1.0)])
def test_silence_stays_silent(effect):
    wave = torch.zeros(2, 1, 1000, requires_grad=True)
    out = effect(wave)
    out.sum().backward()
    assert torch.equal(out, torch.zeros_like(out))
    assert torch.isfinite(wave.grad).all()


def test_values_fill_their_ranges():
    wave, source = torch.zeros(1000, 1, 1), torch.Generator().manual_seed(0)
    clip_db = Clipping().draw(wave, source)["clip_db"]
    assert 2.0 <= clip_db.min() < 2.1 and 7.9 < clip_db.max() <= 8.0
    drive_db = Saturation().draw(wave, source)["drive_db"]
    assert 0.0 <= drive_db.min() < 0.2 and 17.8 < drive_db.max() <= 18.0


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Clipping(low_db=-1.0), "Clipping: came low_db=-1.0.*0 <= low_db"),
        (lambda: Saturation(low_drive_db=20.0), "Saturation: came low_drive_db=20.0, high_drive_db=18.0"),
    ],
)
def test_ranges_the_wrong_way_round(make, match):
    with pytest.raises(UserError, match=match):
        make()
