"""Echoes, on the samples and never through an FFT: a single delay, and a comb of delays that feed themselves."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from ssl_music.augment.base import Augmentation
from ssl_music.augment.layers import uniform
from ssl_music.errors import UserError

#: A comb is heard until it is 120 dB down.
SILENCE = 1e-6


class Delay(Augmentation):
    """Mixes the wave with itself a moment later: (x(t) + factor · x(t − delay)) / 2.

    The field's delay: 200 to 450 ms in steps of 50 ms, factor 0.5 (torchaudio-augmentations). CLMR uses p = 0.3. It
    acts on the samples: 0.03 ms a clip against 0.4 through an FFT.

    >>> wave = torch.zeros(1, 1, 10)
    >>> wave[0, 0, 0] = 1.0
    >>> Delay(p=1.0, low_ms=4.0, high_ms=4.0).at_rate(1000)(wave)[0, 0]
    tensor([0.5000, 0.0000, 0.0000, 0.0000, 0.2500, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000])
    """

    form = "linear"

    def __init__(
        self,
        *,
        p: float = 0.3,
        low_ms: float = 200.0,
        high_ms: float = 450.0,
        step_ms: float = 50.0,
        factor: float = 0.5,
    ) -> None:
        super().__init__(p=p)
        self.low_ms = low_ms
        self.high_ms = high_ms
        self.step_ms = step_ms
        self.factor = factor
        self.check_range("low_ms", "high_ms", above=0.0)
        if not step_ms > 0:
            raise UserError(f"Delay: step_ms={step_ms} is no step; give milliseconds above 0")

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        check_longest(self, wave)
        # the millionth keeps the last step where the division came out a little low
        steps = math.floor((self.high_ms - self.low_ms) / self.step_ms + 1e-6) + 1
        return {"delay_ms": self.low_ms + self.step_ms * uniform(0.0, steps, wave, generator).floor()}

    def apply(self, wave: Tensor, *, delay_ms: Tensor) -> Tensor:  # type: ignore[override]
        return torch.add(wave / 2, shifted(wave, self._samples(delay_ms)), alpha=self.factor / 2)

    def change(self, out: Tensor, rows: Tensor, params: dict[str, Tensor]) -> None:
        if out.device.type != "cpu" or out.requires_grad:
            super().change(out, rows, params)
            return
        half = torch.empty(out.shape[-1])
        for row, samples in zip(rows.tolist(), self._samples(**params).tolist(), strict=True):
            add_later(torch.mul(out[row, 0], 0.5, out=half), samples, self.factor, out[row, 0])

    def _samples(self, delay_ms: Tensor) -> Tensor:
        return (delay_ms * (self.rate() / 1000)).round().long()  # (B,)


class Comb(Augmentation):
    """A delay that feeds itself: y(t) = √(1 − feedback²) · x(t) + feedback · y(t − delay), a row of resonances.

    Every multiple of 1/delay is louder by up to 1/(1 − |feedback|), what lies between is weaker; the root keeps the
    energy of sounds of a broad band. Below 20 ms it is heard as a colour, "resonator" in Zölzer's table of
    delay-based effects (DAFX 2002, chapter 3), not as an echo. Both numbers are drawn evenly from their ranges; a
    negative feedback is louder halfway between those multiples. Repeats below −120 dB are left out.

    >>> wave = torch.zeros(1, 1, 10)
    >>> wave[0, 0, 0] = 1.0
    >>> Comb(p=1.0, low_ms=3.0, high_ms=3.0, low_feedback=0.6, high_feedback=0.6).at_rate(1000)(wave)[0, 0]
    tensor([0.8000, 0.0000, 0.0000, 0.4800, 0.0000, 0.0000, 0.2880, 0.0000, 0.0000, 0.1728])
    """

    form = "linear"

    def __init__(
        self,
        *,
        p: float = 0.3,
        low_ms: float = 2.0,
        high_ms: float = 20.0,
        low_feedback: float = 0.3,
        high_feedback: float = 0.7,
    ) -> None:
        super().__init__(p=p)
        self.low_ms = low_ms
        self.high_ms = high_ms
        self.low_feedback = low_feedback
        self.high_feedback = high_feedback
        self.check_range("low_ms", "high_ms", above=0.0)
        self.check_range("low_feedback", "high_feedback", above=-0.99)
        if high_feedback > 0.99:
            raise UserError(f"Comb: high_feedback={high_feedback} is above 0.99, so it would hardly ever fade")

    def at_rate(self, sample_rate: int) -> "Comb":
        if round(self.low_ms * sample_rate / 1000) < 1:
            raise UserError(f"Comb: low_ms={self.low_ms:g} is less than one sample at {sample_rate} Hz; give more")
        return super().at_rate(sample_rate)

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        check_longest(self, wave)
        return {
            "delay_ms": uniform(self.low_ms, self.high_ms, wave, generator),
            "feedback": uniform(self.low_feedback, self.high_feedback, wave, generator),
        }

    # 1 / (1 − g z⁻ᴰ) = (1 + g z⁻ᴰ) (1 + g² z⁻²ᴰ) (1 + g⁴ z⁻⁴ᴰ) …: after n of them 2ⁿ repeats are there

    def apply(self, wave: Tensor, *, delay_ms: Tensor, feedback: Tensor) -> Tensor:  # type: ignore[override]
        samples, factor = self._samples(delay_ms), feedback[:, None, None]
        wave = wave * (1 - factor.square()).sqrt()
        # bounds for all rows, that ask a GPU for nothing
        repeats, strongest = 1, max(abs(self.low_feedback), abs(self.high_feedback))
        shortest = round(self.low_ms * self.rate() / 1000)
        while repeats * shortest < wave.shape[-1] and strongest**repeats > SILENCE:
            wave = wave + factor * shifted(wave, samples)
            samples, factor, repeats = 2 * samples, factor.square(), 2 * repeats
        return wave

    def change(self, out: Tensor, rows: Tensor, params: dict[str, Tensor]) -> None:
        if out.device.type != "cpu" or out.requires_grad:
            super().change(out, rows, params)
            return
        spare = torch.empty(out.shape[-1])
        values = zip(self._samples(params["delay_ms"]).tolist(), params["feedback"].tolist(), strict=True)
        for row, (samples, feedback) in zip(rows.tolist(), values, strict=True):
            here, there = out[row, 0].mul_((1 - feedback**2) ** 0.5), spare
            repeats = 1
            while repeats * samples < len(here) and abs(factor := feedback**repeats) > SILENCE:
                here, there = add_later(here, repeats * samples, factor, there), here
                repeats *= 2
            if here is spare:
                there.copy_(here)

    def _samples(self, delay_ms: Tensor) -> Tensor:
        return (delay_ms * (self.rate() / 1000)).round().long()  # (B,)


def check_longest(effect: Delay | Comb, wave: Tensor) -> None:
    """One clear error where the wave is over before its echo comes."""
    longest = round(effect.high_ms * effect.rate() / 1000)
    if longest >= wave.shape[-1]:
        raise UserError(
            f"{type(effect).__name__}: high_ms={effect.high_ms:g} is {longest} samples at {effect.rate()} Hz, but "
            f"the wave has only {wave.shape[-1]}; take longer clips or shorter delays"
        )


def add_later(row: Tensor, samples: int, factor: float, out: Tensor) -> Tensor:
    """`row` plus `factor` times itself `samples` later, written into `out`, another tensor. Shape: (T,) → (T,)."""
    samples = min(samples, len(row))
    out[:samples] = row[:samples]
    torch.add(row[samples:], row[: len(row) - samples], alpha=factor, out=out[samples:])
    return out


def shifted(wave: Tensor, samples: Tensor) -> Tensor:
    """Every row later by its own number of samples, silence before it. Shape: (B, 1, T), (B,) → (B, 1, T)."""
    # slices are five times faster on the CPU; on a GPU they would wait for the delays to come to the host
    return shifted_by_slices(wave, samples) if wave.device.type == "cpu" else shifted_by_gather(wave, samples)


def shifted_by_slices(wave: Tensor, samples: Tensor) -> Tensor:
    """`shifted` on the CPU."""
    length = wave.shape[-1]
    counts = samples.clamp_max(length).tolist()
    return torch.stack([pad(row, (count, 0))[..., :length] for row, count in zip(wave, counts, strict=True)])


def shifted_by_gather(wave: Tensor, samples: Tensor) -> Tensor:
    """`shifted` without asking the host for any number."""
    source = torch.arange(wave.shape[-1], device=wave.device) - samples[:, None, None]  # (B, 1, T)
    return wave.gather(-1, source.clamp_min(0)) * (source >= 0)
