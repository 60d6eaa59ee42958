"""SpecAugment: bands of time and of frequency hidden in training (Park et al., Interspeech 2019)."""

import torch
from torch import Tensor, nn

from ssl_music.errors import UserError


class SpecAugment(nn.Module):
    """Masks over time and frequency of a spectrogram, drawn anew for each example; in evaluation nothing happens.

    "f is chosen from a uniform distribution from 0 to the frequency mask parameter F, and f0 from [0, ν - f)"; time
    alike, where a mask is at most a share p of the frames (Park et al., section 2). The defaults are their milder
    policy "SM": two masks each, of up to 15 bands (of 80) and 70 frames, p = .2. Their time warping is left out: "not
    a major factor in improving performance". A mask holds the example's mean, which is the zero of their normalised
    spectrograms.

    The draws come from torch's global generator.

    Shape: image (B, 1, M, F) → (B, 1, M, F).

    >>> SpecAugment().eval()(torch.ones(2, 1, 96, 188)).sum()
    tensor(36096.)
    """

    def __init__(
        self,
        *,
        time_masks: int = 2,
        time_frames: int = 70,
        time_share: float = 0.2,
        frequency_masks: int = 2,
        frequency_bands: int = 15,
    ) -> None:
        super().__init__()
        if min(time_masks, time_frames, frequency_masks, frequency_bands) < 0 or not 0 <= time_share <= 1:
            raise UserError(
                "spec_augment wants numbers of masks, frames and bands of at least 0, time_share from 0 to 1; came "
                f"{time_masks}, {time_frames}, {frequency_masks}, {frequency_bands} and {time_share:g}"
            )
        self.time_masks = time_masks
        self.time_frames = time_frames
        self.time_share = time_share
        self.frequency_masks = frequency_masks
        self.frequency_bands = frequency_bands

    def forward(self, image: Tensor) -> Tensor:
        if not self.training:
            return image
        batch, _, bands, frames = image.shape
        longest = min(self.time_frames, int(self.time_share * frames))
        hidden = _hidden(batch, frames, self.time_masks, longest, image.device)[:, None, None, :]
        widest = min(self.frequency_bands, bands)
        hidden = hidden | _hidden(batch, bands, self.frequency_masks, widest, image.device)[:, None, :, None]
        return torch.where(hidden, image.mean((1, 2, 3), keepdim=True), image)


def _hidden(batch: int, length: int, masks: int, widest: int, device: torch.device) -> Tensor:
    """Which of `length` places are hidden in each example: (B, length), True under `masks` masks of 0 to `widest`."""
    draws = torch.rand(2, batch, masks, 1, device=device)
    width = (draws[0] * (widest + 1)).floor()
    start = (draws[1] * (length - width + 1)).floor()
    place = torch.arange(length, device=device)
    return ((place >= start) & (place < start + width)).any(1)
