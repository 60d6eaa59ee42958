"""Distortion by a curve on the samples: hard clipping and soft saturation."""

import torch
from torch import Tensor

from ssl_music.augment.base import Augmentation
from ssl_music.augment.layers import decibels, uniform

#: Keeps silence from dividing by nothing.
TINY = 1e-20


class Clipping(Augmentation):
    """Cuts off all samples beyond a threshold drawn evenly from `low_db` to `high_db` below the row's own peak.

    y = max(−t, min(x, t)), t = max |x| · 10^(−clip_db / 20). So the new peak is t, and loud and quiet rows clip
    alike; the level is not made up. The default range is that of `LinearClipping` in muda, which clips at 0.8 to 0.4
    of the peak: 2 to 8 dB. For gradients the threshold is a constant.

    >>> Clipping(p=1.0, low_db=6.0206, high_db=6.0206)(torch.tensor([[[1.0, 0.25, -0.75]]]))
    tensor([[[ 0.5000,  0.2500, -0.5000]]])
    """

    def __init__(self, *, p: float = 0.3, low_db: float = 2.0, high_db: float = 8.0) -> None:
        super().__init__(p=p)
        self.low_db = low_db
        self.high_db = high_db
        self.check_range("low_db", "high_db", above=0.0)

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        return {"clip_db": uniform(self.low_db, self.high_db, wave, generator)}

    def apply(self, wave: Tensor, *, clip_db: Tensor) -> Tensor:  # type: ignore[override]
        threshold = peak(wave) * decibels(-clip_db)[:, None, None]  # (B, 1, 1)
        # a third of what clamp costs with a threshold for each row
        return torch.minimum(wave, threshold).clamp_min_(-threshold)


class Saturation(Augmentation):
    """Soft saturation, as of tape or valves, at a drive drawn evenly in dB from `low_drive_db` to `high_drive_db`.

    y = c · tanh(g · x / max |x|), g = 10^(drive_db / 20), and c such that the row keeps its power. At 0 dB the peak
    is bent by 2.4 dB, at 20 dB all but the quiet samples are nearly square. The curve is odd: a tone gets odd
    harmonics only. Drive relative to the row's own peak makes loud and quiet rows bend alike. The range is our own
    choice. For gradients the peak and c are constants.

    >>> out = Saturation(p=1.0, low_drive_db=20.0, high_drive_db=20.0)(torch.tensor([[[1.0, -0.5, 0.5, -1.0]]]))
    >>> out, float(out.square().mean())
    (tensor([[[ 0.7906, -0.7905,  0.7905, -0.7906]]]), 0.625)
    """

    def __init__(self, *, p: float = 0.3, low_drive_db: float = 0.0, high_drive_db: float = 18.0) -> None:
        super().__init__(p=p)
        self.low_drive_db = low_drive_db
        self.high_drive_db = high_drive_db
        self.check_range("low_drive_db", "high_drive_db", above=-20.0)  # less is no distortion, only rounding

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        return {"drive_db": uniform(self.low_drive_db, self.high_drive_db, wave, generator)}

    def apply(self, wave: Tensor, *, drive_db: Tensor) -> Tensor:  # type: ignore[override]
        # tanh u = 2 / (1 + e^(−2u)) − 1: a third of the cost, and 140 dB below the peak the same
        factor = 2 * decibels(drive_db)[:, None, None] / peak(wave).clamp_min(TINY)
        bent = (2 * torch.sigmoid(wave * factor)).sub_(1.0)
        before, after = (torch.linalg.vector_norm(x.detach(), dim=-1, keepdim=True) for x in (wave, bent))
        return bent * (before / after.clamp_min(TINY))


def peak(wave: Tensor) -> Tensor:
    """The largest magnitude of each row, a constant for gradients. Shape: (B, 1, T) → (B, 1, 1)."""
    # 0.01 ms a clip; vector_norm of order infinity takes 0.15
    highest, lowest = (extreme(wave.detach(), dim=-1, keepdim=True) for extreme in (torch.amax, torch.amin))
    return torch.maximum(highest, -lowest)
