"""Filters given by a frequency response in closed form: a second-order Butterworth high-pass or low-pass."""

import math

import torch
from torch import Tensor

from ssl_music.augment.base import Augmentation
from ssl_music.augment.layers import uniform
from ssl_music.errors import UserError


class HighLowPass(Augmentation):
    """Either a high-pass or a low-pass, at even odds, at a cutoff drawn evenly in Hz.

    The field's filter: sox's `highpass` and `lowpass`, second order with Q = 0.707 (Butterworth: −3 dB at the cutoff,
    then 12 dB an octave), high-pass at 200–1200 Hz, low-pass at 2200–4000 Hz (torchaudio-augmentations). CLMR uses
    p = 0.8.

    >>> effect = HighLowPass(p=1.0).at_rate(22050)
    >>> cutoff_hz = torch.tensor([1000.0])
    >>> response = effect.response(44100, highpass=torch.tensor([True]), cutoff_hz=cutoff_hz)  # bins of 0.5 Hz
    >>> 20 * torch.log10(response.abs())[0, [1000, 2000, 4000]]  # 500, 1000, 2000 Hz
    tensor([-12.3...,  -3.0...,  -0.2...])
    """

    form = "response"

    def __init__(
        self,
        *,
        p: float = 0.8,
        highpass_low_hz: float = 200.0,
        highpass_high_hz: float = 1200.0,
        lowpass_low_hz: float = 2200.0,
        lowpass_high_hz: float = 4000.0,
    ) -> None:
        super().__init__(p=p)
        self.highpass_low_hz = highpass_low_hz
        self.highpass_high_hz = highpass_high_hz
        self.lowpass_low_hz = lowpass_low_hz
        self.lowpass_high_hz = lowpass_high_hz
        self.check_range("highpass_low_hz", "highpass_high_hz", above=1.0)
        self.check_range("lowpass_low_hz", "lowpass_high_hz", above=1.0)

    def at_rate(self, sample_rate: int) -> "HighLowPass":
        for name in ("highpass_high_hz", "lowpass_high_hz"):
            if getattr(self, name) >= sample_rate / 2:
                raise UserError(
                    f"HighLowPass: {name}={getattr(self, name):g} is not below {sample_rate / 2:g} Hz, "
                    f"half the sample rate of {sample_rate} Hz; lower it"
                )
        return super().at_rate(sample_rate)

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        highpass = uniform(0.0, 1.0, wave, generator) < 0.5
        high = uniform(self.highpass_low_hz, self.highpass_high_hz, wave, generator)
        low = uniform(self.lowpass_low_hz, self.lowpass_high_hz, wave, generator)
        return {"highpass": highpass, "cutoff_hz": torch.where(highpass, high, low)}

    def tail_samples(self) -> int:
        # A pole pair of Q = 1/√2 decays as exp(−π√2 · n · cutoff/rate): after this many samples by 120 dB. So it
        # does towards half the rate, where the bilinear transform squeezes the band.
        highest_hz = max(self.highpass_high_hz, self.lowpass_high_hz)
        nearest_hz = min(self.highpass_low_hz, self.lowpass_low_hz, self.rate() / 2 - highest_hz)
        return math.ceil(math.log(1e6) * self.rate() / (math.pi * math.sqrt(2) * nearest_hz))

    def response(self, n_fft: int, *, highpass: Tensor, cutoff_hz: Tensor) -> Tensor:
        # The bilinear transform of 1 / (s² + √2 s + 1), s = j tan(ω/2) / tan(ω₀/2). With a = sin²(ω₀/2) cos²(ω/2)
        # and b = cos²(ω₀/2) sin²(ω/2), so b/a = −s²:
        #   low-pass a / (a − b + j√(2ab)), high-pass −b / (a − b + j√(2ab)), |a − b + j√(2ab)|² = a² + b².
        # Products of squares lose no digits at the ends of the band, where 1 − cos ω does.
        half = torch.linspace(0.0, math.pi / 2, n_fft // 2 + 1, device=cutoff_hz.device)  # ω/2
        sine = half.sin()
        cosine = sine.flip(0)
        corner = math.pi / self.rate() * cutoff_hz[:, None]  # ω₀/2, (B, 1)
        a = corner.sin().square() * cosine.square()  # (B, F)
        b = corner.cos().square() * sine.square()
        real = a - b
        imaginary = (math.sqrt(2) * corner.sin() * corner.cos()) * (sine * cosine)  # √(2ab)
        scale = torch.where(highpass[:, None], b.neg_(), a)
        scale /= (real * real).addcmul_(imaginary, imaginary)
        return torch.complex(real.mul_(scale), imaginary.mul_(scale.neg_()))
