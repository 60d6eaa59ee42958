"""Effects in time that keep the length: silencing random stretches, playing backwards."""

import torch
from torch import Tensor

from ssl_music.augment.base import Augmentation
from ssl_music.augment.layers import uniform
from ssl_music.errors import UserError


class TimeMask(Augmentation):
    """Silences `stretches` stretches of each row, each of a length drawn evenly from `low_ms` to `high_ms`.

    The idea is SpecAugment's (Park et al. 2019: two masks of up to 1 s in utterances of some 12 s), here on the
    samples; the default of two masks of 50 to 250 ms in clips of 2.7 s is our own scaling of it. A stretch lies
    anywhere within the row and is silent from end to end; beside it the sound fades out and in during `fade_ms`
    (3s² − 2s³), so that no click tells where it is. Stretches may overlap. Silence drawn stays silence: nothing is
    filled in, the level is not made up.

    >>> wave = torch.ones(1, 1, 1000)
    >>> out = TimeMask(p=1.0, low_ms=100.0, high_ms=100.0, stretches=1).at_rate(1000)(wave)
    >>> int((out == 0).sum())
    100
    """

    def __init__(
        self,
        *,
        p: float = 0.3,
        low_ms: float = 50.0,
        high_ms: float = 250.0,
        stretches: int = 2,
        fade_ms: float = 5.0,
    ) -> None:
        super().__init__(p=p)
        self.low_ms = low_ms
        self.high_ms = high_ms
        self.stretches = stretches
        self.fade_ms = fade_ms
        self.check_range("low_ms", "high_ms", above=0.0)
        if stretches < 1 or not fade_ms >= 0:
            raise UserError(
                f"TimeMask: came stretches={stretches}, fade_ms={fade_ms}; wanted stretches >= 1 and fade_ms >= 0"
            )

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        longest = round(self.high_ms * self.rate() / 1000)
        if longest > wave.shape[-1]:
            raise UserError(
                f"TimeMask: high_ms={self.high_ms:g} is {longest} samples at {self.rate()} Hz, but the wave has only "
                f"{wave.shape[-1]}; take longer clips or shorter masks"
            )

        def one_a_stretch(low: float, high: float) -> Tensor:
            return torch.stack([uniform(low, high, wave, generator) for _ in range(self.stretches)], dim=1)

        samples = (one_a_stretch(self.low_ms, self.high_ms) * (self.rate() / 1000)).round()  # (B, N)
        first = (one_a_stretch(0.0, 1.0) * (wave.shape[-1] - samples + 1)).floor()
        return {"first": first.long(), "samples": samples.long()}

    def apply(self, wave: Tensor, *, first: Tensor, samples: Tensor) -> Tensor:  # type: ignore[override]
        time = torch.arange(wave.shape[-1], dtype=torch.float32, device=wave.device)
        half = (samples - 1) / 2
        outside: Tensor | None = None  # samples to the nearest silent one, (B, T)
        for middle, reach in zip((first + half).unbind(1), half.unbind(1), strict=True):
            away = (time - middle[:, None]).abs_().sub_(reach[:, None])
            outside = away if outside is None else torch.minimum(outside, away, out=outside)
        assert outside is not None, "there is at least one stretch"
        passed = outside.div_(max(1.0, self.fade_ms * self.rate() / 1000)).clamp_(0.0, 1.0)
        return wave * (3 - 2 * passed).mul_(passed).mul_(passed)[:, None]


class TimeReversal(Augmentation):
    """Plays the row backwards: its long-term spectrum stays, attacks become swells.

    >>> TimeReversal(p=1.0)(torch.tensor([[[1.0, 2.0, 3.0]]]))
    tensor([[[3., 2., 1.]]])
    """

    def __init__(self, *, p: float = 0.5) -> None:
        super().__init__(p=p)

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        return {}

    def apply(self, wave: Tensor) -> Tensor:  # type: ignore[override]
        return wave.flip(-1)
