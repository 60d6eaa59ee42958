"""Pieces of a wave read faster or slower: band-limited interpolation as a batch of small matrix products.

Sample n of a piece is the wave at start + rate · n: Σᵢ wave[i] h(i − start − rate · n) with a windowed sinc h
(Smith & Gossett 1984). The starts being whole, the weights of sample n are those of every piece of a row. So a block
of 16 samples is a matrix of weights times a strip of the wave, for all pieces in one product.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from ssl_music.augment.overlap import BLOCK, Sizes, lay, strips, window

#: Samples on either side that weigh in at the fastest rate; what is read slower has more of them in its strip.
TAPS = 8
#: Kernels are tabulated at this many places a sample (the nearest is taken: an error of −70 dB) …
PLACES = 256
#: … and for this many rates an octave.
RATES = 24
#: Of a slower rate this part of the band stays: what is next to half the sample rate would be mirrored.
KEPT_BAND = 0.93
#: Of the Kaiser window. Both chosen for the smallest log-mel distance to ideal transpositions, 1.8 dB.
BETA = 5.0


def read(wave: Tensor, start: Tensor, rate: Tensor, size: Sizes, fastest: float) -> Tensor:
    """Pieces that begin at `start` and are read at `rate`, laid one over the next. (B, N), (B, K), (B,) → (B, …).

    No rate may be above `fastest`. The output has K · hop − fade samples.
    """
    rows, device = len(wave), wave.device
    blocks = size.length // BLOCK
    kernels, taps = _kernels(fastest, device)
    span = _span(fastest)
    row = (RATES * (1 + rate.log2())).round().clamp_min(0.0).long()  # (B,), in the table
    left = taps[row][:, None, None]
    place = (rate[:, None] * torch.arange(size.length, device=device)).view(rows, blocks, BLOCK)
    whole = place[..., :1].floor()  # (B, blocks, 1)
    strip = strips(wave, start[:, None, :] + (whole - left).int(), span)  # (B, blocks, K, span)
    # sample i of a strip counts for sample n as h(i − left − place) says: here the column of that
    middle = row * kernels.shape[1] + kernels.shape[1] // 2
    column = (place - whole + left) * -PLACES + (middle[:, None, None] + 0.5)
    index = (torch.arange(span, device=device) * PLACES)[:, None] + column[:, :, None, :]
    weights = kernels.view(-1).index_select(0, index.int().flatten()).view(rows, blocks, span, BLOCK)
    weights *= window(size, device).view(blocks, 1, BLOCK)
    pieces = torch.bmm(strip.flatten(0, 1), weights.flatten(0, 1))  # (B · blocks, K, BLOCK)
    return lay(pieces.view(rows, blocks, -1, BLOCK), size)


def _span(fastest: float) -> int:
    """How much of the wave a block needs."""
    return math.ceil(fastest * (BLOCK - 1)) + 2 * (TAPS + 1)


@lru_cache(maxsize=8)
def _kernels(fastest: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """h at every place, for rates from 1/2 on, (rates, …), zero wherever else `read` may look; its taps, (rates,).

    Reading faster, nothing may stay that comes back as an alias from half the new sample rate. Reading slower, the
    band is narrowed by and by, so that rate 1 is exact.
    """
    span = _span(fastest)
    rate = torch.exp2(torch.arange(math.ceil(RATES * (1 + math.log2(fastest))) + 1, dtype=torch.float64) / RATES - 1)
    taps = ((span - 2 - (BLOCK - 1) * rate) / 2).floor().clamp_min(TAPS)[:, None]
    cutoff = torch.minimum(1 / rate, rate.sqrt().clamp_min(KEPT_BAND))[:, None]
    at = torch.arange(-span * PLACES, span * PLACES + 1, dtype=torch.float64) / PLACES
    taper = torch.special.i0(BETA * (1 - (at / taps).square()).clamp_min(0.0).sqrt())  # Kaiser 1974
    taper = taper.where(at.abs() < taps, 0.0) / taper.amax(1, keepdim=True)
    kernels = cutoff * torch.sinc(cutoff * at) * taper
    return kernels.float().to(device), taps[:, 0].long().to(device)
