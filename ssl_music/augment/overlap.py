"""Pieces of a wave laid one over the next so that they fit: WSOLA (Verhelst & Roelands 1993) without a loop.

Playing a wave longer or shorter than it is means jumping in it. Every `hop` samples of the output a new piece begins;
it is faded in over `fade` samples while the piece before goes on. Where it is taken from is free within a few
milliseconds of where it should be: there the search finds the place that looks most like what the piece before
would have played next, so that the two add up in phase.

The classic search is sequential, since what "would have played next" depends on the choice before. But when the piece
before moves by d, its continuation moves by d as well: with the pieces at near[k] + d[k] only the lag between
continuation and candidate counts, near[k] − near[k−1] − advance + d[k] − d[k−1]. One correlation for each k, of the
music around one place, at all those lags, serves every d[k−1]: the best d[k] for each d[k−1] is the maximum in a
sliding window, a table; and K tables one after another are composed in log₂ K steps.

That is done on a grid of about 0.36 ms. A second correlation, a few samples to each side, then corrects the lags to
fractions of a sample; their sum is rounded, so that errors do not add up.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad

from ssl_music.augment.base import Augmentation
from ssl_music.errors import UserError

#: The search looks this many grid steps to each side, 7.3 ms: 14.5 ms hold a period of every note above 69 Hz.
REACH_STEPS = 20
#: What is compared is this many grid steps long: 8.7 ms.
MATCH_STEPS = 24
#: A jump as long as the search reaches has to look better by this much (of 1) than none.
JUMP_COST = 0.005


class Sizes(NamedTuple):
    """Lengths in samples."""

    hop: int  #: a new piece begins that often: every 51 ms
    fade: int  #: and is faded in over 12 ms
    step: int  #: of the search's grid: 0.36 ms

    @property
    def length(self) -> int:
        return self.hop + self.fade

    @property
    def reach(self) -> int:
        return REACH_STEPS * self.step

    def pieces(self, samples: int) -> int:
        """How many make `samples` of output, after the first fade-in, which is cut off."""
        return -(-(samples + self.fade) // self.hop)


#: hop and fade are multiples of this, for `reading`
BLOCK = 16


def sizes(sample_rate: int) -> Sizes:
    """Sizes for a sample rate in Hz.

    >>> sizes(22050)
    Sizes(hop=1120, fade=256, step=8)
    """

    def blocks(seconds: float) -> int:
        return BLOCK * max(1, round(seconds * sample_rate / BLOCK))

    return Sizes(blocks(0.0508), blocks(0.0116), max(1, round(0.000363 * sample_rate)))


def align(wave: Tensor, near: Tensor, advance: Tensor, size: Sizes) -> Tensor:
    """Where in `wave` each piece begins, so that it continues the one before. Shape: (B, N), (B, K), (B,) → (B, K).

    Args:
        wave: from `padded`.
        near: int32, where they should begin; the first does, the others up to 2 · `reach` from there (as good as
            always within 1 · `reach`).
        advance: samples of the wave that go by in `hop` samples of the output.
    """
    with torch.no_grad():
        middle = (advance * (size.fade / (2 * size.hop))).int()[:, None]  # from a piece's beginning to mid-fade
        jump = near[:, 1:] - near[:, :-1] - advance[:, None]  # from continuation to `near`, (B, K − 1)
        offset = _coarse(wave, near[:, 1:] + middle, jump, size.step)
        start = torch.cat([near[:, :1], near[:, 1:] + offset], dim=1)
        correction = _fine(wave, start, middle, advance, size.step).cumsum(1).round()
        limit = size.reach
        return torch.cat([start[:, :1], start[:, 1:] + correction.clamp(-limit, limit).int()], dim=1)


def _coarse(wave: Tensor, middle: Tensor, jump: Tensor, step: int) -> Tensor:
    """The offsets d[k] from `near` for k ≥ 1, multiples of `step`. Shape: (B, N), twice (B, K − 1) → (B, K − 1)."""
    rows, pieces = jump.shape
    reach, match = REACH_STEPS, MATCH_STEPS
    box = wave.new_full((step,), 1 / step)
    coarse = wave.view(rows, -1, step) @ box
    mean = coarse.mean(1, keepdim=True)
    coarse -= mean
    place = torch.div(middle, step, rounding_mode="floor").int() - match // 2
    # the continuation lies between two places of the grid
    pattern = strips(wave, place * step - jump.round().int(), match * step)
    pattern = (pattern.view(rows, -1, match, step) @ box).sub_(mean[..., None])  # (B, K − 1, match)
    first, lags = place - 2 * reach, 4 * reach + 1
    score = correlate(strips(coarse, first, match + lags - 1), pattern)  # (B, K − 1, lags)
    energy = pad(coarse.square().cumsum(1), (1, 0))
    energy = (energy[:, match:] - energy[:, :-match]).clamp_min_(0.0)
    own = pattern.square().sum(-1, keepdim=True)
    score *= (strips(energy, first, lags).add_(own, alpha=1e-4).mul_(own) + 1e-12).rsqrt_()
    # among equals the one that need not jump
    lag = torch.arange(-2 * reach, 2 * reach + 1, device=wave.device) + (jump / step).clamp(-reach, reach)[..., None]
    score -= lag.abs_().mul_(JUMP_COST / reach)
    # A score in steps of 2⁻¹⁴ and its lag in one integer: the maximum brings its place along, and equal scores
    # (of a periodic wave) are decided in the same way on every machine.
    packed = (score.mul_(2.0**14).int() << 8) + torch.arange(lags, dtype=torch.int32, device=wave.device)
    # state = reach − d/step. From state i the lag may have the numbers i … i + 2·reach.
    states, width = 2 * reach + 1, 1
    while 2 * width <= states:
        packed = torch.maximum(packed[..., :-width], packed[..., width:])
        width *= 2
    best = torch.maximum(packed[..., :states], packed[..., -states:]) & 255
    table = torch.arange(states, device=wave.device) - best + 2 * reach  # (B, K − 1, states): the next state
    done = 1
    while done < pieces:  # table k becomes the composition of all tables up to k
        table = torch.cat([table[:, :done], table[:, done:].gather(2, table[:, :-done])], dim=1)
        done *= 2
    return (step * (reach - table[:, :, reach])).int()


def _fine(wave: Tensor, start: Tensor, middle: Tensor, advance: Tensor, step: int) -> Tensor:
    """By how much each lag is to be corrected, in fractions of a sample. Shape: … → (B, K − 1)."""
    match, reach = 8 * step, max(2, step // 2)
    ahead = advance.round()[:, None]
    place = middle - match // 2
    pattern = strips(wave, start[:, :-1] + (place + ahead.int()), match)
    there = strips(wave, start[:, 1:] + (place - reach), match + 2 * reach)
    energy = pad(there.square().cumsum(-1), (1, 0))
    energy = energy[..., match:] - energy[..., :-match]
    score = correlate(there, pattern) * energy.clamp_min_(1e-9).rsqrt_()
    # flat where there is silence: then the middle wins
    score += 1e-9 * (reach - torch.arange(-reach, reach + 1, device=wave.device).abs())
    peak = score[..., 1:-1].argmax(-1, keepdim=True)
    left, top, right = score.gather(-1, peak + torch.arange(3, device=wave.device)).unbind(-1)
    # the vertex of the parabola through three values
    vertex = (0.5 * (left - right) / (left - 2 * top + right - 1e-12)).clamp_(-0.5, 0.5)
    return peak[..., 0] + (vertex + (advance[:, None] - ahead + 1 - reach))


def check_samples(effect: Augmentation, samples: int, shortest: int) -> None:
    """One clear error where a wave is shorter than what the effect has to jump about in."""
    if samples < shortest:
        name = type(effect).__name__
        raise UserError(
            f"{name} wants at least {shortest} samples at {effect.rate()} Hz; the wave has only {samples}"
        )


def padded(wave: Tensor, size: Sizes, fastest: float) -> tuple[Tensor, int]:
    """`wave` with room on either side for pieces read up to `fastest` times as fast, and how much comes before it.

    Shape: (B, 1, T) → (B, N), N a multiple of `step`.
    """
    before = math.ceil(fastest * size.fade) + size.hop + 4 * size.reach
    behind = math.ceil(fastest * size.length) + size.hop + 4 * size.reach
    return pad(wave[:, 0], (before, behind + -(before + wave.shape[-1] + behind) % size.step)), before


def strips(wave: Tensor, start: Tensor, width: int) -> Tensor:
    """`width` samples from each start on. Shape: (B, N), (B, …) int32 → (B, …, width)."""
    row = torch.arange(len(wave), dtype=torch.int32, device=wave.device) * wave.shape[1]
    start = start + row.view(-1, *[1] * (start.dim() - 1))
    if torch.is_grad_enabled() and wave.requires_grad:  # the gradient of overlapping windows is made of all windows
        index = start[..., None] + torch.arange(width, dtype=torch.int32, device=wave.device)
        return wave.reshape(-1).index_select(0, index.flatten()).view(index.shape)
    # rows of overlapping windows, copied whole: three times faster than single samples
    return wave.reshape(-1).unfold(0, width, 1).index_select(0, start.flatten()).view(*start.shape, width)


def correlate(wave: Tensor, pattern: Tensor) -> Tensor:
    """Each pattern moved along its own wave. Shape: (B, K, M + n − 1), (B, K, M) → (B, K, n)."""
    rows, pieces = pattern.shape[:2]
    groups = rows * pieces
    out = conv1d(wave.view(1, groups, -1), pattern.reshape(groups, 1, -1), groups=groups)
    return out.view(rows, pieces, -1)


@lru_cache(maxsize=16)
def window(size: Sizes, device: torch.device) -> Tensor:
    """The weight of each sample of a piece; fade-out and fade-in add up to one. Shape: (length,)."""
    rise = torch.sin(torch.pi / 2 * (torch.arange(size.fade) + 0.5) / size.fade).square()
    return torch.cat([rise, torch.ones(size.hop - size.fade), rise.flip(0)]).to(device)


def lay(pieces: Tensor, size: Sizes) -> Tensor:
    """Weighted pieces, one every hop, the first fade-in cut off. Shape: (B, blocks, K, BLOCK) → (B, K · hop − fade).

    `pieces` must be the caller's own: the fade-outs are added to the fade-ins in place.
    """
    hop = size.hop // BLOCK
    pieces[:, : size.fade // BLOCK, 1:] += pieces[:, hop:, :-1]
    return pieces[:, :hop].transpose(1, 2).flatten(1)[:, size.fade :]
