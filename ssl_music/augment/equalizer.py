"""A parametric equaliser: peaks, dips and shelves, one in each part of the band (Audio EQ Cookbook)."""

import math
from collections.abc import Callable
from functools import reduce
from itertools import pairwise, product

import torch
from torch import Tensor

from ssl_music.augment.base import Augmentation
from ssl_music.augment.layers import biquad, decay, log_uniform, ringing_samples, uniform
from ssl_music.errors import UserError

#: Q of the shelves: the steepest without a bump beside the step (the cookbook's slope S = 1).
SHELF_Q = math.sqrt(0.5)


class ParametricEQ(Augmentation):
    """Lifts and lowers parts of the spectrum: another mastering, another loudspeaker, another room.

    `bands` peaking filters one after another, `gain_db` at the centre and 0 dB far from it (R. Bristow-Johnson, Audio
    EQ Cookbook; sox's `equalizer`). The range from `low_hz` to `high_hz` is cut into as many parts, equal in octaves,
    and each filter has its centre in its own, drawn evenly in the logarithm, as Q is (centre over the width between
    half the gain in dB); gains are drawn evenly in dB. Neighbours add up, so loud samples may leave [−1, 1].

    With `shelves` the lowest filter moves all below its frequency and the highest all above, by half of `gain_db` at
    that frequency itself, as on a mixing desk; their Q is 0.707 and the drawn one counts for nothing. Gains of ±12 dB
    and up to 7500 Hz are audiomentations' (SevenBandParametricEQ, PeakingFilter). Below 125 Hz it grows expensive: a
    filter rings for longer the lower it is, and the more its gain and its Q are.

    Of a range that reaches above 0.49 of the sample rate the part below is used, with a warning.

    Shape: wave (B, 1, T) → (B, 1, T); centre_hz, gain_db and q (B, bands).

    >>> effect = ParametricEQ(p=1.0, bands=1).at_rate(22050)
    >>> params = {"centre_hz": torch.tensor([[1000.0]]), "gain_db": torch.tensor([[6.0]]), "q": torch.tensor([[2.0]])}
    >>> level_db = 20 * torch.log10(effect.response(22050, **params).abs())  # bins of 1 Hz
    >>> [round(float(level_db[0, hz]), 2) for hz in (10, 1000, 10_000)]
    [0.0, 6.0, 0.01]
    """

    form = "response"
    ranges_hz = (("low_hz", "high_hz"),)

    def __init__(
        self,
        *,
        p: float = 0.5,
        bands: int = 3,
        low_hz: float = 125.0,
        high_hz: float = 7500.0,
        low_gain_db: float = -12.0,
        high_gain_db: float = 12.0,
        low_q: float = 0.5,
        high_q: float = 2.0,
        shelves: bool = False,
    ) -> None:
        super().__init__(p=p)
        self.bands = bands
        self.low_hz = low_hz
        self.high_hz = high_hz
        self.low_gain_db = low_gain_db
        self.high_gain_db = high_gain_db
        self.low_q = low_q
        self.high_q = high_q
        self.shelves = shelves
        self.check_range("low_hz", "high_hz", above=1.0)
        self.check_range("low_gain_db", "high_gain_db")
        self.check_range("low_q", "high_q", above=0.1)
        least = 2 if shelves else 1
        if bands < least:
            raise UserError(f"ParametricEQ: bands={bands} with shelves={shelves}; give at least {least}")

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        def bands(draw_one: Callable[..., Tensor], ends: list[tuple[float, float]]) -> Tensor:
            return torch.stack([draw_one(low, high, wave, generator) for low, high in ends], dim=1)  # (B, bands)

        return {
            "centre_hz": bands(log_uniform, self._parts_hz()),
            "gain_db": bands(uniform, [(self.low_gain_db, self.high_gain_db)] * self.bands),
            "q": bands(log_uniform, [(self.low_q, self.high_q)] * self.bands),
        }

    def _parts_hz(self) -> list[tuple[float, float]]:
        """Where each filter has its centre: as many parts of the range, equal in octaves."""
        low, ratio = self.low_hz, self.highest_hz("high_hz") / self.low_hz
        return list(pairwise(low * ratio ** (band / self.bands) for band in range(self.bands + 1)))

    def _shelf(self, band: int) -> int:
        """−1: this filter is the low shelf, 1: the high shelf, 0: neither."""
        return (band == self.bands - 1) - (band == 0) if self.shelves else 0

    def tail_samples(self) -> int:
        gains_db, qs = (self.low_gain_db, self.high_gain_db), (self.low_q, self.high_q)
        # the poles of a peak are those of a band-pass of Q · A, with A = 10^(gain/40)
        peak_qs = [10 ** (gain / 40) * q for gain, q in zip(gains_db, qs, strict=True)]
        slowest = []  # of each band, at a corner of its ranges
        for band, part_hz in enumerate(self._parts_hz()):
            turns = [hz / self.rate() for hz in part_hz]
            if shelf := self._shelf(band):
                slopes = [math.tan(math.pi * some) * 10 ** (shelf * gain / 80) for some in turns for gain in gains_db]
                slowest.append(min(decay(math.atan(slope) / math.pi, SHELF_Q) for slope in slopes))
            else:
                slowest.append(min(decay(some, q) for some, q in product(turns, peak_qs)))
        return ringing_samples(slowest)

    def response(self, n_fft: int, *, centre_hz: Tensor, gain_db: Tensor, q: Tensor) -> Tensor:
        responses = (
            self._response(n_fft, band, *numbers)
            for band, numbers in enumerate(zip(centre_hz.T / self.rate(), gain_db.T, q.T, strict=True))
        )
        return reduce(Tensor.mul_, responses)

    def _response(self, n_fft: int, band: int, turns: Tensor, gain_db: Tensor, q: Tensor) -> Tensor:
        root = torch.pow(10.0, gain_db / 40.0)  # A
        shelf = self._shelf(band)
        if shelf == 0:  # (1 + A s/Q + s²) / (1 + s/(A Q) + s²)
            return biquad(n_fft, turns=turns, q=root * q, numerator=(1.0, root / q, 1.0))
        # low shelf: A (A + √A s/Q + s²) / (1 + √A s/Q + A s²) = (A² + A z/Q + z²) / (1 + z/Q + z²) with z = √A s,
        # so its corner moves down by √A; high shelf: (1 + A z/Q + A² z²) / (1 + z/Q + z²), its corner moves up
        turns = torch.atan(torch.tan(math.pi * turns) * torch.pow(10.0, shelf * gain_db / 80.0)) / math.pi
        ends = (root * root, 1.0) if shelf < 0 else (1.0, root * root)
        return biquad(n_fft, turns=turns, q=SHELF_Q, numerator=(ends[0], root / SHELF_Q, ends[1]))
