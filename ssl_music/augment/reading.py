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
#: Kernels are tabulated at this many places a sample (the nearest is taken: an error of −76 dB) …
PLACES = 512
#: … and for this many rates an octave.
RATES = 24
#: Of a slower rate this part of the band stays: what is next to half the sample rate would be mirrored.
KEPT_BAND = 0.93
#: Of the Kaiser window. Both chosen for the smallest log-mel distance to ideal transpositions.
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
    # In its strip sample n stands at this many places: whole samples and a part. Its weights are a run of the kernel
    # for that part, its middle where the sample stands.
    stands = ((place - whole + left) * PLACES).round().int()
    run = (row[:, None, None].int() * PLACES + stands % PLACES) * kernels.shape[-1] + span - stands // PLACES
    weights = kernels.view(-1).unfold(0, span, 1).index_select(0, run.flatten()).view(rows, blocks, BLOCK, span)
    weights *= window(size, device).view(blocks, BLOCK, 1)
    pieces = torch.bmm(strip.flatten(0, 1), weights.flatten(0, 1).transpose(1, 2))  # (B · blocks, K, BLOCK)
    return lay(pieces.view(rows, blocks, -1, BLOCK), size)


def _span(fastest: float) -> int:
    """How much of the wave a block needs."""
    return math.ceil(fastest * (BLOCK - 1)) + 2 * (TAPS + 1)


@lru_cache(maxsize=8)
def _kernels(fastest: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """h for each rate from 1/2 on and each place, (rates, PLACES, 2 · span), its middle at span; its taps, (rates,).

    Reading faster, nothing may stay that comes back as an alias from half the new sample rate. Reading slower, the
    band is narrowed by and by, so that rate 1 is exact.
    """
    span = _span(fastest)
    rate = torch.exp2(torch.arange(math.ceil(RATES * (1 + math.log2(fastest))) + 1) / RATES - 1)
    taps = ((span - 2 - (BLOCK - 1) * rate) / 2).floor().clamp_min(TAPS)[:, None, None]
    cutoff = torch.minimum(1 / rate, rate.sqrt().clamp_min(KEPT_BAND))[:, None, None]
    place = torch.arange(PLACES)[:, None] / PLACES
    at = torch.arange(-span, span) - place  # (PLACES, 2 · span)
    taper = torch.special.i0(BETA * (1 - (at / taps).square()).clamp_min(0.0).sqrt())  # Kaiser 1974
    taper = taper.where(at.abs() < taps, 0.0) / taper.amax((1, 2), keepdim=True)
    kernels = cutoff * torch.sinc(cutoff * at) * taper
    return kernels.to(device), taps[:, 0, 0].long().to(device)
