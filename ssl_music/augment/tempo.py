"""Tempo: time stretch, which keeps the pitch, and varispeed, which does not.

The output is as long as the wave. What is slower is cut off at its end; what is faster runs out of music, and goes
round to the beginning, with the fade from piece to piece at the seam: a clip has no silence that tells what was done.
"""

import math

import torch
from torch import Tensor

from ssl_music.augment.base import Augmentation
from ssl_music.augment.layers import log_uniform
from ssl_music.augment.overlap import BLOCK, align, check_samples, lay, padded, sizes, strips, window
from ssl_music.augment.reading import read
from ssl_music.errors import UserError

#: A piece of 62 ms read or left out four times as fast is all that can be called music.
LARGEST_RATE = 4.0


class TimeStretch(Augmentation):
    """Plays `rate` times as fast at the same pitch; 0.8 is slower, 1.25 faster.

    WSOLA, see `overlap`. The rate is drawn evenly on a logarithmic scale from `low_rate` to `high_rate`: 0.8 and 1.25
    are equally far from 1. The defaults are the range within which listeners still call it the same music.

    >>> wave = torch.sin(2 * torch.pi * 440 / 22050 * torch.arange(22050.0)).view(1, 1, -1)
    >>> out = TimeStretch(p=1.0, low_rate=1.2, high_rate=1.2).at_rate(22050)(wave)
    >>> out.shape, int(torch.fft.rfft(out).abs().argmax())  # the bins are 1 Hz apart
    (torch.Size([1, 1, 22050]), 440)
    """

    def __init__(self, *, p: float = 0.5, low_rate: float = 0.8, high_rate: float = 1.25) -> None:
        super().__init__(p=p)
        self.low_rate = low_rate
        self.high_rate = high_rate
        _check_rates(self)

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        return {"rate": log_uniform(self.low_rate, self.high_rate, wave, generator)}

    def apply(self, wave: Tensor, *, rate: Tensor) -> Tensor:  # type: ignore[override]
        size, samples = sizes(self.rate()), wave.shape[-1]
        check_samples(self, samples, 2 * (size.length + size.reach))
        begin = torch.arange(size.pieces(samples), device=wave.device) * size.hop - size.fade  # in the output, (K,)
        # All pieces but the first must have room to be moved.
        room = torch.full_like(begin, size.reach)
        room[0] = 0
        last = samples - (samples - begin).clamp_max(
            size.length
        )  # from here a piece still reaches as far as it has to
        near = rate[:, None] * (begin + size.length / 2) - size.length / 2  # the middle where it belongs, (B, K)
        around = (near - size.reach).remainder(samples - size.length - 2 * size.reach) + size.reach
        near = torch.where(near > last, around, torch.minimum(near, last - room))
        near = torch.maximum(near, room - size.fade)
        source, before = padded(wave, size, 1.0)
        start = align(source, (near.round() + before).int(), torch.full_like(rate, size.hop), size)
        pieces = strips(source, start, size.length) * window(size, wave.device)  # (B, K, length)
        return lay(pieces.unflatten(2, (-1, BLOCK)).transpose(1, 2), size)[:, None, :samples]


class Varispeed(Augmentation):
    """Plays `rate` times as fast, and as much higher: a tape or a record at the wrong speed.

    Band-limited interpolation, see `reading`. The rate is drawn evenly on a logarithmic scale from `low_rate` to
    `high_rate` and rounded to 1/1120 at 22,050 Hz (within a cent), so that 51 ms of output are whole samples of the
    input.

    >>> wave = torch.sin(2 * torch.pi * 440 / 22050 * torch.arange(22050.0)).view(1, 1, -1)
    >>> out = Varispeed(p=1.0, low_rate=0.75, high_rate=0.75).at_rate(22050)(wave)
    >>> out.shape, int(torch.fft.rfft(out).abs().argmax())
    (torch.Size([1, 1, 22050]), 330)
    """

    def __init__(self, *, p: float = 0.5, low_rate: float = 0.8, high_rate: float = 1.25) -> None:
        super().__init__(p=p)
        self.low_rate = low_rate
        self.high_rate = high_rate
        _check_rates(self)

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        return {"rate": log_uniform(self.low_rate, self.high_rate, wave, generator)}

    def apply(self, wave: Tensor, *, rate: Tensor) -> Tensor:  # type: ignore[override]
        size, samples = sizes(self.rate()), wave.shape[-1]
        fastest = math.ceil(self.high_rate * size.hop) / size.hop
        check_samples(self, samples, 2 * math.ceil(fastest * size.length))
        advance = (rate.clamp_max(fastest) * size.hop).round().long()[:, None]  # (B, 1)
        rate = advance / size.hop
        piece = torch.arange(size.pieces(samples), device=wave.device)
        used = (samples + size.fade - piece * size.hop).clamp_max(size.length)  # of its samples are kept, (K,)
        start = advance * piece - (rate * size.fade).round().long()  # (B, K)
        around = start.remainder(samples - (rate * size.length).ceil().long())
        start = torch.where(start + rate * used > samples, around, start)
        source, before = padded(wave, size, fastest)
        return read(source, (start + before).int(), rate[:, 0], size, fastest)[:, None, :samples]


def _check_rates(effect: TimeStretch | Varispeed) -> None:
    effect.check_range("low_rate", "high_rate", above=1 / LARGEST_RATE)
    if effect.high_rate > LARGEST_RATE:
        name = type(effect).__name__
        raise UserError(f"{name}: high_rate={effect.high_rate} is above {LARGEST_RATE:g}; lower it")
