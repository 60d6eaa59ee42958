"""The largest batch that fits: `batch_size: auto`."""

import copy
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from pytorch_lightning import Trainer
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ssl_music._memory import available_bytes
from ssl_music.clips import Clips
from ssl_music.errors import UserError
from ssl_music.losses.base import BLOCK_NUMBERS
from ssl_music.methods.base import Method

#: of the free memory, what a step may take; the rest is for what operators make and let go inside themselves, and for
#: other programs
SHARE_OF_FREE = 0.6
#: of a GPU's whole memory, what a step may reserve
SHARE_OF_GPU = 0.9
#: tracks in the two batches that are measured on a CPU
FEW, MORE = 4, 8
#: weights, gradients and two moments of Adam, in copies of the weights
COPIES = 4
#: two float32 of NT-Xent (counted), which in a small batch are too few to show in its line
BYTES_A_SIMILARITY = 8
MIB = 2**20


class Fit(NamedTuple):
    """A batch size, and in words what made it."""

    batch_size: int
    reason: str


def largest_batch(method: Method, batch: Callable[[int], Clips], *, trainer: Trainer, most: int) -> Fit:
    """The largest power of two of tracks, at most `most`, whose step fits the memory of the trainer's device.

    `batch` makes a batch of so many tracks. Copies of the method take the steps. A GPU refuses what is too much, so
    that batches are tried there, each twice the one before. A CPU swaps or is killed: there the bytes alive at the
    worst moment of two small steps are counted, and drawn out as a straight line.
    """
    if trainer.world_size > 1:
        raise UserError(
            f"batch_size auto finds what fits one device, and these are {trainer.world_size}: run once with "
            "trainer.devices 1, and give the number that it says"
        )
    device = trainer.strategy.root_device
    find = _tried if device.type == "cuda" else _counted
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        found = find(method, batch, trainer, most)
    if found.batch_size < min(2, most):
        raise UserError(f"batch_size auto: not even two tracks fit ({found.reason}); take a smaller encoder")
    return found


def _counted(method: Method, batch: Callable[[int], Clips], trainer: Trainer, most: int) -> Fit:
    free = available_bytes()
    few, more = min(FEW, most), min(MORE, most)

    def line(chunk_size: int | None) -> tuple[float, float]:
        """Bytes of a step: so many, and so many for each track."""
        first, second = (_peak_bytes(method, batch(size), trainer, chunk_size) for size in (few, more))
        a_track = (second - first) / (more - few) if more > few else first / few
        return max(0.0, first - few * a_track), a_track

    fixed, a_track = line(None)
    fixed += COPIES * sum(parameter.nbytes for parameter in method.parameters() if parameter.requires_grad)
    if method.chunk_size is not None:
        whole, (_, a_track) = a_track, line(2)  # what a row still costs where it is in no chunk; two for batch norms
        fixed += (whole - a_track) * method.chunk_size / method.views

    def needed(size: int) -> float:
        similarities = min((method.views * size) ** 2, BLOCK_NUMBERS) if method.compares_rows else 0
        return fixed + a_track * size + BYTES_A_SIMILARITY * similarities

    size = 1
    while 2 * size <= most and needed(2 * size) <= SHARE_OF_FREE * free:
        size *= 2
    return Fit(size, f"{a_track / MIB:.3g} MiB a track, {free / MIB:,.0f} MiB free")


def _peak_bytes(method: Method, clips: Clips, trainer: Trainer, chunk_size: int | None) -> int:
    """The most bytes alive at once, beyond the weights, in a step without its optimizer."""
    twin = _twin(method, trainer)
    twin.chunk_size = chunk_size
    with _Counted() as counted:
        _backward(twin, clips, trainer)
    return counted.peak + 4 * clips.wave.nbytes  # the loader makes batches ahead


def _tried(method: Method, batch: Callable[[int], Clips], trainer: Trainer, most: int) -> Fit:
    device = trainer.strategy.root_device
    whole, size, reserved = torch.cuda.get_device_properties(device).total_memory, 1, 0
    while 2 * size <= most:
        taken = _reserved_bytes(method, batch(2 * size), trainer)
        if taken is None or taken > SHARE_OF_GPU * whole:
            break
        size, reserved = 2 * size, taken
    return Fit(size, f"{reserved / MIB:,.0f} MiB of {whole / MIB:,.0f} MiB reserved")


def _reserved_bytes(method: Method, clips: Clips, trainer: Trainer) -> int | None:
    """What a GPU reserves for a step with its optimizer; None where it has not as much."""
    device = trainer.strategy.root_device
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    try:
        twin = _twin(method, trainer).to(device)
        optimizer = twin.configure_optimizers()
        for _ in range(2):  # the optimizer's state is there in the second
            _backward(twin, clips.to(device), trainer)
            optimizer.step()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_reserved(device)
    except torch.cuda.OutOfMemoryError:
        return None
    finally:
        twin = optimizer = None  # type: ignore[assignment]  # or their memory would not go back
        torch.cuda.empty_cache()


def _twin(method: Method, trainer: Trainer) -> Method:
    twin = copy.deepcopy(method).train()
    return trainer.precision_plugin.convert_module(twin)  # type: ignore[return-value]


def _backward(method: Method, clips: Clips, trainer: Trainer) -> None:
    method._seed("train", 0, 0)
    with trainer.precision_plugin.forward_context():
        loss = method.losses(clips.float())["loss"]
    loss.backward()


class _Counted(TorchDispatchMode):
    """Counts the bytes of all storages that operators make, as long as each lives.

    Not autograd's hooks for saved tensors: they do not see what a function of ours keeps (encoders.streamed).
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._alive: dict[int, int] = {}
        self._now = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in self._alive:
                storage = tensor.untyped_storage()
                self._alive[storage._cdata] = storage.nbytes()
                self._now += storage.nbytes()
                self.peak = max(self.peak, self._now)
                weakref.finalize(storage, self._free, storage._cdata)
        return made

    def _free(self, storage: int) -> None:
        self._now -= self._alive.pop(storage)
