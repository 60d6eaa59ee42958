"""Filters of second order in closed form: high-pass, low-pass, band-pass and band-stop (Audio EQ Cookbook)."""

import math
from itertools import product

import torch
from torch import Tensor

from ssl_music.augment.base import Augmentation
from ssl_music.augment.layers import biquad, decay, log_uniform, ringing_samples, uniform

#: Q of a second-order Butterworth filter: −3 dB at the cutoff, nowhere above 0 dB.
BUTTERWORTH = math.sqrt(0.5)


class HighLowPass(Augmentation):
    """Either a high-pass or a low-pass, at even odds, at a cutoff drawn evenly in Hz.

    The field's filter: sox's `highpass` and `lowpass`, second order with Q = 0.707 (Butterworth: −3 dB at the cutoff,
    then 12 dB an octave), high-pass at 200–1200 Hz, low-pass at 2200–4000 Hz (torchaudio-augmentations). CLMR uses
    p = 0.8.

    Of a range that reaches above 0.49 of the sample rate the part below is used, with a warning.

    >>> effect = HighLowPass(p=1.0).at_rate(22050)
    >>> cutoff_hz = torch.tensor([1000.0])
    >>> response = effect.response(44100, highpass=torch.tensor([True]), cutoff_hz=cutoff_hz)  # bins of 0.5 Hz
    >>> 20 * torch.log10(response.abs())[0, [1000, 2000, 4000]]  # 500, 1000, 2000 Hz
    tensor([-12.3...,  -3.0...,  -0.2...])
    """

    form = "response"
    ranges_hz = (("highpass_low_hz", "highpass_high_hz"), ("lowpass_low_hz", "lowpass_high_hz"))

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

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        highpass = uniform(0.0, 1.0, wave, generator) < 0.5
        high = uniform(self.highpass_low_hz, self.highest_hz("highpass_high_hz"), wave, generator)
        low = uniform(self.lowpass_low_hz, self.highest_hz("lowpass_high_hz"), wave, generator)
        return {"highpass": highpass, "cutoff_hz": torch.where(highpass, high, low)}

    def tail_samples(self) -> int:
        highest = (self.highest_hz(name) for _, name in self.ranges_hz)
        return _longest_ringing(self, (self.highpass_low_hz, self.lowpass_low_hz, *highest), (BUTTERWORTH,))

    def response(self, n_fft: int, *, highpass: Tensor, cutoff_hz: Tensor) -> Tensor:
        numerator = ((~highpass).to(cutoff_hz.dtype), 0.0, highpass.to(cutoff_hz.dtype))
        return biquad(n_fft, turns=cutoff_hz / self.rate(), q=BUTTERWORTH, numerator=numerator)


class LowPass(Augmentation):
    """Takes away what lies above a cutoff drawn evenly in Hz: a telephone, a room next door.

    One half of `HighLowPass`, with its filter (second-order Butterworth, −3 dB at the cutoff) and its range of
    2200–4000 Hz.

    Of a range that reaches above 0.49 of the sample rate the part below is used, with a warning.

    >>> effect = LowPass(p=1.0).at_rate(22050)
    >>> response = effect.response(22050, cutoff_hz=torch.tensor([3000.0]))  # bins of 1 Hz
    >>> 20 * torch.log10(response.abs())[0, [1000, 3000, 6000]]
    tensor([ -0.0...,  -3.0..., -16.1...])
    """

    form = "response"
    ranges_hz = (("low_hz", "high_hz"),)

    def __init__(self, *, p: float = 0.5, low_hz: float = 2200.0, high_hz: float = 4000.0) -> None:
        super().__init__(p=p)
        self.low_hz = low_hz
        self.high_hz = high_hz
        self.check_range("low_hz", "high_hz", above=1.0)

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        return {"cutoff_hz": uniform(self.low_hz, self.highest_hz("high_hz"), wave, generator)}

    def tail_samples(self) -> int:
        return _longest_ringing(self, (self.low_hz, self.highest_hz("high_hz")), (BUTTERWORTH,))

    def response(self, n_fft: int, *, cutoff_hz: Tensor) -> Tensor:
        return biquad(n_fft, turns=cutoff_hz / self.rate(), q=BUTTERWORTH, numerator=(1.0, 0.0, 0.0))


class HighPass(Augmentation):
    """Takes away what lies below a cutoff drawn evenly in Hz: a small loudspeaker.

    One half of `HighLowPass`, with its filter (second-order Butterworth, −3 dB at the cutoff) and its range of
    200–1200 Hz. The lower the cutoff, the longer it rings and the more it costs: half as much again at 20 Hz.

    Of a range that reaches above 0.49 of the sample rate the part below is used, with a warning.

    >>> effect = HighPass(p=1.0).at_rate(22050)
    >>> response = effect.response(22050, cutoff_hz=torch.tensor([1000.0]))  # bins of 1 Hz
    >>> 20 * torch.log10(response.abs())[0, [500, 1000, 10_000]]
    tensor([-12.3...,  -3.0...,  -0.0...])
    """

    form = "response"
    ranges_hz = (("low_hz", "high_hz"),)

    def __init__(self, *, p: float = 0.5, low_hz: float = 200.0, high_hz: float = 1200.0) -> None:
        super().__init__(p=p)
        self.low_hz = low_hz
        self.high_hz = high_hz
        self.check_range("low_hz", "high_hz", above=1.0)

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        return {"cutoff_hz": uniform(self.low_hz, self.highest_hz("high_hz"), wave, generator)}

    def tail_samples(self) -> int:
        return _longest_ringing(self, (self.low_hz, self.highest_hz("high_hz")), (BUTTERWORTH,))

    def response(self, n_fft: int, *, cutoff_hz: Tensor) -> Tensor:
        return biquad(n_fft, turns=cutoff_hz / self.rate(), q=BUTTERWORTH, numerator=(0.0, 0.0, 1.0))


