"""Does an exported file compute what torch computes? Noise, music and silence, several batches and lengths."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ssl_music import audio
from ssl_music.catalogs.synthesis.render import render
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.export.stft import exact_stft

#: of the largest output: float32 has 6e-8, a deep network keeps about 1e-6 of it in another order of summation
TOLERANCE = 1e-4
#: more than two clips, so that pools and means over what remains of time have more than one step
LONGER_BY = 777
NOISE, MUSIC, SILENCE = "noise", "music", "silence"


class Trial(NamedTuple):
    """One input and how far the file's outputs were from torch's, as a share of the largest output.

    Where that is more than allowed, `inexact` tells why, if spectra are the reason: how far from the outputs of exact
    ones (`exact_stft`) torch was, and how far the file. It excuses nothing.

    Silence has to come out finite, and is not compared further: a norm over one example divides what is left of it
    after its mean, rounding and little else, by √ε. In torch itself, moving the weights of a small SampleCNN with
    group norm by one rounding moves its answer to silence by .28 of its size.
    """

    input: str
    batch: int
    samples: int
    difference: float
    inexact: tuple[float, float] | None = None

    @property
    def passed(self) -> bool:
        return self.difference <= (float("inf") if self.input == SILENCE else TOLERANCE)


def trials(
    network: nn.Module,
    exported: Callable[[Tensor], tuple[Tensor, ...]],
    encoder: Encoder,
    *,
    music: Path | None,
) -> list[Trial]:
    """Gives both the same waves. Each returns a tuple of outputs; `encoder` says which lengths there can be.

    A difference counts as a share of the largest value that torch gives for any of the inputs, each output for
    itself: a decibel of a hundred is not a probability of one.
    """
    waves = _waves(encoder, music)
    with torch.inference_mode():
        wanted = [network(wave) for _, wave in waves]
        for (name, wave), outputs in zip(waves, wanted, strict=True):
            if not all(output.isfinite().all() for output in outputs):
                raise UserError(f"torch itself gives no finite numbers for {name} {tuple(wave.shape)}; not exported")
        scales = [max(float(output.abs().max()) for output in same) for same in zip(*wanted, strict=True)]
        return [
            _trial(name, wave, network, outputs, exported(wave), scales)
            for (name, wave), outputs in zip(waves, wanted, strict=True)
        ]


def _trial(  # noqa: PLR0917  # names and waves, then what came of them
    name: str,
    wave: Tensor,
    network: nn.Module,
    wanted: tuple[Tensor, ...],
    came: tuple[Tensor, ...],
    scales: list[float],
) -> Trial:
    difference, inexact = _difference(wanted, came, scales), None
    if difference > TOLERANCE:
        with exact_stft():
            exact = network(wave)
        inexact = (_difference(exact, wanted, scales), _difference(exact, came, scales))
    return Trial(name, wave.shape[0], wave.shape[2], difference, inexact)


def _difference(wanted: tuple[Tensor, ...], came: tuple[Tensor, ...], scales: list[float]) -> float:
    shares = []
    for one, other, scale in zip(wanted, came, scales, strict=True):
        if one.shape != other.shape:
            raise UserError(f"the file gives the shape {tuple(other.shape)}, torch {tuple(one.shape)}; not exported")
        shares.append(float((one - other).abs().max()) / (scale or 1.0))
    return float(np.max(shares))  # NaN where one of them is


def _waves(encoder: Encoder, music: Path | None) -> list[tuple[str, Tensor]]:
    """Names and waves (B, 1, T)."""
    least, usual = encoder.minimum_samples, encoder.input_samples
    longer = 2 * usual + LONGER_BY
    generator = torch.Generator().manual_seed(0)
    song = _song(encoder.sample_rate, longer, music)

    def noise(batch: int, samples: int) -> Tensor:
        return 0.1 * torch.randn(batch, 1, samples, generator=generator)

    three = torch.stack([song[:usual], song[longer - usual :], 0.1 * song[usual : 2 * usual]]).unsqueeze(1)
    return [
        (NOISE, noise(1, least)),
        (NOISE, noise(3, usual)),
        (MUSIC, three),
        (MUSIC, song[:longer].view(1, 1, longer)),
        (SILENCE, torch.zeros(1, 1, usual)),
    ]


def _song(sample_rate: int, samples: int, music: Path | None) -> Tensor:
    """The middle of the file `music`, or a rendered piece, looped where it is shorter: (samples,)."""
    if music is None:
        # at another rate it is heard faster or slower, and is music all the same
        wave = render(0, 3, 12.0)
    else:
        info = audio.probe(music)
        start = max(0.0, (info.seconds - samples / sample_rate) / 2)
        wave = audio.read(music, sample_rate, start_seconds=start, seconds=samples / sample_rate)
        if not wave.any():
            raise UserError(f"{music}: silent where it was read, from {start:.1f} s on; give another song")
    return torch.from_numpy(np.resize(wave, samples).astype(np.float32))
