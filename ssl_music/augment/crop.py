"""Cutting a clip out of a longer wave, under the name that the field gave it."""

import torch
from torch import Tensor

from ssl_music.augment.base import Augmentation
from ssl_music.errors import UserError


class RandomResizedCrop(Augmentation):
    """A clip of `samples` samples from each row, at a place drawn evenly.

    The name is that of torchaudio-augmentations, where as here nothing is resized. It changes the length, and rows
    of one batch have one length: so `p` is 1, and in a chain it stands first, before effects that draw for the
    length they will hear.

    Shape: wave (B, 1, T) → (B, 1, samples), T ≥ samples.

    >>> RandomResizedCrop(samples=3).apply(torch.arange(10.0).view(1, 1, 10), start=torch.tensor([4]))
    tensor([[[4., 5., 6.]]])
    """

    changes_length = True

    def __init__(self, *, p: float = 1.0, samples: int) -> None:
        super().__init__(p=p)
        self.samples = samples
        if p != 1.0:
            raise UserError(f"RandomResizedCrop: p={p}, but all rows of a batch have one length; leave p at 1")
        if samples < 1:
            raise UserError(f"RandomResizedCrop: samples={samples} is no length; give the encoder's input_samples")

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        room = wave.shape[-1] - self.samples
        if room < 0:
            raise UserError(
                f"RandomResizedCrop: samples={self.samples}, but the wave has only {wave.shape[-1]}; "
                "take longer waves or a shorter crop"
            )
        device = "cpu" if generator is None else generator.device
        return {"start": torch.randint(room + 1, (len(wave),), generator=generator, device=device)}

    def apply(self, wave: Tensor, *, start: Tensor) -> Tensor:  # type: ignore[override]
        if not wave.is_cuda:  # slices cost a third; on a GPU they would wait for the places to come to the host
            places = start.tolist()
            return torch.stack(
                [row[..., place : place + self.samples] for row, place in zip(wave, places, strict=True)]
            )
        index = start[:, None, None] + torch.arange(self.samples, device=wave.device)  # (B, 1, samples)
        return wave.gather(-1, index)
