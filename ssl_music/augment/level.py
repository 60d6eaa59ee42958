"""Effects on the level: polarity and gain."""

import torch
from torch import Tensor

from ssl_music.augment.base import Augmentation
from ssl_music.augment.layers import decibels, uniform


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
