"""MfccStatistics against numpy and scipy: the DCT, the slopes, the order of the four statistics."""

import numpy as np
import pytest
import torch
from scipy.fft import dct

from ssl_music.encoders import LogMelStatistics, MfccStatistics
from ssl_music.encoders.spectrogram import LogMel
from ssl_music.errors import UserError


def test_the_statistics_are_those_of_numpy_and_scipy() -> None:
    wave = 0.1 * torch.randn(2, 1, 22050, generator=torch.Generator().manual_seed(0))
    decibels = LogMel(22050, n_fft=1024, hop=512, bands=128)(wave).squeeze(1).numpy().astype(np.float64)
    cepstrum = dct(decibels, type=2, norm="ortho", axis=1)[:, :20]
    edges = np.pad(cepstrum, [(0, 0), (0, 0), (2, 2)], mode="edge")
    frames = cepstrum.shape[2]
    # the slope of a least-squares line through five points
    slopes = sum(step * edges[:, :, 2 + step : 2 + step + frames] for step in (-2, -1, 1, 2)) / 10
    wanted = [cepstrum.mean(axis=2), slopes.mean(axis=2), cepstrum.std(axis=2), slopes.std(axis=2)]
    np.testing.assert_allclose(MfccStatistics()(wave), np.concatenate(wanted, axis=1), rtol=1e-3, atol=1e-3)


def test_it_is_the_log_mel_statistics_of_coefficients_under_a_name() -> None:
    wave = 0.1 * torch.randn(3, 1, 8000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(MfccStatistics(mfcc=13)(wave), LogMelStatistics(mfcc=13)(wave))
    assert MfccStatistics().facts()["class_path"] == "ssl_music.encoders.statistics.MfccStatistics"
    with pytest.raises(UserError, match=r"MfccStatistics wants mfcc of 1 to 128.*came 0"):
        MfccStatistics(mfcc=0)
    with pytest.raises(UserError, match="came 41"):
        MfccStatistics(mfcc=41, bands=40)
