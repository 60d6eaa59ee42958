"""The contract of every encoder: `(B, 1, T) -> (B, embedding_dim)`. An encoder never knows tags."""

import hashlib
import inspect
import json
from abc import ABC
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ssl_music.errors import UserError


class Encoder(nn.Module, ABC):
    """A network from waveforms to embeddings.

    Shape: wave (B, 1, T) float32 in [-1, 1] at `sample_rate` → (B, embedding_dim).

    A subclass stores every constructor argument under its own name, so that `spec` can read it back, says in its
    docstring which tensor of its paper the embedding is, sets the facts below, and begins its `forward` with
    `check`. A clip longer than `input_samples` still gives one vector: encoders pool over the remaining time.
    """

    sample_rate: int  #: Hz
    input_samples: int  #: T that the weights were trained for
    embedding_dim: int  #: D
    minimum_samples: int = 1  #: the shortest T that `forward` takes
    #: arguments that the class gained after files had been written: while they stand at their defaults, they are no
    #: part of facts and digest, so that those files and the vectors made with them stay what they are
    later_arguments: ClassVar[frozenset[str]] = frozenset()

    def spec(self) -> dict[str, Any]:
        """The constructor's arguments, read back from the attributes of the same names."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def facts(self) -> dict[str, Any]:
        """What rebuilds this encoder but for its weights: class path and spec, as they come back from a file."""
        parameters = inspect.signature(type(self)).parameters
        spec = {
            name: value
            for name, value in self.spec().items()
            if name not in self.later_arguments or value != parameters[name].default
        }
        # through JSON, so that a tuple in memory equals the list in a file
        spec = json.loads(json.dumps(spec))
        return {"class_path": f"{type(self).__module__}.{type(self).__qualname__}", "spec": spec}

    def digest(self) -> str:
        """16 hex digits over class path, spec and every weight: which encoder made a vector."""
        total = hashlib.sha256(json.dumps(self.facts(), sort_keys=True).encode())
        for name, tensor in sorted(self.state_dict().items()):
            total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return total.hexdigest()[:16]

    def check(self, wave: Tensor) -> Tensor:
        """`wave` itself if it is float (B, 1, T) with T of at least `minimum_samples`; one clear error otherwise."""
        name = type(self).__name__
        if wave.dim() != 3 or wave.shape[1] != 1:
            hints = {
                1: ": one wave is wave[None, None]",
                2: ": mono waves are wave[:, None]",
                3: ": channels are mixed by wave.mean(1, keepdim=True)",
            }
            hint = hints.get(wave.dim(), "")
            raise UserError(f"{name} wants waves of shape (B, 1, T); came {tuple(wave.shape)}{hint}")
        if not wave.is_floating_point():
            raise UserError(f"{name} wants float waves in [-1, 1]; came {wave.dtype}: divide int16 samples by 32768")
        if wave.shape[2] < self.minimum_samples:
            seconds = self.minimum_samples / self.sample_rate
            raise UserError(
                f"{name} wants at least {self.minimum_samples} samples ({seconds:.2f} s at {self.sample_rate} Hz); "
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
