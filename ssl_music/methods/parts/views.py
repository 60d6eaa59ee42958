"""Two views of each track: of two crops, or of one."""

import torch
from torch import Tensor

from ssl_music.clips import Clips
from ssl_music.errors import UserError


def check_crops(method: str, crops: int) -> int:
    """`crops` itself if two views can be made of so many.

    >>> check_crops("SimCLR", 2)
    2
    """
    if crops not in (1, 2):
        raise UserError(f"{method}: crops={crops}; wanted 2 (each view its own crop) or 1 (both views of one crop)")
    return crops


def both_views(clips: Clips, crops: int) -> Tensor:
    """The first views of all tracks, and under them the second, not augmented yet.

    One forward pass for both lets batch norm see one distribution.

    Shape: clips of B tracks → (2B, 1, T).

    >>> both_views(Clips(torch.zeros(1, 3, 1, 8), torch.arange(3)), 1).shape
    torch.Size([6, 1, 8])
    """
    return torch.cat([clips.view(0), clips.view(crops - 1)])