class BandPass(Augmentation):
    """Passes a band, 0 dB at its centre, and takes away 6 dB an octave on both sides.

    The cookbook's band-pass of constant peak, sox's `bandpass`. Q is the centre over the width between the points of
    −3 dB (√2 is an octave). Both are drawn evenly in their logarithm, as many in each octave, since that is how pitch
    is heard. The ranges are those of audiomentations and torch-audiomentations: centres of 200–4000 Hz, widths of
    0.5–2 centres.

    Of a range that reaches above 0.49 of the sample rate the part below is used, with a warning.

    >>> effect = BandPass(p=1.0).at_rate(22050)
    >>> response = effect.response(22050, centre_hz=torch.tensor([1000.0]), q=torch.tensor([2.0]))  # bins of 1 Hz
    >>> 20 * torch.log10(response.abs())[0, [781, 1000, 1281]]  # 1000 Hz and 1000/Q Hz about it
    tensor([-3.0..., 0.0000, -3.0...])
    """

    form = "response"
    ranges_hz = (("low_hz", "high_hz"),)

    def __init__(
        self,
        *,
        p: float = 0.5,
        low_hz: float = 200.0,
        high_hz: float = 4000.0,
        low_q: float = 0.5,
        high_q: float = 2.0,
    ) -> None:
        super().__init__(p=p)
        self.low_hz = low_hz
        self.high_hz = high_hz
        self.low_q = low_q
        self.high_q = high_q
        self.check_range("low_hz", "high_hz", above=1.0)
        self.check_range("low_q", "high_q", above=0.1)

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        return {
            "centre_hz": log_uniform(self.low_hz, self.highest_hz("high_hz"), wave, generator),
            "q": log_uniform(self.low_q, self.high_q, wave, generator),
        }

    def tail_samples(self) -> int:
        return _longest_ringing(self, (self.low_hz, self.highest_hz("high_hz")), (self.low_q, self.high_q))

    def response(self, n_fft: int, *, centre_hz: Tensor, q: Tensor) -> Tensor:
        return biquad(n_fft, turns=centre_hz / self.rate(), q=q, numerator=(0.0, 1 / q, 0.0))


class BandStop(Augmentation):
    """Takes a band away, all of it at its centre: what `BandPass` of the same numbers lets through.

    The cookbook's notch, sox's `bandreject`; the ranges and how they are drawn are those of `BandPass`.

    Of a range that reaches above 0.49 of the sample rate the part below is used, with a warning.

    >>> effect = BandStop(p=1.0).at_rate(22050)
    >>> response = effect.response(22050, centre_hz=torch.tensor([1000.0]), q=torch.tensor([2.0]))  # bins of 1 Hz
    >>> [round(float(response[0, hz].abs()), 2) for hz in (10, 781, 1000, 1281, 10_000)]
    [1.0, 0.71, 0.0, 0.71, 1.0]
    """

    form = "response"
    ranges_hz = (("low_hz", "high_hz"),)

    def __init__(
        self,
        *,
        p: float = 0.5,
        low_hz: float = 200.0,
        high_hz: float = 4000.0,
        low_q: float = 0.5,
        high_q: float = 2.0,
    ) -> None:
        super().__init__(p=p)
        self.low_hz = low_hz
        self.high_hz = high_hz
        self.low_q = low_q
        self.high_q = high_q
        self.check_range("low_hz", "high_hz", above=1.0)
        self.check_range("low_q", "high_q", above=0.1)

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        return {
            "centre_hz": log_uniform(self.low_hz, self.highest_hz("high_hz"), wave, generator),
            "q": log_uniform(self.low_q, self.high_q, wave, generator),
        }

    def tail_samples(self) -> int:
        return _longest_ringing(self, (self.low_hz, self.highest_hz("high_hz")), (self.low_q, self.high_q))

    def response(self, n_fft: int, *, centre_hz: Tensor, q: Tensor) -> Tensor:
        return biquad(n_fft, turns=centre_hz / self.rate(), q=q, numerator=(1.0, 0.0, 1.0))


def _longest_ringing(effect: Augmentation, ends_hz: tuple[float, ...], ends_q: tuple[float, ...]) -> int:
    """The tail of the slowest filter of these ranges: it lies at one of their corners."""
    return ringing_samples([min(decay(hz / effect.rate(), q) for hz, q in product(ends_hz, ends_q))])
