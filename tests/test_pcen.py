"""PCEN against the recursion written as a loop over frames, and against what gain control has to do."""

import math

import pytest
import torch
from torch import Tensor

from ssl_music.encoders.pcen import PCEN, one_pole
from ssl_music.errors import UserError


def naive(energy: Tensor, frames_per_second: float, *, gain: float = 2.0**31, seconds: float = 0.4) -> Tensor:
    """librosa's formula with its defaults, frame by frame, in float64; begun with the first frame."""
    frames = seconds * frames_per_second
    smoothing = (math.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2)
    scaled = energy.double() * gain
    smooth, out = scaled[:, 0], []
    for frame in scaled.unbind(1):
        smooth = (1 - smoothing) * smooth + smoothing * frame
        out.append((frame / (1e-6 + smooth) ** 0.98 + 2) ** 0.5 - 2**0.5)
    return torch.stack(out, 1)


@pytest.mark.parametrize("frames", [1, 2, 187, 1813])
def test_equals_the_loop(frames: int) -> None:
    energy = torch.rand(3, frames, 5, generator=torch.Generator().manual_seed(0)) ** 4
    energy[1, frames // 3 :] = 0  # silence after sound: the smoother falls without end
    energy[2] *= 1e-9
    ours = PCEN(5, 62.5)(energy)
    torch.testing.assert_close(ours.double(), naive(energy, 62.5), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("smoothing", [1.0, 0.5, 0.025, 0.004])
def test_the_smoother_is_the_recursion_to_float_precision(smoothing: float) -> None:
    series = torch.rand(2, 3000, 3, generator=torch.Generator().manual_seed(0)) ** 8
    series[0, 100:] = 0
    expected, state = [], series[:, 0].double()
    for frame in series.double().unbind(1):
        state = (1 - smoothing) * state + smoothing * frame
        expected.append(state)
    ours = one_pole(series, smoothing).double()
    torch.testing.assert_close(ours, torch.stack(expected, 1), rtol=1e-5, atol=1e-8)


def test_loudness_hardly_matters_but_onsets_do() -> None:
    energy = torch.full((1, 200, 1), 1e-3)
    energy[:, 100:] = 1e-1  # 20 dB louder from frame 100 on
    out = PCEN(1, 62.5)(energy)[0, :, 0]
    assert float(out[100] / out[99]) > 3
    # M has all but reached the new level; α = .98 leaves the louder half of 100^.02 = 1.10
    assert float(out[199] / out[99]) == pytest.approx(1.1, abs=0.02)


def test_learnt_numbers_stay_positive_and_are_weights() -> None:
    pcen = PCEN(4, 62.5, learnable=True)
    assert {name: tuple(tensor.shape) for name, tensor in pcen.state_dict().items()} == {"log_numbers": (3, 4)}
    energy = torch.rand(2, 50, 4)
    torch.testing.assert_close(pcen(energy), PCEN(4, 62.5)(energy))
    pcen(energy).square().mean().backward()
    gradient = pcen.log_numbers.grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert (gradient.abs() > 0).all()


def test_bad_numbers_are_named() -> None:
    with pytest.raises(UserError, match=r"above 0; came 0\.98, 2, 0\.5, 0, 1e-06"):
        PCEN(4, 62.5, seconds=0)
