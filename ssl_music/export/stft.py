"""`torch.stft` as one matrix product, for graphs that other programs run; and in float64, to judge them by.

ONNX has an operator STFT, but ONNX Runtime 1.31 computes it 34 dB beside torch where n_fft is no power of two
(Bluestein's algorithm in float32), takes 6 to 30 times as long as torch, and knows it on the CPU only; others do not
know it at all. So while a graph is captured inside `matrix_stft()`, every `torch.stft` is written as frames times a
matrix of cosines and sines, a constant of 4 · n_fft · (n_fft + 2) bytes in the file: 1.1 MB for 512, 4.2 for 1024.
A clip of 59,049 samples takes 1.5 ms on one core at n_fft 512, hop 256, and 3 ms at 1024, 512; torch .45 and .5.

Its rounding is not that of an FFT, and where a spectrum is empty, as lossy codecs leave it, a logarithm shows
nothing but rounding. Of 182 embeddings (13 networks, 14 songs) 7 differed from torch's by more than 1e-4 of their
size, 2.6e-4 at most. Beside those from float64 spectra torch's were up to 2.5e-4 off, the product's up to 9e-5: in
all 7 it was the more exact one. `exact_stft()` lets `check` tell that.
"""

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ssl_music.errors import UserError


class _InsteadOfStft(TorchFunctionMode):
    """Inside this context `torch.stft` is another function; whichever module calls it, nothing of it is changed."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def __torch_function__(
        self, function: Callable, types: Iterable, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return (self.function if function is torch.stft else function)(*args, **(kwargs or {}))


def matrix_stft() -> AbstractContextManager:
    """A context in which `torch.stft` is `stft`.

    >>> wave, window = torch.randn(2, 1000), torch.hann_window(256)
    >>> exact = torch.stft(wave, 256, 100, window=window, return_complex=True)
    >>> with matrix_stft():
    ...     same = torch.stft(wave, 256, 100, window=window, return_complex=True)
    >>> bool((same - exact).abs().max() < 1e-4)
    True
    """
    return _InsteadOfStft(stft)


def exact_stft() -> AbstractContextManager:
    """A context in which `torch.stft` computes in float64; its result is rounded to what it was."""

    def computed(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        kwargs = {name: value.double() if name == "window" else value for name, value in kwargs.items()}
        return torch.stft(input.double(), *args, **kwargs).to(input.dtype.to_complex())

    return _InsteadOfStft(computed)


def stft(  # noqa: PLR0917  # the arguments of torch.stft, in its order
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Tensor:
    """What `torch.stft` gives for real waves. Shape: (B, T) → complex (B, n_fft // 2 + 1, F)."""
    if input.dim() != 2 or onesided is False or not return_complex or align_to_window:
        raise UserError(
            "an encoder's torch.stft can be exported for waves (B, T) with return_complex=True and one side; came "
            f"{input.dim()} dimensions, onesided={onesided}, return_complex={return_complex}, {align_to_window=}"
        )
    hop_length = n_fft // 4 if hop_length is None else hop_length
    window = input.new_ones(win_length or n_fft) if window is None else window
    before = (n_fft - window.shape[0]) // 2
    window = F.pad(window, (before, n_fft - window.shape[0] - before))
    if center:
        input = F.pad(input.unsqueeze(1), (n_fft // 2, n_fft // 2), mode=pad_mode).squeeze(1)
    basis = window.unsqueeze(1) * _basis(n_fft)  # (n_fft, 2 · bins), folded into one constant
    product = (_frames(input, n_fft, hop_length) @ basis).transpose(1, 2)  # (B, 2 · bins, F)
    product = product * n_fft**-0.5 if normalized else product
    bins = n_fft // 2 + 1
    return torch.complex(product[:, :bins], product[:, bins:])


def _frames(wave: Tensor, size: int, hop: int) -> Tensor:
    """Every frame of `size` samples, `hop` apart, gathered in blocks that frames share: (B, T) → (B, F, size)."""
    batch, samples = wave.shape
    block = math.gcd(size, hop)
    count = (samples - size) // hop + 1
    blocks = wave[:, : samples // block * block].reshape(batch, samples // block, block)
    places = torch.arange(count).unsqueeze(1) * (hop // block) + torch.arange(size // block)
    return blocks.index_select(1, places.flatten()).reshape(batch, count, size)


def _basis(n_fft: int) -> Tensor:
    """Cosines, then minus sines: (n_fft, 2 · bins). By numpy, so that a traced graph holds the numbers."""
    phase = 2 * np.pi / n_fft * (np.outer(np.arange(n_fft), np.arange(n_fft // 2 + 1)) % n_fft)
    return torch.from_numpy(np.concatenate([np.cos(phase), -np.sin(phase)], axis=1).astype(np.float32))
