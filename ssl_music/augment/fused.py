"""Runs drawn effects over a batch: a few rows with the same effects at a time, linear effects together.

Linear time-invariant effects commute, and so does cutting their output to T samples, since none of them looks ahead.
So they wait until a row meets an effect that is not linear, or the end: then factors are multiplied into one, echoes
act on the samples, and the filters' responses are multiplied and cost, with one long impulse response, a single
transform there and back. A row that skips the effect in between keeps what waits for it, and so pays once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ssl_music.augment.convolve import convolved, filtered
from ssl_music.augment.layers import pick
from ssl_music.errors import UserError

if TYPE_CHECKING:
    from ssl_music.augment.base import Augmentation

#: Rows that go together through all effects. CPU: few enough to stay in the cache. GPU: bounded memory.
ROWS_PER_PASS = {"cpu": 16, "cuda": 64}
#: and of these through one transform, whose frames take three times the memory of the rows
ROWS_PER_TRANSFORM = {"cpu": 8, "cuda": 64}
#: Rows are sorted by the effects that chose them, the dearest first: whole passes then need no copies of some rows.
DEAREST_FIRST = ("any", "impulse", "response", "linear", "multiplier")


class Drawn(NamedTuple):
    """What one effect drew for a batch."""

    chosen: Tensor  #: (B,) bool on the CPU: the rows that are changed
    params: dict[str, Tensor]  #: (B, …) on the wave's device, for every row whether chosen or not

    def of(self, rows: Tensor) -> Drawn:
        """What was drawn for the rows with these numbers (on the CPU)."""
        return Drawn(self.chosen[rows], pick(self.params, rows))


class Step(NamedTuple):
    """An effect, the rows that it changes ((R,) bool) and what it drew for all of them."""

    effect: Augmentation
    chosen: Tensor
    params: Mapping[str, Tensor]

    def of(self, rows: Tensor) -> dict[str, Tensor]:
        """The parameters of the rows with these numbers."""
        if len(rows) == len(self.chosen):
            return dict(self.params)
        return pick(self.params, rows)


def run(effects: Sequence[Augmentation], drawn: Sequence[Drawn], wave: Tensor, *, name: str) -> Tensor:
    """A new tensor: `wave` through `effects` as `drawn` says, in float32 whatever autocast would do."""
    out = torch.empty_like(wave, memory_format=torch.contiguous_format)
    with torch.autocast(wave.device.type, enabled=False):
        for rows in _alike(effects, drawn, len(wave)).split(ROWS_PER_PASS.get(wave.device.type, 64)):
            index = rows.to(wave.device)
            part = wave.index_select(0, index)
            check_finite(part, name, whole=wave)
            _run_rows([Step(effect, *its.of(rows)) for effect, its in zip(effects, drawn, strict=True)], part)
            out.index_copy_(0, index, part)
    return out


def _alike(effects: Sequence[Augmentation], drawn: Sequence[Drawn], count: int) -> Tensor:
    """The numbers of all rows, those with the same effects beside each other. Shape: (B,)."""
    key = torch.zeros(count, dtype=torch.int64)
    dear = sorted(zip(effects, drawn, strict=True), key=lambda pair: DEAREST_FIRST.index(pair[0].form))
    for _, its in dear[:62]:  # bits of the key; what comes later is cheap
        key = 2 * key + its.chosen
    return key.argsort(stable=True)


def check_finite(part: Tensor, name: str, *, whole: Tensor) -> None:
    """One clear error if some rows of `part` hold NaN or infinity; it names all such rows of `whole`.

    On the CPU only: a GPU would have to finish all its earlier work before the answer comes.
    """
    # a sum meets every NaN in 0.003 ms a clip; isfinite().all() takes 0.12 ms
    if part.device.type == "cpu" and not torch.isfinite(part.detach().sum()):
        broken = (~torch.isfinite(whole.detach())).flatten(1).any(1).nonzero().flatten().tolist()
        if broken:
            raise UserError(f"{name}: NaN or infinite samples in row {', '.join(map(str, broken))} of {len(whole)}")


def _run_rows(steps: Sequence[Step], part: Tensor) -> None:
    waiting: list[Step] = []
    for step in steps:
        if not step.chosen.any():
            continue
        if step.effect.form != "any":
            waiting.append(step)
            continue
        waiting = _change_linear(waiting, part, now=step.chosen)
        _change(step, part)
    _change_linear(waiting, part, now=torch.ones(len(part), dtype=torch.bool))


def _change(step: Step, part: Tensor) -> None:
    rows = step.chosen.nonzero().flatten()
    step.effect.change(part, rows, step.of(rows))


def _change_linear(waiting: Sequence[Step], part: Tensor, *, now: Tensor) -> list[Step]:
    """Applies the waiting effects to the rows of `part` that cannot wait longer; what goes on waiting."""
    later = [step._replace(chosen=step.chosen & ~now) for step in waiting]
    steps = [step._replace(chosen=step.chosen & now) for step in waiting]
    steps = [step for step in steps if step.chosen.any()]
    factors = [step for step in steps if step.effect.form == "multiplier"]
    if factors:

        def factor(step: Step, rows: Tensor) -> Tensor:
            return torch.as_tensor(step.effect.multiplier(**step.of(rows)), device=part.device).expand(len(rows))

        part.mul_(_product(factors, torch.arange(len(part)), factor)[:, None, None])
    for step in steps:
        if step.effect.form == "linear":
            _change(step, part)
    filters = [step for step in steps if step.effect.form == "response"]
    unfiltered = torch.stack([step.chosen for step in filters]).any(0) if filters else torch.zeros_like(now)
    for room in steps:
        if room.effect.form == "impulse":
            for chosen, its in ((room.chosen & unfiltered, filters), (room.chosen & ~unfiltered, [])):
                _convolve(part, chosen.nonzero().flatten(), its, room)
            unfiltered = unfiltered & ~room.chosen
    _convolve(part, unfiltered.nonzero().flatten(), filters, None)
    return [step for step in later if step.chosen.any()]


def _convolve(part: Tensor, rows: Tensor, filters: Sequence[Step], room: Step | None) -> None:
    """The rows with these numbers, in place, through those filters that chose them, and through the room."""
    if len(rows) == 0:
        return
    most = ROWS_PER_TRANSFORM.get(part.device.type, 64)
    if len(rows) > most:
        for some in rows.split(most):
            _convolve(part, some, filters, room)
        return
    wave = part if len(rows) == len(part) else part.index_select(0, rows.to(part.device))

    def respond(n_fft: int) -> Tensor:
        return _product(filters, rows, lambda step, some: step.effect.response(n_fft, **step.of(some)))

    ringing = sum(step.effect.tail_samples() for step in filters)
    if room is None:
        put(part, rows, filtered(wave, respond, ringing))
    else:
        put(part, rows, convolved(wave, room.effect.impulse(**room.of(rows)), respond if filters else None, ringing))


def _product(steps: Sequence[Step], rows: Tensor, values: Callable[[Step, Tensor], Tensor]) -> Tensor:
    """For each of `rows` the product of the values of those steps that chose it. Shape: (R, …)."""
    product: Tensor | None = None
    for step in steps:
        here = step.chosen[rows].nonzero().flatten()
        if len(here) == 0:
            continue
        factor = values(step, rows[here])
        if len(here) < len(rows):
            ones = factor.new_ones(len(rows), *factor.shape[1:])
            factor = ones.index_copy(0, here.to(ones.device), factor)
        product = factor if product is None else product * factor
    assert product is not None, "every row was chosen by a step"
    return product


def put(out: Tensor, rows: Tensor, changed: Tensor) -> None:
    """Writes `changed` over the rows of `out` with these numbers (on the CPU).

    Only here and in `run` is a tensor written into: it is the engine's fresh copy, never a user's wave.
    """
    if len(rows) == len(out):
        out.copy_(changed)
    else:
        out.index_copy_(0, rows.to(out.device), changed)
