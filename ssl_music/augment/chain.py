"""Effects one after another; how they run together is `fused`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ssl_music.augment.base import Augmentation, check_wave
from ssl_music.augment.fused import Drawn, check_finite, run
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
        for place, effect in enumerate(augmentations):
            if effect.changes_length and (place > 0 or effect.p < 1):
                raise UserError(f"{effect!r} changes the length: wanted as the first of a Chain, with p=1")
        self.augmentations = nn.ModuleList(augmentations)
        self.sample_rate = sample_rate

    def forward(self, wave: Tensor, generator: torch.Generator | None = None) -> Tensor:
        check_wave(wave, "Chain")  # before anything is drawn for it
        return self.apply_drawn(wave, self.draw(wave, generator))

    def views(self, wave: Tensor, n: int, generator: torch.Generator | None = None) -> list[Tensor]:
        """`n` versions of every row, drawn independently (the field's ComposeMany)."""
        return [self(wave, generator) for _ in range(n)]

    def draw(self, wave: Tensor, generator: torch.Generator | None = None) -> list[Drawn]:
        """What each effect draws for this batch: all randomness of the chain, to keep or to look at."""
        drawn = []
        for effect in self._effects():
            drawn.append(effect.draw_rows(wave, generator))
            if effect.changes_length:  # what follows has to know the length that it will hear
                wave = effect.apply(wave, **drawn[-1].params)
        return drawn

    def apply_drawn(self, wave: Tensor, drawn: Sequence[Drawn]) -> Tensor:
        """`wave` changed as `drawn` says; no randomness."""
        check_wave(wave, "Chain")
        effects = self._effects()
        counts = sorted({len(its.chosen) for its in drawn} - {len(wave)})
        if len(drawn) != len(effects) or counts:
            raise UserError(
                f"Chain of {len(effects)} effects on {len(wave)} rows: came what {len(drawn)} effects drew"
                f"{f' for {counts[0]} rows' if counts else ''}; draw for this wave with this chain"
            )
        if effects and effects[0].changes_length:
            check_finite(wave, "Chain", whole=wave)
            wave = effects[0].apply(wave, **drawn[0].params)
            effects, drawn = effects[1:], drawn[1:]
        return run(effects, drawn, wave, name="Chain")

    def described(self, drawn: Sequence[Drawn], row: int) -> list[tuple[str, dict[str, Any]]]:
        """What happens to one row, to read or to log: names of the effects that chose it, and what they drew.

        Whole waves (of `Mix`) are left out.

        >>> from ssl_music.augment import Gain, PolarityInversion
        >>> chain = Chain([PolarityInversion(p=0.0), Gain(p=1.0, low_db=-6.0, high_db=-6.0)])
        >>> chain.described(chain.draw(torch.zeros(2, 1, 100)), row=1)
        [('Gain', {'gain_db': -6.0})]
        """
        return [
            (type(effect).__name__, effect.described({name: value[row] for name, value in its.params.items()}))
            for effect, its in zip(self._effects(), drawn, strict=True)
            if its.chosen[row]
        ]

    def _effects(self) -> list[Augmentation]:
        return list(self.augmentations)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        effects = "".join(f"    {effect!r},\n" for effect in self._effects())
        return f"Chain([\n{effects}], sample_rate={self.sample_rate})"
