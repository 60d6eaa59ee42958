"""The contract of every encoder: `(B, 1, T) -> (B, embedding_dim)`. An encoder never knows tags."""

import inspect
from abc import ABC
from typing import Any

import torch
from torch import Tensor, nn

from ssl_music.errors import UserError


class Encoder(nn.Module, ABC):
    """A network from waveforms to embeddings.

    Shape: wave (B, 1, T) float32 in [-1, 1] at `sample_rate` → (B, embedding_dim).

    A subclass stores every constructor argument under its own name, so that `spec` can read it back, says in its
    docstring which tensor of its paper the embedding is, and sets the three facts below.
    """

    sample_rate: int  #: Hz
    input_samples: int  #: T that the weights were trained for
    embedding_dim: int  #: D

    def spec(self) -> dict[str, Any]:
        """The constructor's arguments, read back from the attributes of the same names."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def check(self, wave: Tensor, *, minimum: int = 1) -> Tensor:
        """`wave` itself if it is (B, 1, T) with T of at least `minimum` samples; one clear error otherwise."""
        name = type(self).__name__
        if wave.dim() != 3 or wave.shape[1] != 1:
            raise UserError(f"{name} wants waves of shape (B, 1, T); came {tuple(wave.shape)}")
        if wave.shape[2] < minimum:
            seconds = minimum / self.sample_rate
            raise UserError(
                f"{name} wants at least {minimum} samples ({seconds:.2f} s at {self.sample_rate} Hz); "
                f"came {wave.shape[2]}: pad or loop the clip"
            )
        return wave


@torch.no_grad()
def parameter_count(module: nn.Module) -> int:
    """How many numbers of `module` are learnt.

    >>> parameter_count(nn.Linear(3, 2))
    8
    """
    return sum(parameter.numel() for parameter in module.parameters())
