"""Parts that effects share: uniform draws, noise that is a function of its seed, decibels, second-order filters.

Noise is a window, at a drawn place, into one fixed sequence of 2³² hashed counters: a row's noise is one small
integer among its parameters, equal on CPU and GPU, and costs a third of `torch.randn` (0.07 against 0.20 ms a clip
of 59,049 samples). Two windows of that length overlap with a chance of 3 in 100,000.
"""

import cmath
import math
from collections.abc import Iterable, Mapping
from functools import lru_cache

import torch
from torch import Tensor

#: Evenly spread bytes that are summed to one normally distributed sample.
BYTES_PER_SUM = 32


def uniform(low: float, high: float, wave: Tensor, generator: torch.Generator | None) -> Tensor:
    """One number in [low, high) for each row of `wave`. Shape: (B,), on the generator's device."""
    device = "cpu" if generator is None else generator.device
    return low + (high - low) * torch.rand(len(wave), generator=generator, device=device)


def log_uniform(low: float, high: float, wave: Tensor, generator: torch.Generator | None) -> Tensor:
    """The same, evenly in the logarithm: as many numbers in each octave. Shape: (B,), on the generator's device."""
    return uniform(math.log(low), math.log(high), wave, generator).exp_().clamp_(low, high)


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
    return hashed(seed, count).to(torch.float32).mul_(2.0**-31)


