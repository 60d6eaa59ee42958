"""Noise at a signal-to-noise ratio: white, pink or brown."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ssl_music.augment.base import Augmentation
from ssl_music.augment.layers import decibels, gaussian_noise, seeds, uniform
from ssl_music.errors import UserError

#: The place of a color is the power of 1/f that its spectrum follows.
COLORS = ("white", "pink", "brown")
#: Below that nobody hears: without a limit most of brown noise would be one slow, silent wave.
LOWEST_HZ = 20.0


class Noise(Augmentation):
    """Adds Gaussian noise at a signal-to-noise ratio drawn evenly in dB from `low_snr_db` to `high_snr_db`.

    SNR = 10 log₁₀(power of the example / power of the noise), met exactly: the noise is scaled by its own norm.
    Silence stays silent. The noise counts as a constant for gradients.

    Each row draws one of `colors` at even odds. The power spectrum of white noise is flat, that of pink falls as 1/f
    (3 dB an octave), that of brown as 1/f² (6 dB an octave), both from 20 Hz on with nothing below; they need the
    sample rate. Shaping takes one inverse FFT, which only the rows that drew such a color pay.

    The default is CLMR's range: the "snr" of torchaudio-augmentations is a ratio of standard deviations, noise to
    signal, from .0001 to .01, which is 80 to 40 dB. The .3 to .5 of the tutorial are 10.5 to 6 dB. CLMR uses white
    noise and p = 0.01, the tutorial 0.3.

    >>> wave = torch.ones(1, 1, 1000)
    >>> noisy = Noise(p=1.0, low_snr_db=20.0, high_snr_db=20.0)(wave, torch.Generator().manual_seed(0))
    >>> float((noisy - wave).square().mean())
    0.0100
    """

    def __init__(
        self,
        *,
        p: float = 0.01,
        low_snr_db: float = 40.0,
        high_snr_db: float = 80.0,
        colors: Sequence[Literal["white", "pink", "brown"]] = ("white",),
    ) -> None:
        super().__init__(p=p)
        self.low_snr_db = low_snr_db
        self.high_snr_db = high_snr_db
        self.colors = colors
        self.check_range("low_snr_db", "high_snr_db")
        if isinstance(colors, str) or not colors or not set(colors) <= set(COLORS):
            raise UserError(f"Noise: came colors={colors!r}; wanted a list of one or more of {', '.join(COLORS)}")

    def choices(self) -> dict[str, Sequence[str]]:
        return {"color": COLORS}

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        drawn = {"snr_db": uniform(self.low_snr_db, self.high_snr_db, wave, generator)}
        drawn["seed"] = seeds(wave, generator)
        if set(self.colors) != {"white"}:
            self.rate()  # its error, before any row is changed
        if len(self.colors) > 1:
            choices = torch.tensor([COLORS.index(color) for color in self.colors], device=drawn["seed"].device)
            drawn["color"] = choices[uniform(0.0, len(choices), wave, generator).long()]
        return drawn

    def apply(  # type: ignore[override]
        self, wave: Tensor, *, snr_db: Tensor, seed: Tensor, color: Tensor | None = None
    ) -> Tensor:
        noise = self._noise(seed, color, wave.shape[-1])[:, None]  # (B, 1, T)
        # vector_norm takes 0.006 ms a clip, std 0.34
        signal, noise_norm = (torch.linalg.vector_norm(x.detach(), dim=-1, keepdim=True) for x in (wave, noise))
        return wave + noise * (signal / noise_norm * decibels(-snr_db)[:, None, None])

    def _noise(self, seed: Tensor, color: Tensor | None, count: int) -> Tensor:
        """Noise of any power; without `color`, of the only one there is. Shape: (B,) → (B, count)."""
        if set(self.colors) == {"white"}:
            return gaussian_noise(seed, count)
        if color is None:
            color = torch.full_like(seed, COLORS.index(self.colors[0]))
        if "white" not in self.colors:
            return shaped_noise(seed, color, count, self.rate())
        white = color == 0
        if seed.is_cuda:  # to ask for the white rows would be to wait for them
            return torch.where(
                white[:, None], gaussian_noise(seed, count), shaped_noise(seed, color, count, self.rate())
            )
        noise = torch.empty(len(seed), count)
        if white.any():
            noise[white] = gaussian_noise(seed[white], count)
        if not white.all():
            noise[~white] = shaped_noise(seed[~white], color[~white], count, self.rate())
        return noise


def shaped_noise(seed: Tensor, color: Tensor, count: int, sample_rate: int) -> Tensor:
    """Noise of a power that falls as f⁻ᶜᵒˡᵒʳ from 20 Hz on, color 1 or 2. Shape: (B,), (B,) → (B, count)."""
    n_fft = _size(count)
    numbers = n_fft + 2  # real and imaginary part of n_fft // 2 + 1 bins
    frequency = torch.arange(numbers, device=seed.device).div(2, rounding_mode="floor") * (sample_rate / n_fft)
    heard = frequency >= LOWEST_HZ
    # relative to 20 Hz, so that the power stays near that of white noise
    amplitude = (frequency.clamp_min(1e-6) / LOWEST_HZ).rsqrt_().mul_(heard)
    weights = torch.stack([amplitude, amplitude.square()])
    spectrum = (gaussian_noise(seed, numbers) * weights[color.long() - 1]).unflatten(1, (-1, 2))
    return torch.fft.irfft(torch.view_as_complex(spectrum), n=n_fft, norm="ortho")[:, :count]


def _size(samples: int) -> int:
    """An even FFT size of at least `samples` with small factors. 59,049 gives 61,440 = 2¹²·3·5, 0.15 ms a clip."""
    step = 2 ** max(1, (samples - 1).bit_length() - 4)
    return min(step * factor for factor in (1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 15, 16) if step * factor >= samples)
