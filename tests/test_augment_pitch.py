"""Shifted tones land where they should, at their level and in their time; music is near its ideal transposition."""

import math

import numpy as np
import pytest
import torch
from pitch_music import RATE, SAMPLES, SEMITONES, log_mel_distance, render

from ssl_music.augment import PitchShift
from ssl_music.augment.overlap import sizes
from ssl_music.errors import UserError

TIME = torch.arange(SAMPLES) / RATE
EVERY = torch.tensor([-12.0, -7.0, -3.0, -0.5, 0.3, 1.0, 4.0, 7.0, 12.0])


def shifted(wave, semitones):
    """`wave`, (T,), by each of `semitones`. Shape: (N, T)."""
    effect = PitchShift(p=1.0, low_semitones=-12.0, high_semitones=12.0).at_rate(RATE)
    semitones = torch.as_tensor(semitones, dtype=torch.float32).reshape(-1)
    return effect.apply(wave.float().expand(len(semitones), 1, -1).contiguous(), semitones=semitones)[:, 0]


def peak_hz(wave):
    """Where the spectrum has its peak: a parabola through three logarithms. Shape: (N, T) → (N,)."""
    spectrum = torch.fft.rfft(wave.double() * torch.hann_window(wave.shape[-1], dtype=torch.float64), 2**18).abs()
    peak = spectrum.argmax(-1, keepdim=True)
    left, top, right = spectrum.gather(-1, peak + torch.arange(-1, 2)).log().unbind(-1)
    return (peak[:, 0] + 0.5 * (left - right) / (left - 2 * top + right)) * RATE / 2**18


@pytest.mark.parametrize("hz", [110.0, 220.0, 440.0, 880.0, 1760.0, 3520.0])
def test_tones_are_in_tune_at_their_level_and_steady(hz):
    out = shifted(torch.sin(2 * math.pi * hz * TIME), EVERY)
    assert out.shape == (len(EVERY), SAMPLES)
    cents = 1200 * torch.log2(peak_hz(out) / (hz * torch.exp2(EVERY / 12)))
    assert cents.abs().max() < 1.0  # 4 are asked for; 0.1 measured
    inner = out[:, 2000:-2000]
    assert (20 * torch.log10(inner.std(-1) * math.sqrt(2))).abs().max() < 0.3
    envelope = inner.unfold(1, 1000, 250).std(-1) * math.sqrt(2)  # 45 ms: shorter than a piece
    assert (20 * torch.log10(envelope)).abs().max() < 0.5


def test_a_chord_keeps_every_note():
    hertz = torch.tensor([220.0, 277.18, 329.63, 1000.0])
    out = shifted(0.2 * torch.sin(2 * math.pi * hertz[:, None] * TIME).sum(0), EVERY)
    power = torch.fft.rfft(out * torch.hann_window(SAMPLES)).abs().square()
    grid_hz = torch.arange(power.shape[1]) * RATE / SAMPLES
    for hz in hertz:
        # not phase-true from piece to piece, as a jump cannot fit all notes at once: a line becomes a narrow band
        ratio = grid_hz / (hz * torch.exp2(EVERY / 12))[:, None]
        band = power * ((ratio > 0.95) & (ratio < 1.05))
        one = 0.2**2 * SAMPLES**2 * 3 / 32  # a tone of amplitude 0.2 under a Hann window
        assert (10 * torch.log10(band.sum(1) / one)).abs().max() < 0.6, hz
        centre = (band * ratio.nan_to_num()).sum(1) / band.sum(1)
        assert (1200 * torch.log2(centre)).abs().max() < 10, hz
    assert (20 * torch.log10(out.std(-1) / 0.2 / math.sqrt(2))).abs().max() < 0.3
    envelope = out[:, 2000:-2000].unfold(1, 2000, 500).std(-1)
    assert (20 * torch.log10(envelope / 0.2 / math.sqrt(2))).abs().max() < 1.2  # no dropouts


def test_music_is_as_near_its_transposition_as_from_sox():
    pieces = [render(piece) for piece in range(4)]
    distances = np.array(
        [
            [
                log_mel_distance(shifted(torch.tensor(wave), step)[0].numpy(), render(piece, step))
                for step in SEMITONES
            ]
            for piece, wave in enumerate(pieces)
        ]
    )
    # sox 14.4's pitch on the same: 2.50, 1.58, 1.06, 1.87, 2.73, mean 1.95; unshifted 12.1
    assert distances.mean() < 1.8, distances.mean(0)  # 1.71 measured
    assert (distances.mean(0) < [2.4, 1.95, 1.3, 1.75, 2.3]).all(), distances.mean(0)


def bursts(gap=4410):
    """Short sounds with silence between them, and where they are."""
    places = list(range(3000, SAMPLES - 3000, gap))
    wave = torch.zeros(SAMPLES)
    for place in places:
        wave[place - 32 : place + 32] = torch.hann_window(64) * torch.sin(2 * math.pi * 1500 * TIME[:64])
    return wave, places


