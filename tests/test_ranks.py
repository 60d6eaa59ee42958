"""Two processes learn what one learns from the same batches: float64, four or six steps, gloo.

Steps of SGD: Adam divides by the size of a gradient, and a bias before a norm has none but rounding.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from training_toy import run_program, tiny_encoder, tiny_training

from ssl_music.errors import UserError
from ssl_music.methods.train.norms import SyncedNorm, SyncedNorms

#: what is trained: settings of `tiny_training`; each compares, gathers or synchronises in another way
KINDS = {
    "SimCLR": {"kind": "SimCLR"},
    "SimCLR, synchronised batch norm": {"kind": "SimCLR", "norm": "batch"},
    "SimCLR in chunks": {"kind": "SimCLR", "chunk_size": 2},
    "VICReg, batch norm in its expander": {"kind": "VICReg"},
    "VICReg, every norm synchronised": {"kind": "VICReg", "norm": "batch"},
    "MoCo": {"kind": "MoCo"},
    "MoCoV3, batch norm in its heads": {"kind": "MoCoV3"},
    "BYOL, every norm synchronised": {"kind": "BYOL", "norm": "batch"},
    "COLA": {"kind": "COLA"},
    "CPC": {"kind": "CPC"},
    "MetricLearning": {"kind": "MetricLearning"},
    "Supervised, synchronised batch norm": {"kind": "Supervised", "norm": "batch"},
}
TOLERANCE = 1e-8


@pytest.mark.parametrize("name", KINDS)
def test_two_processes_learn_what_one_learns(name: str, tmp_path: Path) -> None:
    settings = {"augment": False, **KINDS[name], "valid_split": None, "optimizer": {"name": "sgd"}}
    trainer = {"precision": "64-true", "sync_batchnorm": True}
    whole = load_file(tiny_training(tmp_path / "one", batch_size=6, trainer=trainer, **settings))
    trainer |= {"devices": 2, "strategy": "ddp_fork"}
    program = run_program(tmp_path / "two", {"batch_size": 3, "trainer": trainer, **settings})
    assert program.returncode == 0, program.stderr
    (weights,) = (tmp_path / "two").glob("[et]*.safetensors")  # encoder or tagger
    together = load_file(weights)
    start = tiny_encoder(settings.get("norm", "layer")).state_dict()
    prefix = "" if weights.stem == "encoder" else "encoder."
    assert max((whole[prefix + name] - weight).abs().max() for name, weight in start.items()) > 1e-3
    assert max((whole[name] - together[name]).abs().max() for name in whole) <= TOLERANCE
    metrics = [(tmp_path / run / "metrics.csv").read_text().splitlines() for run in ("one", "two")]
    column = metrics[0][0].split(",").index("train/loss")
    losses = [[float(line.split(",")[column]) for line in lines[1:]] for lines in metrics]
    if "Supervised" not in name:  # there each rank logs the loss of its own share
        assert losses[0] == pytest.approx(losses[1], abs=2e-6)


def test_the_norms_come_back() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Sequential(nn.BatchNorm2d(2, momentum=None), nn.LayerNorm(3)))
    before = [model[0], model[1][0]]
    synced = SyncedNorms().apply(model)
    assert isinstance(synced[0], SyncedNorm) and isinstance(synced[1][0], SyncedNorm)
    assert set(synced.state_dict()) == {f"{place}{name}" for place, norm in (("0.", before[0]), ("1.0.", before[1]))
                                        for name in norm.state_dict()} | {"1.1.weight", "1.1.bias"}  # fmt: skip
    synced[0](torch.randn(4, 3))
    reverted = SyncedNorms().revert(synced)
    assert [reverted[0], reverted[1][0]] == before and before[0].num_batches_tracked == 1


def test_a_run_does_not_go_on_with_another_number_of_devices(tmp_path: Path) -> None:
    settings = {"checkpoint_every_steps": 1, "augment": False}
    with pytest.raises(RuntimeError, match="stopped by the test"):
        tiny_training(tmp_path, stop=["batch", 0, 1], batch_size=6, **settings)
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert checkpoint["devices"] == 1
    checkpoint["devices"] = 2  # as if two processes had written it
    torch.save(checkpoint, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match="trained on 2 devices and would go on with 1"):
        tiny_training(tmp_path, batch_size=6, **settings)
    assert json.loads((tmp_path / "run.json").read_text())["finished"] is None
