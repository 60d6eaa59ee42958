"""What embedding and tagging have in common: a network made ready, its clips' length and distance checked."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ssl_music.embed.stream import Heard, Source, choose_device, hear
from ssl_music.encoders import Encoder
from ssl_music.encoders.folding import folded
from ssl_music.errors import UserError


def outputs(
    encoder: Encoder,
    network: Any,
    answer: Callable[[Any, Tensor], Tensor],
    sources: Sequence[Source],
    *,
    hop_samples: int,
    batch_size: int,
    device: str,
    window_samples: int | None = None,
) -> Iterator[Heard]:
    """`hear` of what `answer` makes of the network, on the device of that name and with batch norms folded in.

    Windows are as long as the encoder's clips where `window_samples` does not say otherwise; a length that the
    network cannot take is told before any file is read.
    """
    if batch_size < 1:
        raise UserError(f"batch_size {batch_size}: at least 1 is wanted")
    # what torch does not run knows by itself where it can run, and where it wants its waves
    place = getattr(network, "choose_device", choose_device)(device)
    fast = folded(network.to(place).eval())

    def answers(wave: Tensor) -> Tensor:
        return answer(fast, wave.to(place))

    if window_samples not in (None, encoder.input_samples):
        _try(encoder, answers, window_samples)
    return hear(
        sources,
        answers,
        sample_rate=encoder.sample_rate,
        input_samples=window_samples or encoder.input_samples,
        hop_samples=hop_samples,
        batch_size=batch_size,
        device=place,
    )


def hop_of(window_samples: int, hop_seconds: float | None, sample_rate: int) -> int:
    """The distance of windows in samples; without one they lie end to end.

    >>> hop_of(59049, None, 22050), hop_of(59049, 1.5, 22050)
    (59049, 33075)
    """
    if hop_seconds is None:
        return window_samples
    if not (math.isfinite(hop_seconds) and hop_seconds * sample_rate >= 0.5):
        raise UserError(f"hop_seconds {hop_seconds}: a distance of at least one sample is wanted, such as 1.5")
    return max(1, round(hop_seconds * sample_rate))


def window_of(encoder: Encoder, window_seconds: float | None) -> int:
    """The length of windows in samples: of the encoder's clips, or as many seconds as asked for.

    >>> from ssl_music.encoders import LogMelStatistics
    >>> window_of(LogMelStatistics(), None), window_of(LogMelStatistics(), 1.0)
    (59049, 22050)
    """
    if window_seconds is None:
        return encoder.input_samples
    if not (math.isfinite(window_seconds) and window_seconds > 0):
        raise UserError(f"window_seconds {window_seconds}: a length above zero is wanted, such as 3")
    samples = round(window_seconds * encoder.sample_rate)
    if samples < encoder.minimum_samples:
        shortest, usual = (count / encoder.sample_rate for count in (encoder.minimum_samples, encoder.input_samples))
        raise UserError(
            f"window_seconds {window_seconds:g}: {type(encoder).__name__} wants at least {shortest:.2f} s, and was "
            f"trained on {usual:.2f} s; give a longer window, or none for {usual:.2f} s"
        )
    return samples


def _try(encoder: Encoder, answers: Callable[[Tensor], Tensor], window_samples: int) -> None:
    """One window of silence through the network, whose author need not have thought of other lengths."""
    try:
        with torch.inference_mode():
            answers(torch.zeros(1, 1, window_samples))
    except UserError:
        raise
    except Exception as error:  # an encoder from outside raises what it likes
        seconds, usual = (count / encoder.sample_rate for count in (window_samples, encoder.input_samples))
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"window_seconds {seconds:g}: {type(encoder).__name__} takes no clips of {window_samples} samples "
            f"({reason}); leave window_seconds out for the {usual:.2f} s that it was trained on"
        ) from error
