"""Effects on the level: polarity, gain, and white noise at a signal-to-noise ratio."""

import torch
from torch import Tensor

from ssl_music.augment.base import Augmentation
from ssl_music.augment.layers import gaussian_noise, seeds, uniform


class PolarityInversion(Augmentation):
    """Turns the wave upside down; nobody hears it, a network on raw samples has to learn that.

    CLMR uses p = 0.8 (Spijkervet & Burgoyne 2021).

    >>> PolarityInversion(p=1.0)(torch.tensor([[[0.5, -0.25]]]))
    tensor([[[-0.5000,  0.2500]]])
    """

    form = "multiplier"

    def __init__(self, *, p: float = 0.8) -> None:
        super().__init__(p=p)

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        return {}

    def multiplier(self) -> float:
        return -1.0


class Gain(Augmentation):
    """Multiplies by a gain drawn evenly in dB from `low_db` to `high_db`.

    The field's range is −20 to −1 dB (torchaudio-augmentations): it only makes quieter, so nothing clips. CLMR uses
    p = 0.3.

    >>> Gain(p=1.0, low_db=-6.0206, high_db=-6.0206)(torch.ones(1, 1, 2))
    tensor([[[0.5000, 0.5000]]])
    """

    form = "multiplier"

    def __init__(self, *, p: float = 0.3, low_db: float = -20.0, high_db: float = -1.0) -> None:
        super().__init__(p=p)
        self.low_db = low_db
        self.high_db = high_db
        self.check_range("low_db", "high_db")

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        return {"gain_db": uniform(self.low_db, self.high_db, wave, generator)}

    def multiplier(self, *, gain_db: Tensor) -> Tensor:
        return decibels(gain_db)


class Noise(Augmentation):
    """Adds white Gaussian noise at a signal-to-noise ratio drawn evenly in dB from `low_snr_db` to `high_snr_db`.

    SNR = 10 log₁₀(power of the example / power of the noise), met exactly: the noise is scaled by its own norm.
    Silence stays silent. The noise counts as a constant for gradients.

    The default is CLMR's range: the "snr" of torchaudio-augmentations is a ratio of standard deviations, noise to
    signal, from .0001 to .01, which is 80 to 40 dB. The .3 to .5 of the tutorial are 10.5 to 6 dB. CLMR uses
    p = 0.01, the tutorial 0.3.

    >>> wave = torch.ones(1, 1, 1000)
    >>> noisy = Noise(p=1.0, low_snr_db=20.0, high_snr_db=20.0)(wave, torch.Generator().manual_seed(0))
    >>> float((noisy - wave).square().mean())
    0.0100
    """

    def __init__(self, *, p: float = 0.01, low_snr_db: float = 40.0, high_snr_db: float = 80.0) -> None:
        super().__init__(p=p)
        self.low_snr_db = low_snr_db
        self.high_snr_db = high_snr_db
        self.check_range("low_snr_db", "high_snr_db")

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        snr_db = uniform(self.low_snr_db, self.high_snr_db, wave, generator)
        return {"snr_db": snr_db, "seed": seeds(wave, generator)}

    def apply(self, wave: Tensor, *, snr_db: Tensor, seed: Tensor) -> Tensor:  # type: ignore[override]
        noise = gaussian_noise(seed, wave.shape[-1])[:, None]  # (B, 1, T)
        # vector_norm takes 0.006 ms a clip, std 0.34
        signal, noise_norm = (torch.linalg.vector_norm(x.detach(), dim=-1, keepdim=True) for x in (wave, noise))
        return wave + noise * (signal / noise_norm * decibels(-snr_db)[:, None, None])


def decibels(level_db: Tensor) -> Tensor:
    """The factor on amplitudes that a level in dB stands for."""
    return torch.pow(10.0, level_db / 20.0)
