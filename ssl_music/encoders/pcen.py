"""Per-channel energy normalisation: gain control and a root in place of a logarithm (Wang et al. 2017)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_music.errors import UserError

#: the weight of what the smoother no longer remembers
FORGOTTEN = 1e-9


class PCEN(nn.Module):
    """(E / (ε + M)^α + δ)^r - δ^r, where M is E smoothed over time by a one-pole low-pass in each band.

    "Trainable Frontend for Robust and Far-Field Keyword Spotting" (Wang et al., ICASSP 2017): division by
    its own past makes a band's loudness constant, the root compresses. M[t] = (1 - s) M[t-1] + s E[t], begun with
    M[0] = E[0], and s follows from the time constant T in frames, s = (√(1 + 4T²) - 1) / 2T² (Lostanlen et al.,
    "Per-channel energy normalization: why and how", 2019). The defaults are Wang et al.'s in that article and
    librosa's: α .98, δ 2, r .5, T 400 ms, ε 1e-6. They belong to samples of up to 2^31 (librosa's documentation of
    `pcen`), hence `input_gain`: 2^31 for magnitudes, librosa's input; the front end gives powers its square.

    `learnable=True` learns α, δ and r of each band, as logarithms so that they stay positive (Wang et al., sec. 3).

    Shape: energy (B, F, bands), not negative → (B, F, bands).

    >>> PCEN(3, 62.5)(torch.ones(1, 5, 3)).std() < 1e-4  # nothing changes: all alike
    tensor(True)
    """

    def __init__(
        self,
        bands: int,
        frames_per_second: float,
        *,
        alpha: float = 0.98,
        delta: float = 2.0,
        root: float = 0.5,
        seconds: float = 0.4,
        epsilon: float = 1e-6,
        input_gain: float = 2.0**31,
        learnable: bool = False,
    ) -> None:
        super().__init__()
        if min(alpha, delta, root, seconds, epsilon, input_gain) <= 0:
            raise UserError(
                "pcen wants alpha, delta, root, seconds, epsilon and input_gain above 0; "
                f"came {alpha:g}, {delta:g}, {root:g}, {seconds:g}, {epsilon:g}, {input_gain:g}"
            )
        frames = seconds * frames_per_second
        self.smoothing = (math.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2)
        self.epsilon = epsilon
        self.input_gain = input_gain
        logarithms = torch.tensor([alpha, delta, root]).log()[:, None].repeat(1, bands)  # (3, bands)
        if learnable:
            self.log_numbers = nn.Parameter(logarithms)
        else:
            self.register_buffer("log_numbers", logarithms, persistent=False)

    def forward(self, energy: Tensor) -> Tensor:
        energy = energy * self.input_gain
        alpha, delta, root = self.log_numbers.exp()
        # E / (ε + M)^α through logarithms, for (ε + M) of 1e-6 to 1e13
        level = energy * (-alpha * (self.epsilon + one_pole(energy, self.smoothing)).log()).exp()
        return (level + delta) ** root - delta**root


def one_pole(series: Tensor, smoothing: float) -> Tensor:
    """M[t] = (1 - s) M[t-1] + s · series[t] along dimension 1, M[0] = series[0]; for 0 < s ≤ 1 and (B, F, M).

    The sum over the last k steps gives that over 2k by adding itself, k steps earlier and decayed: after ten steps
    the sum reaches over 1,024 frames. The number of steps depends on s alone, until less than 1e-9 is left out; so
    the graph is the same for every length. Nothing is subtracted: after a loud sound the silence stays exact.

    >>> one_pole(torch.tensor([4.0, 0.0, 0.0]).view(1, 3, 1), 0.5).flatten().tolist()
    [4.0, 2.0, 1.0]
    """
    first = torch.arange(series.shape[1], device=series.device)[:, None] == 0  # (F, 1)
    total = torch.where(first, series, smoothing * series)
    decay, reach = 1 - smoothing, 1
    while decay**reach > FORGOTTEN:
        total = total + decay**reach * F.pad(total, (0, 0, reach, 0))[:, : series.shape[1]]
        reach *= 2
    return total
