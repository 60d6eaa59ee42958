"""The contract of every augmentation: `(B, 1, T) -> (B, 1, T)`, random for each example, on the wave's device.

Drawing is apart from applying: `draw` turns the one explicit generator into a few numbers for each row, `apply` is
a pure function of the wave and these numbers. They are drawn where the generator lives and then moved to the wave,
so one CPU generator gives the same views on CPU and GPU, and nothing waits for the GPU to say which rows were
chosen. (A CUDA generator works too and costs that wait.)
"""

import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import wraps
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn

from ssl_music.augment.convolve import convolved, filtered
from ssl_music.augment.fused import Drawn, check_finite, put, run
from ssl_music.errors import UserError

#: Parameters of more numbers than this are no description.
DESCRIBED = 32

Effect = TypeVar("Effect", bound="Augmentation")
#: The highest frequency that a filter is set to, as a part of the sample rate: towards half of it it rings for ever.
HIGHEST_TURNS = 0.49


class Augmentation(nn.Module, ABC):
    """An effect that changes each example with chance `p`, in its own way.

    Shape: wave (B, 1, T) float32 → (B, 1, T) float32, a new tensor; rows that are not chosen come out bit by bit
    as they went in.

    A subclass stores every constructor argument under its own name (keyword-only, `p` among them), and gives `draw`
    and what its `form` names:

    | form | what the effect is | what it gives |
    |---|---|---|
    | any | anything | `apply` |
    | linear | linear, time-invariant, causal, cheapest on the samples | `apply` |
    | multiplier | multiplies the row | `multiplier` |
    | response | a short filter in closed form | `response`, `tail_samples` |
    | impulse | a long impulse response | `impulse` |

    All but the first may change places with each other, and the engine (`fused`) runs them together.
    """

    form: ClassVar[Literal["any", "linear", "multiplier", "response", "impulse"]] = "any"
    #: (B, 1, T) becomes (B, 1, another T): stands first in a chain, and changes every row.
    changes_length: ClassVar[bool] = False
    #: Pairs of arguments, the ends of a range in Hz, that the sample rate limits: see `highest_hz`.
    ranges_hz: ClassVar[tuple[tuple[str, str], ...]] = ()
    #: Hz; never an argument of the constructor: the Chain says it, from the encoder.
    sample_rate: int | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Keeps `nn.Module.apply(function)` working beside ours: parents walk their modules by it, to initialise."""
        super().__init_subclass__(**kwargs)
        ours = cls.apply

        @wraps(ours)
        def apply(self: Augmentation, wave: Any, **params: Any) -> Any:
            return ours(self, wave, **params) if isinstance(wave, Tensor) else nn.Module.apply(self, wave)

        cls.apply = apply  # type: ignore[method-assign]

    def __init__(self, *, p: float) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise UserError(f"{type(self).__name__}: p={p} is no probability; give a number from 0 to 1")
        self.p = p

    @abstractmethod
    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        """The parameters of every row, (B, …) each; all randomness of the effect is here."""

    # `*_` lets subclasses name their parameters in front of a type checker
    def apply(self, wave: Tensor, *_: Any, **params: Any) -> Tensor:  # type: ignore[override]
        """`wave`, every row changed as its parameters say. No randomness."""
        if self.form == "multiplier":
            return (
                wave * torch.as_tensor(self.multiplier(**params), device=wave.device).expand(len(wave))[:, None, None]
            )
        if self.form == "response":
            return filtered(wave, lambda n_fft: self.response(n_fft, **params), self.tail_samples())
        if self.form == "impulse":
            return convolved(wave, self.impulse(**params))
        raise NotImplementedError(f"{type(self).__name__} of form {self.form!r} has no `apply`")

    def multiplier(self, *_: Any, **params: Any) -> Tensor | float:
        """What each row is multiplied by: (B,), or one number for all."""
        raise NotImplementedError(f"{type(self).__name__} has no `multiplier`")

    def response(self, n_fft: int, *_: Any, **params: Any) -> Tensor:
        """The frequency response on the grid of an rfft of even size. Shape: (B, n_fft // 2 + 1) complex."""
        raise NotImplementedError(f"{type(self).__name__} has no `response`")

    def tail_samples(self) -> int:
        """How long a sound goes on ringing at most, until it is 120 dB down: an FFT has to leave that room."""
        raise NotImplementedError(f"{type(self).__name__} has no `tail_samples`")

    def impulse(self, *_: Any, **params: Any) -> Tensor:
        """The impulse response of each row, as long as the longest. Shape: (B, L)."""
        raise NotImplementedError(f"{type(self).__name__} has no `impulse`")

    def forward(self, wave: Tensor, generator: torch.Generator | None = None) -> Tensor:
        name = type(self).__name__
        check_wave(wave, name)
        drawn = self.draw_rows(wave, generator)
        if self.changes_length:
            check_finite(wave, name, whole=wave)
            return run([], [], self.apply(wave, **drawn.params), name=name)
        return run([self], [drawn], wave, name=name)

    def draw_rows(self, wave: Tensor, generator: torch.Generator | None) -> Drawn:
        """Which rows are changed (each with chance `p`), and the parameters of all."""
        device = "cpu" if generator is None else generator.device
        chosen = (torch.rand(len(wave), generator=generator, device=device) < self.p).cpu()
        params = self.draw(wave, generator)
        return Drawn(chosen, {name: value.to(wave.device, non_blocking=True) for name, value in params.items()})

    def choices(self) -> dict[str, Sequence[str]]:
        """Of parameters that are a number for a choice: the names behind the numbers."""
        return {}

    def described(self, params: Mapping[str, Tensor]) -> dict[str, Any]:
        """The parameters of one row to read or to log: a number, a list of several, the name of a choice.

        Whole waves are left out.
        """
        choices = self.choices()
        return {
            name: choices[name][int(value)] if name in choices else value.tolist()
            for name, value in params.items()
            if value.numel() <= DESCRIBED
        }

    def change(self, out: Tensor, rows: Tensor, params: dict[str, Tensor]) -> None:
        """Applies the effect to the rows of `out` with these numbers, in place; `params` are those rows' own.

        `out` is the engine's own copy. A subclass replaces this where it can do without a second one.
        """
        put(out, rows, self.apply(out.index_select(0, rows.to(out.device)), **params))

    def at_rate(self: Effect, sample_rate: int) -> Effect:
        """Tells the effect the rate of the waves it will hear, in Hz; returns the effect itself."""
        if self.sample_rate not in (None, sample_rate):
            raise UserError(
                f"{self!r} already hears waves at {self.sample_rate} Hz; make another one for {sample_rate} Hz"
            )
        if self.sample_rate is None:
            for low_name, high_name in self.ranges_hz:
                self._check_reach(low_name, high_name, sample_rate)
        self.sample_rate = sample_rate
        return self

    def _check_reach(self, low_name: str, high_name: str, sample_rate: int) -> None:
        limit_hz = HIGHEST_TURNS * sample_rate
        for name in (low_name, high_name):
            if getattr(self, name) > limit_hz:
                what = (
                    f"{type(self).__name__}: {name}={getattr(self, name):g} Hz is above {limit_hz:g} Hz, "
                    f"{HIGHEST_TURNS} of the sample rate of {sample_rate} Hz"
                )
                if name == low_name:
                    raise UserError(f"{what}, and nothing of the range is left; lower it")
                warnings.warn(f"{what}; {limit_hz:g} Hz is used", UserWarning, stacklevel=3)

    def highest_hz(self, name: str) -> float:
        """The argument of this name, the upper end of one of `ranges_hz`, or the most that the sample rate allows.

        `at_rate` warns where that is less than what was asked for; the argument itself stays as it was given.
        """
        return min(getattr(self, name), HIGHEST_TURNS * self.rate())

    def rate(self) -> int:
        """The sample rate in Hz, or the error that nobody has said it."""
        if self.sample_rate is None:
            name = type(self).__name__
            raise UserError(
                f"{name} needs the sample rate: Chain([{name}(...)], sample_rate=encoder.sample_rate), "
                f"or {name}(...).at_rate(22050)"
            )
        return self.sample_rate

    def check_range(self, low_name: str, high_name: str, *, above: float = float("-inf")) -> None:
        """One clear error unless above ≤ low ≤ high for the two arguments of these names."""
        low, high = getattr(self, low_name), getattr(self, high_name)
        if not above <= low <= high < float("inf"):
            least = "" if above == float("-inf") else f"{above:g} <= "
            raise UserError(
                f"{type(self).__name__}: came {low_name}={low}, {high_name}={high}; "
                f"wanted {least}{low_name} <= {high_name}, both finite"
            )

    def __repr__(self) -> str:
        names = inspect.signature(type(self)).parameters
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"


def check_wave(wave: Tensor, name: str) -> None:
    """One clear error unless `wave` is (B, 1, T) float32."""
    if wave.dim() != 3 or wave.shape[1] != 1 or wave.shape[2] == 0:
        raise UserError(f"{name} wants waves of shape (B, 1, T); came {tuple(wave.shape)}")
    if wave.dtype != torch.float32:
        raise UserError(f"{name} wants float32 waves in [-1, 1]; came {wave.dtype}: convert them first")
