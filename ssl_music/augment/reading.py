"""Pieces of a wave read faster or slower: band-limited interpolation as a batch of small matrix products.

Sample n of a piece is the wave at start + rate · n: Σᵢ wave[i] h(i − start − rate · n) with a windowed sinc h
(Smith & Gossett 1984). The starts being whole, the weights of sample n are those of every piece of a row. So a block of 16
samples is a matrix of weights times a strip of the wave, for all pieces in one product: sixteen taps and no aliases
for little more than `grid_sample` takes to draw a straight line between two samples.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from ssl_music.augment.overlap import BLOCK, Sizes, lay, strips, window

#: Samples on either side that weigh in.
TAPS = 8
#: Kernels are tabulated at this many places a sample (the nearest is taken: an error of −70 dB) …
PLACES = 256
#: … and for cutoffs in steps of 1/64 of half the sample rate.
CUTOFFS = 64


def read(wave: Tensor, start: Tensor, rate: Tensor, size: Sizes, fastest: float) -> Tensor:
    """Pieces that begin at `start` and are read at `rate`, laid one over the next. (B, N), (B, K), (B,) → (B, …).

    No rate may be above `fastest`. The output has K · hop − fade samples. The wave must hold TAPS more samples on
    either side of all that is read.
    """
    rows, device = len(wave), wave.device
    blocks = size.length // BLOCK
    span = math.ceil(fastest * (BLOCK - 1)) + 1 + 2 * TAPS
    place = rate[:, None] * torch.arange(size.length, device=device)  # (B, length), of sample n in its piece
    place = place.view(rows, blocks, BLOCK)
    whole = place[..., :1].floor()
    taken = strips(wave, start[:, None, :] + (whole - TAPS).int(), span)  # (B, blocks, K, span)
    kernels, zero = _kernels(fastest, device)
    # Above the rate's own half nothing may stay that would come back as an alias; slower reading mirrors what is
    # next to it, so it keeps up to 0.9 of the band.
    cutoff = (CUTOFFS * torch.minimum(1 / rate, rate.sqrt().clamp_min(0.9))).int()  # (B,)
    row = (cutoff * kernels.shape[1] + zero)[:, None, None]
    # where in the table of its row h(i − TAPS − place) stands
    column = (place - whole) * -PLACES + (row + 0.5)
    index = (torch.arange(-TAPS, span - TAPS, device=device) * PLACES)[:, None] + column[:, :, None, :]
    weights = kernels.view(-1).index_select(0, index.int().flatten()).view(rows, blocks, span, BLOCK)
    weights *= window(size, device).view(blocks, 1, BLOCK)
    pieces = torch.bmm(taken.flatten(0, 1), weights.flatten(0, 1))  # (B · blocks, K, BLOCK)
    return lay(pieces.view(rows, blocks, -1, BLOCK), size)


@lru_cache(maxsize=8)
def _kernels(fastest: float, device: torch.device) -> tuple[Tensor, int]:
    """h at every place, (CUTOFFS + 1, …), with zeros wherever `read` may look; and the column of h(0)."""
    far = math.ceil(fastest * (BLOCK - 1)) + 2 + TAPS
    at = torch.arange(-far * PLACES, far * PLACES + 1, dtype=torch.float64) / PLACES
    taper = torch.special.i0(6.0 * (1 - (at / TAPS).square()).clamp_min(0.0).sqrt())  # Kaiser 1974, β = 6
    taper = taper.where(at.abs() < TAPS, 0.0) / taper.max()
    cutoff = torch.arange(CUTOFFS + 1, dtype=torch.float64)[:, None] / CUTOFFS
    return (cutoff * torch.sinc(cutoff * at) * taper).float().to(device), far * PLACES
