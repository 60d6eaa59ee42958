"""Targets of PASE's workers against numpy and scipy, and the physics of tones, noise and silence."""

import numpy as np
import pytest
import scipy.fft
import torch

from ssl_music._torchaudio import torchaudio
from ssl_music.errors import UserError
from ssl_music.methods.parts.worker_targets import Targets, excerpt, prosody

RATE = 16000


def tone(
    hz: float, *, seconds: float = 0.5, rate: int = RATE, amplitude: float = 0.5, harmonics: int = 1
) -> torch.Tensor:
    time = torch.arange(int(seconds * rate), dtype=torch.float64) / rate
    parts = [torch.sin(2 * torch.pi * k * hz * time + k) / k for k in range(1, harmonics + 1)]
    return amplitude * torch.stack(parts).sum(dim=0)[None, None]


def noise(rows: int = 3, samples: int = 8000) -> torch.Tensor:
    return 0.1 * torch.randn(rows, 1, samples, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def spectrum_of(wave: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    """Power of frames centred on multiples of the hop, edges reflected, one after the other: (bins, F)."""
    padded = np.pad(wave, n_fft // 2, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    frames = [padded[start : start + n_fft] for start in range(0, len(padded) - n_fft + 1, hop)]
    return np.stack([np.abs(np.fft.rfft(window * frame)) ** 2 for frame in frames], axis=1)


def test_spectrum_and_mfcc_are_those_of_numpy_and_scipy() -> None:
    waves = noise()
    found = Targets(RATE, 8000).double()(waves)
    mel = torchaudio.functional.melscale_fbanks(257, 0.0, RATE / 2, 40, RATE).double().numpy()
    for row, wave in enumerate(waves[:, 0].numpy()):
        power = spectrum_of(wave, 512, 160)
        decibels = 10 * np.log10(np.maximum(power, 1e-10))
        np.testing.assert_allclose(found["spectrum"][row, :257], decibels.mean(axis=1), atol=1e-4)
        np.testing.assert_allclose(found["spectrum"][row, 257:], decibels.std(axis=1), atol=1e-4)
        cepstrum = scipy.fft.dct(10 * np.log10(np.maximum(mel.T @ power, 1e-10)), axis=0, norm="ortho")[:20]
        padded = np.pad(cepstrum, ((0, 0), (2, 2)), mode="edge")
        deltas = np.stack(
            [padded[:, f : f + 5] @ [-0.2, -0.1, 0, 0.1, 0.2] for f in range(cepstrum.shape[1])], axis=1
        )
        np.testing.assert_allclose(found["mfcc"][row, :20], cepstrum.mean(axis=1), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found["mfcc"][row, 20:], deltas.std(axis=1), rtol=1e-4)


def test_the_spectrum_of_a_tone_peaks_at_its_bin() -> None:
    found = Targets(RATE, 8000)(tone(RATE / 512 * 40))["spectrum"][0]
    level = 10 * np.log10((0.5 / 2 * 256) ** 2)  # half the amplitude times the sum of the window
    # it does not change in time, but at the two edges of 51 frames the tone is reflected into another phase
    assert found[:257].argmax() == 40 and abs(found[40] - level) < 0.3
    assert found[257 + 40] < 1.5 and abs(found[60] - level) > 100


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
@pytest.mark.parametrize("harmonics", [1, 6])
@pytest.mark.parametrize("hz", [65.4, 110.0, 261.6, 440.0, 743.1, 950.0])
def test_the_pitch_of_a_tone(rate: int, harmonics: int, hz: float) -> None:
    harmonics = min(harmonics, int(0.45 * rate // hz))
    log_f0, voicing = prosody(tone(hz, rate=rate, harmonics=harmonics)[:, 0].float(), rate)[0, :2]
    assert (log_f0.exp() / hz - 1).abs().max() < 3e-3
    assert voicing.min() > 0.98


def test_crossings_and_energy_of_a_tone() -> None:
    found = Targets(RATE, 16000).double()(tone(500.0, seconds=1.0, amplitude=0.25))["prosody"][0]
    mean, deviation = found[:4], found[4:]
    assert abs(mean[2] - 2 * 500 / RATE) < 2 / 800  # the two edges of a frame of 800
    assert abs(mean[3] - 10 * np.log10(0.25**2 / 2)) < 1e-3
    assert deviation.max() < 5e-3


def test_noise_has_no_pitch_and_crosses_zero_every_other_sample() -> None:
    log_f0, voicing, crossings, energy = Targets(RATE, 8000)(noise())["prosody"][:, :4].T
    np.testing.assert_allclose(log_f0, np.log(np.sqrt(60 * 1000)), rtol=1e-6)  # nothing to draw a line between
    assert voicing.max() < 0.3 and (crossings - 0.5).abs().max() < 0.03 and (energy + 20).abs().max() < 0.5


def test_pitch_is_drawn_over_what_has_none() -> None:
    """A tone, noise, a tone an octave higher: ln F0 goes up in a straight line between them."""
    wave = torch.cat([tone(200.0, seconds=0.2), 10 * noise(1, 3200), tone(400.0, seconds=0.2)], dim=2)[:, 0]
    log_f0, voicing = prosody(wave, RATE)[0, :2]
    assert (voicing[4:8] < 0.45).all() and (voicing[[0, 1, 2, 3, 8, 9, 10, 11]] > 0.9).all()
    steps = np.diff(log_f0.numpy())
    np.testing.assert_allclose(steps[3:8], np.log(2) / 5, rtol=1e-2)
    np.testing.assert_allclose(steps[[0, 1, 2, 8, 9, 10]], 0, atol=1e-3)


def test_the_excerpt_is_the_middle() -> None:
    wave = noise(2, 9001)[:, 0]
    found = excerpt(wave, RATE)
    first = (9001 - 1024) // 2
    naive = [[wave[row, first + 4 * n : first + 4 * n + 4].mean() for n in range(256)] for row in range(2)]
    np.testing.assert_allclose(found, naive)
    assert excerpt(wave[:, :9], RATE).shape == (2, 2) and excerpt(wave[:, :300], 3000).shape == (2, 256)


@pytest.mark.parametrize("samples", [257, 400, 8000])
def test_silence_and_short_segments_stay_finite(samples: int) -> None:
    for wave in (torch.zeros(2, 1, samples), torch.ones(2, 1, samples), noise(2, samples).float()):
        for name, rows in Targets(RATE, samples)(wave).items():
            assert rows.isfinite().all(), name
    quiet = Targets(RATE, samples)(torch.zeros(1, 1, samples))
    assert quiet["prosody"][0, 1:4].tolist() == [0, 0, -100] and (quiet["spectrum"][0, :257] == -100).all()


def test_rows_do_not_know_each_other() -> None:
    waves = torch.cat([noise(9), tone(300.0), torch.zeros(1, 1, 8000, dtype=torch.float64)])
    targets = Targets(RATE, 8000).double()
    together = targets(waves)
    for name, rows in together.items():
        alone = torch.cat([targets(waves[row : row + 1])[name] for row in range(len(waves))])
        torch.testing.assert_close(rows, alone)


def test_half_precision_and_gradients_do_not_reach_targets() -> None:
    wave = noise().float().requires_grad_()
    targets = Targets(RATE, 8000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = targets(wave)
    assert not any(rows.requires_grad for rows in under.values())
    for name, rows in targets(wave.detach()).items():
        assert torch.equal(under[name], rows)
    assert all(rows.dtype == torch.float32 for rows in Targets(RATE, 8000).bfloat16()(wave.bfloat16()).values())


def test_bad_waves() -> None:
    with pytest.raises(UserError, match="too short for a spectrum: 257"):
        Targets(RATE, 256)
    with pytest.raises(UserError, match=r"\(N, 1, 8000\) are wanted; came \(2, 1, 7999\)"):
        Targets(RATE, 8000)(torch.zeros(2, 1, 7999))