def gaussian_noise(seed: Tensor, count: int) -> Tensor:
    """White noise of unit power, almost normally distributed. Shape: seed (B,) int32 → (B, count).

    Each sample is the sum of 32 evenly spread bytes with the signs of one row of a Hadamard matrix, and the rows are
    orthogonal: 32 bytes give 32 uncorrelated samples. The excess kurtosis is −1.2/32, no sample exceeds 9.8. The sums
    are of integers below 2¹³, so exact in any order and equal on all devices, TensorFloat-32 included. It costs a
    third of Box and Muller's method: 0.08 against 0.25 ms a clip of 59,049 samples.

    >>> float(gaussian_noise(torch.tensor([7], dtype=torch.int32), 100_000).pow(4).mean())
    2.9...
    """
    spread = hashed(seed, BYTES_PER_SUM // 4 * -(-count // BYTES_PER_SUM)).view(torch.uint8)
    signs, offset = _hadamard(seed.device)
    sums = torch.addmm(offset, spread.to(torch.float32).view(-1, BYTES_PER_SUM), signs)
    # a byte has the variance (2¹⁶ − 1) / 12
    return sums.mul_((BYTES_PER_SUM * (2**16 - 1) / 12) ** -0.5).view(spread.shape)[:, :count]


def pick(params: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """The parameters of some rows."""
    return {name: value.index_select(0, rows.to(value.device)) for name, value in params.items()}


def decibels(level_db: Tensor) -> Tensor:
    """The factor on amplitudes that a level in dB stands for."""
    return torch.pow(10.0, level_db / 20.0)


def biquad(
    n_fft: int,
    *,
    turns: Tensor,
    q: Tensor | float,
    numerator: tuple[Tensor | float, Tensor | float, Tensor | float],
) -> Tensor:
    """The response of (n₀ + n₁ s + n₂ s²) / (1 + s/Q + s²), s = 1j at `turns`, by the bilinear transform.

    `turns` is that frequency over the sample rate. With the numerators (1, 0, 0), (0, 0, 1), (0, 1/Q, 0) and
    (1, 0, 1) it is the low-pass, high-pass, band-pass and notch of the Audio EQ Cookbook (R. Bristow-Johnson).

    Shape: turns, q and each part of the numerator (B,) or a number → (B, n_fft // 2 + 1) complex.

    >>> quarter = torch.tensor([0.125])
    >>> biquad(16, turns=quarter, q=0.5**0.5, numerator=(1.0, 0.0, 0.0)).abs()[0, [0, 2, 8]]
    tensor([1.0000, 0.7071, 0.0000])
    """
    # s = j tan(ω/2) / tan(ω₀/2), and numerator and denominator are multiplied by cos²(ω/2) sin²(ω₀/2). Products of
    # sines lose no digits at the ends of the band, where the usual 1 − cos ω does: float32 is enough at 20 Hz.
    half = torch.linspace(0.0, math.pi / 2, n_fft // 2 + 1, dtype=turns.dtype, device=turns.device)  # ω/2, (F,)
    sine, cosine = half.sin(), half.sin().flip(0)
    corner = math.pi * turns[:, None]  # ω₀/2, (B, 1)
    near, far = corner.sin(), corner.cos()

    def polynomial(*weights: Tensor | float) -> tuple[Tensor, Tensor]:
        """Real and imaginary part of w₀ + w₁ s + w₂ s². Shape: (B, F)."""
        one, s, square = (weight[:, None] if isinstance(weight, Tensor) else weight for weight in weights)
        real = (one * near.square() * cosine.square()).sub_(square * far.square() * sine.square())
        return real, s * (near * far) * (sine * cosine)

    top, side = polynomial(*numerator)
    real, imaginary = polynomial(1.0, 1 / q, 1.0)
    norm = (real * real).addcmul_(imaginary, imaginary)
    real, imaginary = real.div_(norm), imaginary.div_(norm)
    # (top + 1j · side) / (real + 1j · imaginary)
    return torch.complex((top * real).addcmul_(side, imaginary), (side * real).addcmul_(top, imaginary, value=-1.0))


@lru_cache(maxsize=1024)
def decay(turns: float, q: float) -> float:
    """How fast `biquad` of these numbers stops ringing: nepers a sample, of its slower pole.

    >>> decay(0.01, 0.5**0.5) / (math.pi * 2**0.5 * 0.01)  # a Butterworth pair: π √2 times the cutoff
    1.000
    """
    # a pole p of the prototype 1 + s/Q + s² goes to z = (1 + p tan(ω₀/2)) / (1 − p tan(ω₀/2)) and rings as |z|ⁿ
    corner, root = math.tan(math.pi * turns), cmath.sqrt(1 - 4 * q * q)
    poles = [corner * (side * root - 1) / (2 * q) for side in (1, -1)]
    slowest = max(abs((1 + pole) / (1 - pole)) for pole in poles)
    nepers = -math.log(max(slowest, 1e-9))
    # two poles in one place (Q = 1/2) ring as n |z|ⁿ: 120 dB down takes a fifth longer
    return nepers / 1.21 if 0.4 < q < 0.6 else nepers


def ringing_samples(decays: Iterable[float]) -> int:
    """After how many samples a row of filters with these decays is 120 dB down.

    The slowest takes ln (2 · 10⁶) = 14.5 divided by its decay; the 2 since a broad filter's ringing begins that much
    above what it passes. Another of decay d stretches it: exponentials one after another are at the end the slowest
    times 1 / (1 − slowest/d), and no more than e³ for each when all are alike. Each numerator adds two samples.

    >>> ringing_samples([0.01]), ringing_samples([0.01, 0.01]), ringing_samples([0.01, 1.0])
    (1453, 1755, 1456)
    """
    slowest, *others = sorted(decays)
    stretch = sum(3.0 if other < 1.05 * slowest else min(3.0, -math.log1p(-slowest / other)) for other in others)
    return math.ceil((math.log(2e6) + stretch) / slowest) + 2 * (1 + len(others))


def hashed(seed: Tensor, count: int) -> Tensor:
    """The hashes of `count` counters from each seed on. Shape: (B,) int32 → (B, count) int32."""
    hashed = torch.arange(count, dtype=torch.int32, device=seed.device) + seed[:, None]
    # lowbias32 of C. Wellons' hash-prospector; the masks make the arithmetic shifts of int32 logical ones
    hashed ^= (hashed >> 16) & 0xFFFF
    hashed *= 0x7FEB352D
    hashed ^= (hashed >> 15) & 0x1FFFF
    hashed *= 0x846CA68B - 2**32
    hashed ^= (hashed >> 16) & 0xFFFF
    return hashed


@lru_cache(maxsize=8)
def _hadamard(device: torch.device) -> tuple[Tensor, Tensor]:
    """Sylvester's matrix of ±1 (N, N), and what takes the mean of the bytes, 127.5, out of its sums (N,)."""
    signs = torch.ones(1, 1)
    while len(signs) < BYTES_PER_SUM:
        signs = torch.cat([torch.cat([signs, signs], 1), torch.cat([signs, -signs], 1)])
    return signs.to(device), (-127.5 * signs.sum(0)).to(device)
