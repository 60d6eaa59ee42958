"""The reverberation of a room that exists only as decaying noise."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ssl_music.augment.base import Augmentation
from ssl_music.augment.layers import hashed, seeds, uniform
from ssl_music.errors import UserError

#: An exponential over n samples is the product of one over the blocks and one within a block: n / 128 + 128 exp.
BLOCK = 128
#: Odd taps of the half-band filter (sinc under Kaiser's window, β = 3.5): 42 dB down from a third of the rate on.
HALF_BAND = (-0.012332, 0.054654, -0.160324, 0.618002, 0.618002, -0.160324, 0.054654, -0.012332)
#: How far, in the sequence of hashed counters, the noise of the low band is from that of the whole band.
APART = 2**30


class Reverb(Augmentation):
    """Convolves with a synthetic room: white noise that decays by 60 dB in the reverberation time RT60.

    h(t) = √(1 − wet) · impulse + √wet · tail, the tail of unit energy, `pre_delay_ms` late and cut at its RT60, so
    that sounds of a broad band keep their energy, whatever the drawn values. Such noise sounds natural (Moorer 1979,
    "About this reverberation business") and has no metallic colour of its own.

    `damping` is how much faster high frequencies decay: their reverberation time is (1 − damping) · RT60, above a
    quarter of the sample rate (5.5 kHz at 22,050 Hz; the "decay HF ratio" of OpenAL's reverb, 1 − damping here, has
    its reference at 5 kHz). Down to a sixth of the rate the RT60 is as asked, from a third on as damped; over the
    whole band that of white noise is at most 6 % below the asked one (at a damping of 0.3). Every row has the same
    spectrum at first: white noise that decays fast, and noise of the lower half band that fills up, in power, what
    is missing there.

    All but the seed are drawn evenly from their ranges; the defaults, ours, go from a furnished room to a small hall.
    CLMR uses p = 0.6 and sox's `reverb`, which is a net of combs and all-passes with a damping from none to full.

    >>> wave = torch.randn(2, 1, 59049, generator=torch.Generator().manual_seed(0))
    >>> Reverb(p=1.0).at_rate(22050)(wave, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 1, 59049])
    """

    form = "impulse"

    def __init__(
        self,
        *,
        p: float = 0.6,
        low_rt60_seconds: float = 0.2,
        high_rt60_seconds: float = 1.0,
        low_damping: float = 0.0,
        high_damping: float = 0.5,
        low_pre_delay_ms: float = 0.0,
        high_pre_delay_ms: float = 20.0,
        low_wet: float = 0.1,
        high_wet: float = 0.5,
    ) -> None:
        super().__init__(p=p)
        self.low_rt60_seconds = low_rt60_seconds
        self.high_rt60_seconds = high_rt60_seconds
        self.low_damping = low_damping
        self.high_damping = high_damping
        self.low_pre_delay_ms = low_pre_delay_ms
        self.high_pre_delay_ms = high_pre_delay_ms
        self.low_wet = low_wet
        self.high_wet = high_wet
        self.check_range("low_rt60_seconds", "high_rt60_seconds", above=0.01)
        self.check_range("low_damping", "high_damping", above=0.0)
        self.check_range("low_pre_delay_ms", "high_pre_delay_ms", above=0.0)
        self.check_range("low_wet", "high_wet", above=0.0)
        if high_damping > 0.8:
            raise UserError(f"Reverb: high_damping={high_damping} is above 0.8; give from 0 (none) to 0.8")
        if high_wet > 1:
            raise UserError(f"Reverb: high_wet={high_wet} is above 1; it is the tail's share of the energy")

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        return {
            "rt60_seconds": uniform(self.low_rt60_seconds, self.high_rt60_seconds, wave, generator),
            "damping": uniform(self.low_damping, self.high_damping, wave, generator),
            "pre_delay_ms": uniform(self.low_pre_delay_ms, self.high_pre_delay_ms, wave, generator),
            "wet": uniform(self.low_wet, self.high_wet, wave, generator),
            "seed": seeds(wave, generator),
        }

    def impulse(
        self, *, rt60_seconds: Tensor, damping: Tensor, pre_delay_ms: Tensor, wet: Tensor, seed: Tensor
    ) -> Tensor:
        first = (pre_delay_ms * (self.rate() / 1000)).round().long()
        count = (rt60_seconds * self.rate()).ceil().long()
        if seed.device.type == "cpu":
            longest, last = int(count.max()), int((first + count).max())
        else:  # a bound that asks a GPU for nothing
            longest = math.ceil(self.high_rt60_seconds * self.rate())
            last = longest + math.ceil(self.high_pre_delay_ms / 1000 * self.rate())
        # −60 dB is a factor of 1000 on the amplitude
        nepers = -math.log(1000) / (rt60_seconds * self.rate())  # a sample, (B,)
        blocks = -(-longest // BLOCK)
        fast = _decay(nepers / (1 - damping), blocks + 1)
        tail = _noise(seed, blocks * BLOCK).view(len(seed), blocks, BLOCK)
        tail = tail.mul_(fast.coarse[:, :-1]).mul_(fast.fine).flatten(1)
        if self.high_damping > 0:
            tail += _low_band(seed + APART, _decay(nepers, blocks + 1), fast)
        impulse = _placed(tail, first, count, last)
        impulse *= (wet.sqrt() / torch.linalg.vector_norm(impulse, dim=1))[:, None]
        impulse[:, 0] += (1 - wet).sqrt()
        return impulse


class Decay(NamedTuple):
    """e^(nepers · t), t = 0, 1, 2, …, as two factors."""

    coarse: Tensor  #: of each block, (B, N, 1)
    fine: Tensor  #: within any block, (B, 1, BLOCK)


def _decay(nepers: Tensor, blocks: int) -> Decay:
    coarse, fine = (torch.arange(count, device=nepers.device) for count in (blocks, BLOCK))
    return Decay((BLOCK * nepers[:, None] * coarse).exp_()[..., None], (nepers[:, None] * fine).exp_()[:, None])


def _low_band(seed: Tensor, slow: Decay, fast: Decay) -> Tensor:
    """Noise below a quarter of the rate, of the power slow² − fast² there. Shape: (B, (N − 1) · BLOCK)."""
    # made at half the rate; the last block is for what the filter hears beyond the end
    (coarse, fine), (faster, finer) = ((its.coarse.square(), its.fine[..., ::2].square()) for its in (slow, fast))
    # a little more than the difference: rounding would make it negative
    power = (coarse * fine).addcmul_(faster, finer, value=-(1 - 1e-6))  # (B, N, BLOCK // 2)
    # at half the rate the same power stands in half the band
    noise = _noise(seed, power[0].numel()).mul_(power.mul_(0.5).sqrt_().flatten(1))
    count, middle = noise.shape[1] - BLOCK // 2, len(HALF_BAND) // 2 - 1
    odd = noise[:, :count] * HALF_BAND[0]
    for k, tap in enumerate(HALF_BAND[1:], start=1):
        odd.add_(noise[:, k : k + count], alpha=tap)
    # woven into one, in half the time of torch.stack
    return torch.view_as_real(torch.complex(noise[:, middle : middle + count], odd)).flatten(1)


def _noise(seed: Tensor, count: int) -> Tensor:
    """White noise, evenly spread over ±127.5: four samples from each hash. Shape: (B,) int32 → (B, count)."""
    return hashed(seed, -(-count // 4)).view(torch.int8)[:, :count] + 0.5


def _placed(tail: Tensor, first: Tensor, count: Tensor, last: int) -> Tensor:
    """`count` samples of every row, from sample `first` on, in silence. Shape: (B, N), (B,), (B,) → (B, last)."""
    # slices take a fifth of the time of masks; on a GPU they would wait for the numbers to come to the host
    placed = placed_by_slices if tail.device.type == "cpu" else placed_by_gather
    return placed(tail, first, count, last)


def placed_by_slices(tail: Tensor, first: Tensor, count: Tensor, last: int) -> Tensor:
    """`_placed` on the CPU."""
    placed = tail.new_zeros(len(tail), last)
    for out, row, begin, samples in zip(placed, tail, first.tolist(), count.tolist(), strict=True):
        out[begin : begin + samples] = row[:samples]
    return placed


def placed_by_gather(tail: Tensor, first: Tensor, count: Tensor, last: int) -> Tensor:
    """`_placed` without asking the host for any number."""
    place = torch.arange(last, device=tail.device) - first[:, None]
    outside = (place < 0) | (place >= count[:, None])
    return tail.gather(1, place.clamp_(0, tail.shape[1] - 1)).masked_fill_(outside, 0.0)