@pytest.mark.parametrize("semitones", [-7.0, -3.0, -1.0, 1.0, 3.0, 7.0])
def test_sounds_stay_where_they_were(semitones):
    wave, places = bursts()
    heard = shifted(wave, semitones)[0].abs().gt(0.05).nonzero()[:, 0]
    offset_ms = (heard[:, None] - torch.tensor(places)).abs().amin(1).max() * 1000 / RATE
    size = sizes(RATE)
    limit = size.reach + abs(1 - 2 ** (semitones / 12)) * size.length / 2 + 64
    assert offset_ms < limit * 1000 / RATE
    if abs(semitones) <= 3:
        assert offset_ms < 17


def test_the_music_as_a_whole_does_not_drift():
    noise = torch.randn(SAMPLES, generator=torch.Generator().manual_seed(0))
    loudness = 0.1 + (torch.sin(2 * math.pi * 2 * TIME) > 0)  # on and off, twice a second
    for out in shifted(noise * loudness, EVERY):
        envelope = out.square().unfold(0, 220, 110).mean(-1)
        wanted = loudness.square().unfold(0, 220, 110).mean(-1)
        lags = range(-8, 9)  # of 5 ms
        fit = [float((envelope[10:-10] * wanted[10 + lag : len(wanted) - 10 + lag]).sum()) for lag in lags]
        assert abs(lags[int(np.argmax(fit))]) <= 2


def test_no_shift_changes_nothing():
    wave = 0.3 * torch.randn(SAMPLES, generator=torch.Generator().manual_seed(1))
    assert (shifted(wave, 0.0)[0] - wave).abs().max() < 1e-6
    music = torch.tensor(render(0))
    assert (shifted(music, 0.0)[0] - music).abs().max() < 1e-6


def test_silence_a_constant_and_a_click():
    assert shifted(torch.zeros(SAMPLES), EVERY).abs().max() == 0
    constant = shifted(torch.full((SAMPLES,), 0.5), EVERY)
    assert (constant[:, 50:-50] - 0.5).abs().max() < 5e-3
    click = torch.zeros(SAMPLES)
    click[30_000] = 1.0
    out = shifted(click, EVERY)
    assert out.isfinite().all()
    assert out.abs().max() < 1.1
    assert (out[:, :28_000].abs().max() == 0) and (out[:, 32_000:].abs().max() == 0)


def test_the_ends_sound_too():
    out = shifted(torch.sin(2 * math.pi * 440 * TIME), EVERY)
    for end in (out[:, :300], out[:, -300:]):
        assert (end.std(-1) > 0.6).all()


def test_a_constant_below_the_music_does_not_mislead():
    out = shifted(0.1 * torch.sin(2 * math.pi * 440 * TIME) + 0.8, EVERY) - 0.8
    envelope = out[:, 2000:-2000].unfold(1, 1000, 250).std(-1) * math.sqrt(2) / 0.1
    assert (20 * torch.log10(envelope)).abs().max() < 1.0


@pytest.mark.parametrize("rate", [8_000, 16_000, 32_000, 44_100, 48_000])
def test_other_sample_rates(rate):
    wave = torch.sin(2 * math.pi * 440 * torch.arange(2 * rate) / rate)[None, None]
    out = PitchShift(p=1.0).at_rate(rate).apply(wave, semitones=torch.tensor([5.0]))[0]
    cents = 1200 * torch.log2(peak_hz(out) * rate / RATE / (440 * 2 ** (5 / 12)))
    assert cents.abs() < 1.0


def test_gradients_are_those_of_the_reading():
    wave = torch.tensor(render(1)).clone().requires_grad_()
    out = shifted(wave, [3.0])
    direction = torch.randn(SAMPLES, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad((out * direction).sum(), wave)
    # the places where pieces begin are constants: for them the output is linear in the wave
    assert float((gradient * wave).sum().detach()) == pytest.approx(float((out * direction).sum().detach()), rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"low_semitones": -13.0}, "-12 <= low_semitones"),
        ({"high_semitones": 13.0}, "high_semitones=13.0 is above 12"),
        ({"low_semitones": 3.0, "high_semitones": 2.0}, "low_semitones=3.0, high_semitones=2.0"),
    ],
)
def test_impossible_ranges(arguments, match):
    with pytest.raises(UserError, match=match):
        PitchShift(**arguments)


def test_a_wave_shorter_than_a_piece():
    effect = PitchShift(p=1.0).at_rate(RATE)
    with pytest.raises(UserError, match=r"at least 2382 samples at 22050 Hz; the wave has only 2381"):
        effect(torch.ones(2, 1, 2381))
    assert effect(torch.rand(2, 1, 2382)).isfinite().all()
