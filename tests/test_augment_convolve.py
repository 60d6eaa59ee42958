"""Overlap-save against scipy's direct convolution, for every relation of lengths."""

import numpy as np
import pytest
import scipy.signal
import torch

from ssl_music.augment.convolve import convolved, filtered


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def direct(wave, *impulses):
    """Each row convolved with each of its impulse responses in float64, cut to T."""
    rows = []
    for number, row in enumerate(wave[:, 0].double().numpy()):
        for impulse in impulses:
            row = scipy.signal.fftconvolve(row, impulse[number].double().numpy())[: wave.shape[-1]]  # noqa: PLW2901
        rows.append(row)
    return torch.from_numpy(np.stack(rows))[:, None].float()


def response_of(impulse):
    return lambda n_fft: torch.fft.rfft(impulse, n=n_fft)


LENGTHS = [
    (1, 1),
    (1, 500),
    (5, 3),
    (4095, 343),
    (4096, 1),
    (20_000, 343),
    (20_000, 1500),
    (3000, 9000),
    (12_289, 4097),
]


@pytest.mark.parametrize(("samples", "length"), LENGTHS)
def test_filtered_equals_direct_convolution(samples, length):
    wave, impulse = noise(3, 1, samples), noise(3, length, seed=1) / length**0.5
    out = filtered(wave, response_of(impulse), ringing=length - 1)
    assert out.shape == wave.shape
    assert (out - direct(wave, impulse)).abs().max() < 2e-5


@pytest.mark.parametrize(("samples", "length"), [*LENGTHS, (20_000, 22_491), (59_049, 22_491), (59_049, 100_000)])
@pytest.mark.parametrize("ringing", [0, 1, 342, 3000])
def test_convolved_equals_direct_convolution_and_filter(samples, length, ringing):
    wave, impulse = noise(2, 1, samples), noise(2, length, seed=1) / length**0.5
    short = noise(2, ringing + 1, seed=2) / (ringing + 1) ** 0.5
    out = convolved(wave, impulse, response_of(short), ringing)
    assert out.shape == wave.shape
    assert (out - direct(wave, impulse, short)).abs().max() < 5e-5
    if ringing == 0:
        assert (convolved(wave, impulse) - direct(wave, impulse)).abs().max() < 5e-5


def test_gradients_pass():
    wave, impulse = noise(2, 1, 9000).requires_grad_(), noise(2, 5000, seed=1) / 70
    direction = noise(2, 1, 9000, seed=3)
    (convolved(wave, impulse) * direction).sum().backward()
    # the adjoint of a convolution is the convolution of the reversed signal, reversed
    assert (wave.grad.flip(-1) - direct(direction.flip(-1), impulse)).abs().max() < 5e-5
