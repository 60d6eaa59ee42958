"""Parts that effects share: uniform draws, and noise that is a function of its seed.

Noise is a window, at a drawn place, into one fixed sequence of 2³² hashed counters: a row's noise is one small
integer among its parameters, equal on CPU and GPU, and costs a third of `torch.randn` (0.07 against 0.20 ms a clip
of 59,049 samples). Two windows of that length overlap with a chance of 3 in 100,000.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def uniform(low: float, high: float, wave: Tensor, generator: torch.Generator | None) -> Tensor:
    """One number in [low, high) for each row of `wave`. Shape: (B,), on the generator's device."""
    device = "cpu" if generator is None else generator.device
    return low + (high - low) * torch.rand(len(wave), generator=generator, device=device)


def seeds(wave: Tensor, generator: torch.Generator | None) -> Tensor:
    """One seed for each row of `wave`: where in the sequence its noise begins. Shape: (B,) int32."""
    device = "cpu" if generator is None else generator.device
    limit = 2**31
    return torch.randint(-limit, limit, (len(wave),), generator=generator, device=device, dtype=torch.int32)


def uniform_noise(seed: Tensor, count: int) -> Tensor:
    """White noise, evenly spread over [-1, 1], so of power 1/3. Shape: seed (B,) int32 → (B, count).

    >>> float(uniform_noise(torch.tensor([7], dtype=torch.int32), 100_000).square().mean())
    0.33
    """
    hashed = torch.arange(count, dtype=torch.int32, device=seed.device) + seed[:, None]
    # lowbias32 of C. Wellons' hash-prospector; the masks make the arithmetic shifts of int32 logical ones
    hashed ^= (hashed >> 16) & 0xFFFF
    hashed *= 0x7FEB352D
    hashed ^= (hashed >> 15) & 0x1FFFF
    hashed *= 0x846CA68B - 2**32
    hashed ^= (hashed >> 16) & 0xFFFF
    return hashed.to(torch.float32).mul_(2.0**-31)


def gaussian_noise(seed: Tensor, count: int) -> Tensor:
    """White noise of unit power, normally distributed (Box and Muller 1958). Shape: seed (B,) int32 → (B, count)."""
    half = (count + 1) // 2
    spread = uniform_noise(seed, 2 * half)
    # (0, 1]: the logarithm of nothing is infinite
    radius = (0.5 + 0.5 * spread[:, :half]).clamp_min_(2.0**-33).log_().mul_(-2.0).sqrt_()
    angle = math.pi * spread[:, half:]
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :count]


def pick(params: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """The parameters of some rows."""
    return {name: value.index_select(0, rows.to(value.device)) for name, value in params.items()}
