"""Reading files of other programs: of any age, with or without settings beside the weights, and never as code."""

import argparse
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ssl_music.errors import UserError
from ssl_music.importers.read import read

STATE = {"a.weight": torch.randn(3, 4), "a.bias": torch.zeros(3), "counter": torch.tensor(7)}


class Attack:
    """Creates a file as soon as a careless reader meets it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


class Settings:
    """A class of somebody's training code."""


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_names_a_command_is_refused_and_runs_nothing(zipped: bool, tmp_path: Path) -> None:
    path, marker = tmp_path / "weights.pt", tmp_path / "marker"
    for held in (Attack(marker), {**STATE, "x": Attack(marker)}, {"state_dict": STATE, "callbacks": Attack(marker)}):
        torch.save(held, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(UserError, match=r"it names (posix|nt)\.system, .*would run code.*torch.save\("):
            read(path)
    path.write_bytes(pickle.dumps({"x": Attack(marker)}))
    with pytest.raises(UserError, match=r"weights.pt: "):
        read(path)
    assert not marker.exists()
    pickle.loads(path.read_bytes())  # the attack is a real one
    assert marker.exists()


@pytest.mark.parametrize(
    "name", ["builtins.eval", "builtins.exec", "subprocess.Popen", "torch.hub.load", "pathlib2.x"]
)
def test_names_that_no_weights_need_are_refused(name: str, tmp_path: Path) -> None:
    module, _, function = name.rpartition(".")
    code = b"\x80\x02c" + f"{module}\n{function}\n".encode() + b"X\x01\x00\x00\x001\x85R."
    torch.save(STATE, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    # a legacy file is a row of pickles: magic number, protocol, system, then the object itself
    head = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    (tmp_path / "attack.pt").write_bytes(head + code)
    with pytest.raises(UserError, match=r"it names \S+, and looking that up would run code"):
        read(tmp_path / "attack.pt")


@pytest.mark.parametrize("zipped", [True, False])
def test_lightning_s_settings_are_stood_in_for_and_never_built(zipped: bool, tmp_path: Path) -> None:
    from pytorch_lightning.callbacks import ModelCheckpoint
    from pytorch_lightning.utilities.parsing import AttributeDict

    held = {
        "epoch": 3,
        "state_dict": STATE,
        "hyper_parameters": AttributeDict(lr=0.1, args=argparse.Namespace(root=Path("music"))),
        "callbacks": {ModelCheckpoint: {"best_model_score": np.float64(0.5)}},
    }
    torch.save(held, tmp_path / "model.ckpt", _use_new_zipfile_serialization=zipped)
    weights = read(tmp_path / "model.ckpt")
    assert weights.ignored == ["epoch", "hyper_parameters", "callbacks"]
    assert all(torch.equal(weights.tensors[key], tensor) for key, tensor in STATE.items())
    assert "ightning" not in str(torch.serialization.get_safe_globals())
    held["hyper_parameters"] = {"network": Settings()}
    torch.save(held, tmp_path / "model.ckpt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"it names \S*Settings, .*write its weights alone to a new file"):
        read(tmp_path / "model.ckpt")


def test_what_is_no_state_dict_is_told(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    wrong: list[tuple[Any, str]] = [
        (torch.zeros(3), "holds a Tensor, where tensors by name are wanted"),
        ({}, "holds nothing, where"),
        ([STATE], "holds a list"),
        ({"weights": STATE, "epoch": 1}, "'weights' is a dict, where a tensor is wanted.*under one of: state_dict"),
        ({"state_dict": {"a": 1}}, "'a' is a int"),
        ({0: torch.zeros(1)}, "0 is a Tensor"),
        ({"a": torch.zeros(2, 2).to_sparse()}, "sparse"),
        ({"a": torch.zeros(2, device="meta")}, "sparse, quantised or empty"),
        (nn.Linear(2, 2), r"it names torch.nn.modules.linear.Linear"),
    ]
    for held, told in wrong:
        torch.save(held, path)
        with pytest.raises(UserError, match=told):
            read(path)
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), path)
    with pytest.raises(UserError, match="a TorchScript program, not weights"):
        read(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(UserError, match=r"pointer of Git LFS.*git lfs pull"):
        read(path)
    for content in (b"", b"<!DOCTYPE html>", b"PK"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"weights.pt: "):
            read(path)
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_damaged_files_are_one_clear_error(kind: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "weights"
    if kind == "safetensors":
        save_file(STATE, path)
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    assert read(path).tensors.keys() == STATE.keys()
    rng = np.random.default_rng(0)
    for cut in (9, 60, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:cut])
        with pytest.raises(UserError, match="weights: "):
            read(path)
    for _ in range(100):  # a changed byte may go unnoticed; it never is another kind of error
        changed = bytearray(whole)
        changed[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(changed))
        try:
            read(path)
        except UserError as error:
            assert str(path) in str(error)
