"""Effects one after another; neighbouring linear time-invariant ones share a single rfft and irfft.

Such effects commute, and so does cutting their output to T samples, since none of them looks ahead. So in a run of
them the cheap ones (a factor, an echo) act on the samples, and of the others the responses are multiplied. An FFT of
at least T + all their tails makes that a linear convolution: nothing wraps round to the beginning. Rows of one FFT
size go together, and only through effects that chose them.
"""

from collections.abc import Sequence
from functools import partial
from itertools import groupby

import torch
from torch import Tensor, nn

from ssl_music.augment.base import Augmentation, Drawn, check_wave
from ssl_music.augment.layers import change_rows, fast_size, pick
from ssl_music.errors import UserError


class Chain(nn.Module):
    """Augmentations in their order, each on the rows it chooses.

    Shape: wave (B, 1, T) float32 → (B, 1, T) float32, a new tensor.

    `sample_rate` is that of the encoder; only effects that count in Hz or in seconds need it.

    >>> from ssl_music.augment import Delay, Gain
    >>> chain = Chain([Gain(p=0.3, low_db=-20.0), Delay(p=0.5)], sample_rate=22050)
    >>> generator = torch.Generator().manual_seed(0)
    >>> first, second = chain.views(torch.randn(4, 1, 59049), 2, generator=generator)
    >>> first.shape, bool((first == second).all())
    (torch.Size([4, 1, 59049]), False)
    >>> chain
    Chain([
        Gain(p=0.3, low_db=-20.0, high_db=-1.0),
        Delay(p=0.5, low_ms=200.0, high_ms=450.0, step_ms=50.0, factor=0.5),
    ], sample_rate=22050)
    """

    def __init__(self, augmentations: Sequence[Augmentation], *, sample_rate: int | None = None) -> None:
        super().__init__()
        for effect in augmentations:
            if not isinstance(effect, Augmentation):
                raise UserError(f"a Chain wants Augmentation objects; came {effect!r} ({type(effect).__name__})")
            if sample_rate is not None:
                effect.at_rate(sample_rate)
        self.augmentations = nn.ModuleList(augmentations)
        self.sample_rate = sample_rate

    def forward(self, wave: Tensor, generator: torch.Generator | None = None) -> Tensor:
        check_wave(wave, "Chain")
        return self.apply_drawn(wave, self.draw(wave, generator))

    def views(self, wave: Tensor, n: int, generator: torch.Generator | None = None) -> list[Tensor]:
        """`n` versions of every row, drawn independently."""
        return [self(wave, generator) for _ in range(n)]

    def draw(self, wave: Tensor, generator: torch.Generator | None = None) -> list[Drawn]:
        """What each effect draws for this batch: all randomness of the chain, to keep or to look at."""
        return [effect.draw_rows(wave, generator) for effect in self._effects()]

    def apply_drawn(self, wave: Tensor, drawn: Sequence[Drawn]) -> Tensor:
        """`wave` changed as `drawn` says; no randomness."""
        with torch.autocast(wave.device.type, enabled=False):
            out = wave.clone(memory_format=torch.contiguous_format)
            steps = zip(self._effects(), drawn, strict=True)
            for linear, run in groupby(steps, key=lambda step: step[0].linear):
                fused = []
                for effect, its in run:
                    if linear and effect.spectral:
                        fused.append((effect, its))
                    else:
                        effect.change(out, its)
                _change_fused(out, fused)
            return out

    def _effects(self) -> list[Augmentation]:
        return list(self.augmentations)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        effects = "".join(f"    {effect!r},\n" for effect in self._effects())
        return f"Chain([\n{effects}], sample_rate={self.sample_rate})"


def _change_fused(out: Tensor, run: list[tuple[Augmentation, Drawn]]) -> None:
    """Applies a run of spectral effects to the rows of `out` that at least one of them chose, in place."""
    tails = torch.zeros(len(out), dtype=torch.int64)
    touched = torch.zeros(len(out), dtype=torch.bool)
    for effect, drawn in run:
        tails += drawn.chosen * effect.tail_samples()
        touched |= drawn.chosen
    rows_of: dict[int, list[int]] = {}
    for row in touched.nonzero().flatten().tolist():
        rows_of.setdefault(fast_size(out.shape[-1] + int(tails[row])), []).append(row)
    for n_fft, rows in rows_of.items():
        change_rows(out, torch.tensor(rows), partial(_through, run=run, n_fft=n_fft))


def _through(wave: Tensor, rows: Tensor, *, run: list[tuple[Augmentation, Drawn]], n_fft: int) -> Tensor:
    """`wave`, which are the rows `rows` of the batch, through the effects that chose them. Shape: (R, 1, T)."""
    spectrum = torch.fft.rfft(wave[:, 0], n=n_fft)  # (R, F)
    for effect, drawn in run:
        here = drawn.chosen[rows].nonzero().flatten()
        if len(here) == 0:
            continue
        response = effect.response(n_fft, **pick(drawn.params, rows[here]))
        if len(here) == len(rows):
            spectrum *= response
        else:
            index = here.to(spectrum.device)
            spectrum.index_copy_(0, index, spectrum.index_select(0, index) * response)
    return torch.fft.irfft(spectrum, n=n_fft)[:, None, : wave.shape[-1]]
