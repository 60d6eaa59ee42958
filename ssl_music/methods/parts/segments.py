"""Sequences of latents from an encoder that gives one vector per clip: a long clip cut into segments."""

import math

from torch import Tensor

from ssl_music.encoders import Encoder
from ssl_music.errors import UserError


def in_segments(wave: Tensor, segments: int) -> Tensor:
    """The segments of each clip in the order of time, clip after clip; a view where `wave` lies in one piece.

    Shape: wave (B, 1, S · T) → (B · S, 1, T).

    >>> import torch
    >>> in_segments(torch.arange(8.0).view(2, 1, 4), 2)[:, 0].tolist()
    [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]
    """
    if wave.dim() != 3 or wave.shape[1] != 1 or segments < 1 or wave.shape[2] % segments:
        raise UserError(
            f"in_segments: waves (B, 1, S · T) of S = {segments} equal segments are wanted; came {tuple(wave.shape)}"
        )
    return wave.reshape(len(wave) * segments, 1, wave.shape[2] // segments)


def in_clips(rows: Tensor, segments: int) -> Tensor:
    """What an encoder made of `in_segments`, as a sequence per clip.

    Shape: rows (B · S, D) → (B, S, D).

    >>> import torch
    >>> in_clips(torch.tensor([[0.0], [1.0], [2.0], [3.0]]), 2).tolist()
    [[[0.0], [1.0]], [[2.0], [3.0]]]
    """
    if rows.dim() != 2 or segments < 1 or len(rows) % segments:
        raise UserError(f"in_clips: rows (B · S, D) with S = {segments} are wanted; came {tuple(rows.shape)}")
    return rows.unflatten(0, (-1, segments))


def segment_samples(encoder: Encoder, segment_seconds: float | None) -> int:
    """Samples of one segment: the encoder's own clip, or so many seconds if it takes clips that short.

    >>> from ssl_music.encoders import SampleCNN
    >>> encoder = SampleCNN(width=2, depth=4, sample_rate=8000)
    >>> segment_samples(encoder, None), segment_samples(encoder, 0.5)
    (243, 4000)
    """
    if segment_seconds is None:
        return encoder.input_samples
    least, rate = encoder.minimum_samples, encoder.sample_rate
    samples = round(segment_seconds * rate) if math.isfinite(segment_seconds) else 0
    if samples < least:
        raise UserError(
            f"segment_seconds={segment_seconds} is {samples} samples at {rate} Hz; {type(encoder).__name__} wants at "
            f"least {least} ({least / rate:.2f} s): make segments longer, or leave segment_seconds out "
            f"({encoder.input_samples / rate:.2f} s)"
        )
    return samples
