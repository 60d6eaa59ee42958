"""Echoes: a single delay, and the reverberation of a room that exists only as decaying noise."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from ssl_music.augment.base import Augmentation
from ssl_music.augment.layers import seeds, uniform, uniform_noise
from ssl_music.errors import UserError


class Delay(Augmentation):
    """Mixes the wave with itself a moment later: (x(t) + factor · x(t − delay)) / 2.

    The field's delay: 200 to 450 ms in steps of 50 ms, factor 0.5 (torchaudio-augmentations). CLMR uses p = 0.3. It
    acts on the samples, never through an FFT: 0.03 ms a clip against 0.4.

    >>> wave = torch.zeros(1, 1, 10)
    >>> wave[0, 0, 0] = 1.0
    >>> Delay(p=1.0, low_ms=4.0, high_ms=4.0).at_rate(1000)(wave)[0, 0]
    tensor([0.5000, 0.0000, 0.0000, 0.0000, 0.2500, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000])
    """

    form = "linear"

    def __init__(
        self,
        *,
        p: float = 0.3,
        low_ms: float = 200.0,
        high_ms: float = 450.0,
        step_ms: float = 50.0,
        factor: float = 0.5,
    ) -> None:
        super().__init__(p=p)
        self.low_ms = low_ms
        self.high_ms = high_ms
        self.step_ms = step_ms
        self.factor = factor
        self.check_range("low_ms", "high_ms", above=0.0)
        if not step_ms > 0:
            raise UserError(f"Delay: step_ms={step_ms} is no step; give milliseconds above 0")

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        longest = round(self.high_ms * self.rate() / 1000)
        if longest >= wave.shape[-1]:
            raise UserError(
                f"Delay: high_ms={self.high_ms:g} is {longest} samples at {self.rate()} Hz, but the wave has only "
                f"{wave.shape[-1]}; take longer clips or shorter delays"
            )
        # the millionth keeps the last step where the division came out a little low
        steps = math.floor((self.high_ms - self.low_ms) / self.step_ms + 1e-6) + 1
        return {"delay_ms": self.low_ms + self.step_ms * uniform(0.0, steps, wave, generator).floor()}

    def apply(self, wave: Tensor, *, delay_ms: Tensor) -> Tensor:  # type: ignore[override]
        delay_samples = (delay_ms * (self.rate() / 1000)).round().long()  # (B,)
        # slices are five times faster on the CPU; on a GPU they would wait for the delays to come to the host
        later = shifted_by_gather if wave.is_cuda else shifted_by_slices
        return torch.add(wave / 2, later(wave, delay_samples), alpha=self.factor / 2)


class Reverb(Augmentation):
    """Convolves with a synthetic room: white noise that decays by 60 dB in the reverberation time RT60.

    h(t) = √(1 − wet) · impulse + √wet · tail, the tail of unit energy and `pre_delay_ms` late, so that sounds of a
    broad band keep their energy, whatever the drawn values. All but the seed are drawn evenly from their ranges; the
    defaults go from a furnished room to a small hall. Waves shorter than the tail are cut as all others are. CLMR
    uses p = 0.6 and sox's `reverb`, which is a net of combs and all-passes; noise has no metallic colour of its own.

    >>> wave = torch.randn(2, 1, 59049, generator=torch.Generator().manual_seed(0))
    >>> Reverb(p=1.0).at_rate(22050)(wave, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 1, 59049])
    """

    form = "impulse"

    def __init__(
        self,
        *,
        p: float = 0.6,
        low_rt60_seconds: float = 0.2,
        high_rt60_seconds: float = 1.0,
        low_pre_delay_ms: float = 0.0,
        high_pre_delay_ms: float = 20.0,
        low_wet: float = 0.1,
        high_wet: float = 0.5,
    ) -> None:
        super().__init__(p=p)
        self.low_rt60_seconds = low_rt60_seconds
        self.high_rt60_seconds = high_rt60_seconds
        self.low_pre_delay_ms = low_pre_delay_ms
        self.high_pre_delay_ms = high_pre_delay_ms
        self.low_wet = low_wet
        self.high_wet = high_wet
        self.check_range("low_rt60_seconds", "high_rt60_seconds", above=0.01)
        self.check_range("low_pre_delay_ms", "high_pre_delay_ms", above=0.0)
        self.check_range("low_wet", "high_wet", above=0.0)
        if high_wet > 1:
            raise UserError(f"Reverb: high_wet={high_wet} is above 1; it is the tail's share of the energy")

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        return {
            "rt60_seconds": uniform(self.low_rt60_seconds, self.high_rt60_seconds, wave, generator),
            "pre_delay_ms": uniform(self.low_pre_delay_ms, self.high_pre_delay_ms, wave, generator),
            "wet": uniform(self.low_wet, self.high_wet, wave, generator),
            "seed": seeds(wave, generator),
        }

    def impulse(  # type: ignore[override]
        self, *, rt60_seconds: Tensor, pre_delay_ms: Tensor, wet: Tensor, seed: Tensor
    ) -> Tensor:
        first = (pre_delay_ms * (self.rate() / 1000)).round()[:, None]  # (B, 1)
        longest = math.ceil((self.high_rt60_seconds + self.high_pre_delay_ms / 1000) * self.rate())
        time = torch.arange(longest, dtype=torch.float32, device=seed.device)  # (L,)
        # −60 dB is a factor of 1000 on the amplitude
        decay = (-math.log(1000) / (rt60_seconds[:, None] * self.rate()) * time).exp_()
        impulse = uniform_noise(seed, len(time)).mul_(decay).mul_(time >= first)  # (B, L)
        impulse *= wet.sqrt()[:, None] / torch.linalg.vector_norm(impulse, dim=1, keepdim=True)
        impulse[:, 0] += (1 - wet).sqrt()
        return impulse


def shifted_by_slices(wave: Tensor, samples: Tensor) -> Tensor:
    """Every row later by its own number of samples, silence before it. Shape: (B, 1, T), (B,) → (B, 1, T)."""
    later = [pad(row, (count, 0))[..., : wave.shape[-1]] for row, count in zip(wave, samples.tolist(), strict=True)]
    return torch.stack(later)


def shifted_by_gather(wave: Tensor, samples: Tensor) -> Tensor:
    """The same as `shifted_by_slices`, without asking the host for any number."""
    source = torch.arange(wave.shape[-1], device=wave.device) - samples[:, None, None]  # (B, 1, T)
    return wave.gather(-1, source.clamp_min(0)) * (source >= 0)
