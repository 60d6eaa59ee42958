"""Pitch shift that keeps duration and tempo: pieces of the wave, read faster or slower where they stand."""

import math

import torch
from torch import Tensor

from ssl_music.augment.base import Augmentation
from ssl_music.augment.layers import uniform
from ssl_music.augment.overlap import align, check_samples, padded, sizes
from ssl_music.augment.reading import read
from ssl_music.errors import UserError

LARGEST_SEMITONES = 12.0


class PitchShift(Augmentation):
    """Transposes by a number of semitones drawn evenly from `low_semitones` to `high_semitones`; the duration stays.

    WSOLA (see `overlap`), but its pieces are read at the new pitch at once: no wave is resampled as a whole. Timbre
    moves along with the pitch, as in sox. Not only whole semitones are drawn (torchaudio-augmentations: whole ones
    from −7 to 7): music is not always tuned to 440 Hz either. CLMR uses p = 0.6, key detection is better without.

    Log-mel distance to ideal transpositions by −7, −3, 1, 4, 7 semitones of the tests' music: 1.7 dB (sox 1.9,
    unshifted 12.1); tones are in tune to 0.2 cents. Downwards a jump can leave out a click, upwards repeat it, as in
    sox. Places where pieces begin count as constants for gradients.

    Sound stands where it stood but for the length of a piece: within 7 ms plus |1 − 2^(semitones/12)| · 31 ms.

    >>> wave = torch.sin(2 * torch.pi * 440 / 22050 * torch.arange(22050.0)).view(1, 1, -1)
    >>> octave = PitchShift(p=1.0, low_semitones=12.0, high_semitones=12.0).at_rate(22050)(wave)
    >>> octave.shape, int(torch.fft.rfft(octave).abs().argmax())  # the bins are 1 Hz apart
    (torch.Size([1, 1, 22050]), 880)
    """

    def __init__(self, *, p: float = 0.6, low_semitones: float = -7.0, high_semitones: float = 7.0) -> None:
        super().__init__(p=p)
        self.low_semitones = low_semitones
        self.high_semitones = high_semitones
        self.check_range("low_semitones", "high_semitones", above=-LARGEST_SEMITONES)
        if high_semitones > LARGEST_SEMITONES:
            raise UserError(
                f"PitchShift: high_semitones={high_semitones} is above {LARGEST_SEMITONES:g}; an octave is the most"
            )

    def draw(self, wave: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        return {"semitones": uniform(self.low_semitones, self.high_semitones, wave, generator)}

    def apply(self, wave: Tensor, *, semitones: Tensor) -> Tensor:  # type: ignore[override]
        size, samples, fastest = sizes(self.rate()), wave.shape[-1], 2 ** (max(0.0, self.high_semitones) / 12)
        shortest = math.ceil(fastest * size.length) + 2 * size.reach
        check_samples(self, samples, shortest)
        rate = torch.exp2(semitones / 12).clamp_max(fastest)
        begin = torch.arange(size.pieces(samples), device=wave.device) * size.hop - size.fade  # in the output, (K,)
        used = (samples - begin).clamp_max(size.length)
        # The middle of a piece stands where it belongs. Nothing is read from beyond the ends of the wave, but for
        # what is cut off; all pieces but the first must have room to be moved.
        room = torch.full_like(begin, size.reach)
        room[0] = 0
        near = begin + (1 - rate[:, None]) * (size.length / 2)
        near = torch.maximum(near, room - rate[:, None] * size.fade)
        near = torch.minimum(near, samples - room - rate[:, None] * used)  # (B, K)
        source, before = padded(wave, size, fastest)
        start = align(source, (near.round() + before).int(), rate * size.hop, size)
        return read(source, start, rate, size, fastest)[:, None, :samples]
