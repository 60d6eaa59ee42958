"""Mixing with another example of the batch."""

import torch
from torch import Tensor

from ssl_music.augment.base import Augmentation
from ssl_music.augment.layers import decibels, uniform
from ssl_music.errors import UserError


class Mix(Augmentation):
    """Adds another example of the batch, at a signal-to-noise ratio drawn evenly from `low_snr_db` to `high_snr_db`.

    SNR = 10 log₁₀(power of the example / power of what is added), met exactly; the example keeps its own level, so
    the sum may leave [-1, 1]. Silence stays silent, and a silent other adds nothing. Every row draws its other from
    all rows but itself, as they come into the chain: changed by nothing before this effect. The other counts as a
    constant for gradients. In a batch of both views of each clip the other may be the row's own second view.

    The default goes with BYOL-A's mixup (Niizumi et al. 2021), which adds the share λ of the power of another
    example, λ drawn evenly from 0 to 0.4: nine tenths of those SNR lie between 2 and 17 dB. Evenly in dB is our own
    choice.

    >>> wave = torch.tensor([[[1.0, 1.0]], [[0.0, 5.0]]])
    >>> Mix(p=1.0, low_snr_db=0.0, high_snr_db=0.0)(wave)[0]
    tensor([[1.0000, 2.4142]])
    """

    def __init__(self, *, p: float = 0.3, low_snr_db: float = 2.0, high_snr_db: float = 17.0) -> None:
        super().__init__(p=p)
        self.low_snr_db = low_snr_db
        self.high_snr_db = high_snr_db
        self.check_range("low_snr_db", "high_snr_db")

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        count = len(wave)
        if count == 1 and self.p > 0:
            raise UserError("Mix adds another example of the batch, but came a batch of 1; give at least 2, or p=0")
        snr_db = uniform(self.low_snr_db, self.high_snr_db, wave, generator)
        # 1 to B − 1 rows further on, round the end: never the row itself
        further = 1 + uniform(0.0, max(1, count - 1), wave, generator).long().clamp_max_(max(0, count - 2))
        index = (torch.arange(count, device=further.device) + further) % count
        return {"snr_db": snr_db, "other": wave.detach().index_select(0, index.to(wave.device))}

    def apply(self, wave: Tensor, *, snr_db: Tensor, other: Tensor) -> Tensor:  # type: ignore[override]
        signal, added = (torch.linalg.vector_norm(x.detach(), dim=-1, keepdim=True) for x in (wave, other))
        factor = signal / added.clamp_min(1e-20) * decibels(-snr_db)[:, None, None]  # (B, 1, 1)
        return torch.addcmul(wave, other, torch.where(added > 0, factor, 0.0))
