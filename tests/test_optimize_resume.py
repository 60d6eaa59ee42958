"""Optimizers, schedules, averages and precisions go on exactly from wherever a training was killed."""

import json
from pathlib import Path

import pytest
import torch
from test_train_resume import same_run
from training_toy import tiny_training

from ssl_music.methods.optimize import Optimization, Phase
from ssl_music.methods.train import fitting

EVERY = {"checkpoint_every_steps": 1}
#: kinds of training, and the places where each is stopped: (settings, places)
TRAININGS = {
    "cosine behind a warmup": (
        {**EVERY, "optimizer": Optimization(schedule="cosine", warmup_steps=3)},
        [["batch", 0, 1], ["batch", 0, 3], ["valid", 0, 0], ["epoch", 1, 0], ["batch", 1, 2]],
    ),
    "plateau": (  # at this rate the loss is soon flat
        {"optimizer": Optimization(schedule="plateau", patience=1, factor=0.5), "trainer": {"max_epochs": 5}},
        [["epoch", 1, 0], ["valid", 1, 0], ["epoch", 2, 0], ["batch", 3, 1], ["epoch", 4, 0]],
    ),
    "plateau, every step": (
        {
            **EVERY,
            "optimizer": Optimization(schedule="plateau", patience=1),
            "trainer": {"max_epochs": 4, "val_check_interval": 0.5},
        },
        [["batch", 1, 1], ["valid", 1, 0], ["batch", 2, 2]],
    ),
    "phases": (
        {
            **EVERY,
            "optimizer": Optimization(then=(Phase(1, 1e-3), Phase(2, 1e-4), Phase(3, 1e-3, name="adam"))),
            "trainer": {"max_epochs": 4},
        },
        [["batch", 0, 1], ["epoch", 1, 0], ["batch", 1, 0], ["batch", 2, 1], ["epoch", 3, 0], ["batch", 3, 2]],
    ),
    "lars": (
        {**EVERY, "optimizer": Optimization(name="lars", schedule="cosine")},
        [["batch", 0, 2], ["epoch", 1, 0], ["batch", 1, 1]],
    ),
    "sgd, groups, clipped": (
        {
            **EVERY,
            "optimizer": Optimization(name="sgd", nesterov=True, decay_norms_and_biases=False),
            "trainer": {"gradient_clip_val": 0.1},
        },
        [["batch", 0, 2], ["batch", 1, 1]],
    ),
    "average": (
        {**EVERY, "norm": "batch", "ema_decay": 0.9},
        [["batch", 0, 0], ["batch", 0, 3], ["valid", 0, 0], ["epoch", 1, 0], ["batch", 1, 2], ["valid", 1, 0]],
    ),
    "average of accumulated steps": (
        {**EVERY, "norm": "batch", "ema_decay": 0.9, "trainer": {"accumulate_grad_batches": 2}},
        [["batch", 0, 1], ["batch", 0, 2], ["batch", 1, 2]],
    ),
    "everything, in bfloat16": (
        {
            **EVERY,
            "ema_decay": 0.9,
            "optimizer": Optimization(name="adamw", schedule="cosine", warmup_steps=1, decay_norms_and_biases=False),
            "batch_size": 3,
            "trainer": {"precision": "bf16-mixed", "gradient_clip_val": 0.5, "accumulate_grad_batches": 2},
        },
        [["batch", 0, 1], ["batch", 0, 4], ["epoch", 1, 0], ["batch", 1, 3]],
    ),
}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: tiny_training(tmp_path_factory.mktemp("whole") / "run", **TRAININGS[name][0]) for name in TRAININGS}


@pytest.mark.parametrize(
    ("name", "place"), [(name, place) for name in TRAININGS for place in TRAININGS[name][1]], ids=str
)
def test_resumes_from_anywhere(name: str, place: list, uninterrupted: dict[str, Path], tmp_path: Path) -> None:
    if name == "lars":
        pytest.importorskip("pytorch_optimizer")
    settings, _ = TRAININGS[name]
    with pytest.raises(RuntimeError, match="stopped by the test"):
        tiny_training(tmp_path, stop=place, **settings)
    assert not (tmp_path / "encoder.safetensors").exists()
    same_run(tiny_training(tmp_path, **settings), uninterrupted[name])


def test_the_plateaus_have_cut(uninterrupted: dict[str, Path]) -> None:
    """Or their resuming would prove nothing."""
    for name in ("plateau", "plateau, every step"):
        saved = torch.load(uninterrupted[name].parent / "last.ckpt", weights_only=True)
        assert saved["callbacks"]["Pace"]["cuts"] >= 1


def test_a_batch_size_that_was_found_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later there is other memory; the run goes on with what it began with."""
    with pytest.raises(RuntimeError, match="stopped by the test"):
        tiny_training(tmp_path / "run", batch_size="auto", stop=["epoch", 1, 0], **EVERY)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["found"] == {"batch_size": 16}
    monkeypatch.setattr(fitting, "available_bytes", lambda: 2**20)
    weights = tiny_training(tmp_path / "run", batch_size="auto", **EVERY)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["found"] == {"batch_size": 16} and run["settings"]["batch_size"] == "auto"
    same_run(weights, tiny_training(tmp_path / "whole", batch_size=16, **EVERY))
