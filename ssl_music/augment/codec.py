"""What a poor codec or line does to a wave: it narrows the band and coarsens the levels."""

import math

import torch
from torch import Tensor

from ssl_music.augment.base import Augmentation
from ssl_music.augment.convolve import filtered
from ssl_music.augment.layers import uniform
from ssl_music.errors import UserError

#: Length of the low-pass: its edge is 5.5 / 6 ms = 0.92 kHz wide.
FILTER_SECONDS = 0.006


class LowFidelity(Augmentation):
    """A low-pass at a drawn cutoff, then quantisation to a drawn number of bits.

    It stands for lossy coding: real codecs are neither batched nor differentiable, but all of them give up the
    treble first and add noise that comes and goes with the music. The default cutoffs, drawn evenly on a
    logarithmic scale, go from telephone to wide-band telephone, 3.4 to 7 kHz (ITU-T G.711 and G.722); those have 8
    and 16 bits on uneven steps, the 6 to 10 bits here are our own choice, each as likely.

    Low-pass: a sinc under a Blackman window of 6 ms, without delay: −6 dB at the cutoff, −70 dB from 0.5 kHz above
    it. Quantiser: linear, 2ᵇⁱᵗˢ − 1 even steps that have 0 among them and reach to the row's own peak, so that
    silence stays silent and the level does not matter; its noise falls by 6.02 dB a bit. For gradients the quantiser
    is the identity and the peak a constant.

    >>> out = LowFidelity(p=1.0, low_bits=2, high_bits=2).at_rate(22050)(torch.randn(1, 1, 1000))
    >>> len(out.unique())
    3
    """

    def __init__(
        self,
        *,
        p: float = 0.3,
        low_cutoff_hz: float = 3400.0,
        high_cutoff_hz: float = 7000.0,
        low_bits: int = 6,
        high_bits: int = 10,
    ) -> None:
        super().__init__(p=p)
        self.low_cutoff_hz = low_cutoff_hz
        self.high_cutoff_hz = high_cutoff_hz
        self.low_bits = low_bits
        self.high_bits = high_bits
        self.check_range("low_cutoff_hz", "high_cutoff_hz", above=1.0)
        self.check_range("low_bits", "high_bits", above=2)

    def at_rate(self, sample_rate: int) -> "LowFidelity":
        if self.high_cutoff_hz >= sample_rate / 2:
            raise UserError(
                f"LowFidelity: high_cutoff_hz={self.high_cutoff_hz:g} is not below {sample_rate / 2:g} Hz, "
                f"half the sample rate of {sample_rate} Hz; lower it"
            )
        return super().at_rate(sample_rate)

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        octave = uniform(math.log2(self.low_cutoff_hz), math.log2(self.high_cutoff_hz), wave, generator)
        bits = uniform(self.low_bits, self.high_bits + 1, wave, generator).long().clamp_max_(self.high_bits)
        return {"cutoff_hz": octave.exp2(), "bits": bits}

    def apply(self, wave: Tensor, *, cutoff_hz: Tensor, bits: Tensor) -> Tensor:  # type: ignore[override]
        narrow = self.low_passed(wave, cutoff_hz)
        # 0.01 ms a clip; vector_norm of order infinity takes 0.15
        highest, lowest = (extreme(narrow.detach(), dim=-1, keepdim=True) for extreme in (torch.amax, torch.amin))
        peak = torch.maximum(highest, -lowest)  # (B, 1, 1)
        steps = (bits.to(torch.float32) - 1).exp2()[:, None, None] - 1  # on either side of 0
        step = peak.clamp_min(1e-20) / steps
        return Rounded.apply(narrow / step) * step

    def low_passed(self, wave: Tensor, cutoff_hz: Tensor) -> Tensor:
        """The band limit alone. Shape: (B, 1, T), (B,) → (B, 1, T)."""
        reach = round(FILTER_SECONDS / 2 * self.rate())  # taps on either side of the middle one
        time = torch.arange(-reach, reach + 1, dtype=torch.float32, device=wave.device)
        window = torch.blackman_window(2 * reach + 1, periodic=False, device=wave.device)
        taps = torch.sinc(2 / self.rate() * cutoff_hz[:, None] * time) * window  # (B, L)
        taps = taps / taps.sum(1, keepdim=True)
        later = torch.nn.functional.pad(wave, (0, reach))
        return filtered(later, lambda n_fft: torch.fft.rfft(taps, n=n_fft), 2 * reach)[..., reach:]


class Rounded(torch.autograd.Function):
    """Rounding whose gradient is that of the identity (the "straight-through estimator", Bengio et al. 2013)."""

    @staticmethod
    def forward(ctx: object, values: Tensor) -> Tensor:
        return values.round()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient
