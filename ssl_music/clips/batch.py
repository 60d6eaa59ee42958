"""A batch of crops: int16 on its way, half the bytes of float32; converted on the device."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass
class Clips:
    """V independent crops of each of B tracks.

    Shape: wave (V, B, 1, T), int16 on arrival and float32 in [-1, 1] after `float()`; rows (B,), the rows of the
    catalog; targets (B, K) or None. (Not frozen: Lightning copies batches field by field.)

    >>> clips = Clips(torch.full((2, 3, 1, 4), 16384, dtype=torch.int16), rows=torch.arange(3))
    >>> clips.float().view(1).shape, clips.float().view(1)[0, 0, 0].item()
    (torch.Size([3, 1, 4]), 0.5)
    """

    wave: Tensor
    rows: Tensor
    targets: Tensor | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Clips":
        """The same on another device."""
        targets = None if self.targets is None else self.targets.to(device, non_blocking=non_blocking)
        wave, rows = (tensor.to(device, non_blocking=non_blocking) for tensor in (self.wave, self.rows))
        return Clips(wave, rows, targets)

    def float(self) -> "Clips":
        """Full scale to 1; nothing to do where it is float already."""
        if self.wave.dtype != torch.int16:
            return self
        return replace(self, wave=self.wave.to(torch.float32).mul_(1 / 32768))

    def view(self, number: int = 0) -> Tensor:
        """Crop `number` of each track. Shape: (B, 1, T)."""
        return self.wave[number]

    def __len__(self) -> int:
        return len(self.rows)
