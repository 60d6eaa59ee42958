"""Reads the weights in a file of another program, and nothing else of it: no code in the file is ever run.

A pickle can name any function to be called while it is read. torch's `weights_only` reader calls none but those that
put tensors together; it reads the zip files of torch ≥ 1.6 and the bare pickles of before. Lightning's checkpoints
hold settings beside the weights, whose classes that reader refuses. They are given an empty stand-in, under the name
that the file asks for: the class itself is neither imported nor called. Any other name is refused.
"""

import pickle
import re
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from ssl_music.errors import UserError

#: what trainers keep beside the weights: settings, paths, scores
BOOKKEEPING = (
    "pytorch_lightning.",
    "lightning.",
    "lightning_fabric.",
    "argparse.",
    "omegaconf.",
    "pathlib.",
    "numpy.",
)
#: where a checkpoint that holds more than weights keeps them
ENTRIES = ("state_dict", "model_state_dict", "model")
#: wrappers that put their own name before every key
WRAPPERS = ("module.", "_orig_mod.")
#: how many names of theirs a file may have: each is another reading
MOST = 100
#: how many keys an error shows
SHOWN = 5


class Weights(NamedTuple):
    """The tensors of a file by their names, and what else lay in it."""

    tensors: dict[str, Tensor]
    ignored: list[str]


class _StandIn:
    """Takes whatever a pickle does to an object and keeps nothing of it."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "_StandIn":
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def read(path: Path | str) -> Weights:
    """The state dict in a .pt, .pth or .ckpt file, of any age, or in a .safetensors file.

    Raises UserError where the file is missing, is none of these, names code to be run, or holds no tensors by name.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "weights.pt"
    >>> torch.save({"state_dict": {"fc.weight": torch.zeros(2, 3)}, "epoch": 7}, path)
    >>> weights = read(path)
    >>> list(weights.tensors), weights.ignored
    (['fc.weight'], ['epoch'])
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a file of weights: .pt, .pth, .ckpt or .safetensors")
    with path.open("rb") as handle:
        start = handle.read(64)
    if start[8:9] == b"{" and not start.startswith((b"PK", b"\x80")):
        held: Any = _safetensors(path)
    elif start.startswith((b"PK", b"\x80")):
        held = _pickled(path, zipped=start.startswith(b"PK"))
    elif start.startswith(b"version https://git-lfs"):
        raise UserError(f"{path}: a pointer of Git LFS, not the file itself; fetch it with: git lfs pull")
    else:
        raise UserError(f"{path}: neither a pickle, nor a zip, nor safetensors: it begins with {start[:16]!r}")
    return _state_dict(path, held)


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("format", "").startswith("ssl_music/"):
                raise UserError(f"{path}: is a checkpoint of ours already; every verb takes it as it is")
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path}: not a readable safetensors file ({error}): it is cut short or damaged") from error


def _pickled(path: Path, *, zipped: bool) -> Any:
    stand_ins: dict[str, type] = {}
    while True:
        given: list[Any] = [(kind, name) for name, kind in stand_ins.items()]
        try:
            with torch.serialization.safe_globals(given), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torch, for its own users
                return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
        except Exception as error:  # a damaged pickle raises anything
            name = _refused(error)
            if name and name.startswith(BOOKKEEPING) and name not in stand_ins and len(stand_ins) < MOST:
                stand_ins[name] = OrderedDict if name.endswith(".AttributeDict") else _StandIn
                continue
            raise _told(path, error, name) from error


def _refused(error: Exception) -> str | None:
    """The name that the reader did not want to look up."""
    found = re.search(r"GLOBAL (\S+) (?:was not an allowed|whose module \S+ is blocked)", str(error))
    return found[1] if isinstance(error, pickle.UnpicklingError) and found else None


def _told(path: Path, error: Exception, name: str | None) -> UserError:
    if name:
        return UserError(
            f"{path}: not read, because beside weights it names {name}, and looking that up would run code from the "
            "file. Where you trust it, write its weights alone to a new file with the program that made it: "
            "torch.save(model.state_dict(), 'weights.pt')"
        )
    if "TorchScript" in str(error):
        return UserError(f"{path}: a TorchScript program, not weights; save the state_dict() of the model it is from")
    what = " ".join(str(error).split())[:120] or type(error).__name__
    return UserError(f"{path}: not readable as weights of torch ({what}): it is cut short, damaged or no such file")


def _state_dict(path: Path, held: Any) -> Weights:
    ignored: list[str] = []
    if isinstance(held, Mapping) and not _is_state_dict(held):
        found = next((name for name in ENTRIES if isinstance(held.get(name), Mapping)), None)
        if found is not None:
            ignored = [str(name) for name in held if name != found]
            held = held[found]
    if not isinstance(held, Mapping) or not held:
        raise UserError(f"{path}: holds {_kind(held)}, where tensors by name are wanted: a state_dict()")
    for key, value in held.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise UserError(
                f"{path}: {key!r} is {_kind(value)}, where a tensor is wanted; give a file that holds a state_dict() "
                f"alone, or under one of: {', '.join(ENTRIES)}"
            )
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise UserError(f"{path}: {key} is a sparse, quantised or empty tensor; give ordinary weights")
    tensors = {key: value.detach() for key, value in held.items()}
    for wrapper in WRAPPERS:
        if all(key.startswith(wrapper) for key in tensors):
            tensors = {key.removeprefix(wrapper): value for key, value in tensors.items()}
    return Weights(tensors, ignored)


def _is_state_dict(held: Mapping) -> bool:
    return all(isinstance(value, Tensor) for value in held.values())


def _kind(value: Any) -> str:
    return "nothing" if isinstance(value, Mapping) and not value else f"a {type(value).__name__}"


def finite(file: str, key: str, tensor: Tensor) -> None:
    """Raises the error for a tensor with NaN or infinity."""
    if not torch.isfinite(tensor).all():
        bad = int((~torch.isfinite(tensor)).sum())
        raise UserError(
            f"{file}: {key} is not finite ({bad} of {tensor.numel()} numbers are NaN or infinity): its training has "
            "diverged, or the file is damaged; fetch it again, or take an earlier one"
        )


def first(keys: Mapping[str, Any]) -> str:
    """The first keys, for an error to show.

    >>> first({"a": 1, "b": 2})
    'a, b'
    """
    shown = list(keys)[:SHOWN]
    return ", ".join(shown) + (f" … ({len(keys)} in all)" if len(keys) > SHOWN else "")
