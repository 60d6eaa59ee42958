"""A training that was killed and resumed ends with the bytes of one that was not."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from training_toy import run_program, tiny_training

from ssl_music.errors import UserError
from ssl_music.methods.train.keep import WholeFiles

EVERY_BATCH = [["batch", epoch, batch] for epoch in (0, 1) for batch in range(4)]
#: kinds of training, and the places where each is stopped: (settings, places)
TRAININGS = {
    "every step": ({"checkpoint_every_steps": 1, "norm": "batch"}, EVERY_BATCH),
    "epochs only": ({}, [["batch", 0, 3], ["valid", 0, 0], ["epoch", 1, 0], ["batch", 1, 1], ["valid", 1, 0]]),
    "no validation": (
        {"checkpoint_every_steps": 2, "valid_split": None},
        [["batch", 0, 2], ["batch", 0, 3], ["epoch", 1, 0], ["batch", 1, 2]],
    ),
    "max_steps": (
        {"checkpoint_every_steps": 1, "valid_split": None, "trainer": {"max_epochs": -1, "max_steps": 7}},
        [["batch", 0, 3], ["epoch", 1, 0], ["batch", 1, 1]],
    ),
    "max_steps and validation": (
        {"trainer": {"max_steps": 7}},
        [["batch", 0, 3], ["valid", 0, 0], ["epoch", 1, 0], ["batch", 1, 0], ["batch", 1, 1]],
    ),
    "max_steps, validation, every step": (
        {"checkpoint_every_steps": 1, "trainer": {"max_epochs": -1, "max_steps": 11}},
        [["batch", 0, 1], ["epoch", 1, 0], ["batch", 1, 1], ["valid", 1, 0], ["epoch", 2, 0], ["batch", 2, 0]],
    ),
    "accumulation": (
        {"checkpoint_every_steps": 1, "batch_size": 3, "trainer": {"accumulate_grad_batches": 4}},
        [["batch", 0, 2], ["batch", 0, 4], ["batch", 0, 5], ["valid", 0, 0], ["batch", 1, 4]],
    ),
    "two validations an epoch": (
        {"checkpoint_every_steps": 1, "trainer": {"val_check_interval": 0.5}},
        [["batch", 0, 1], ["valid", 0, 0], ["batch", 0, 2], ["batch", 1, 1], ["valid", 1, 0]],
    ),
    "validation every second epoch": (
        {"trainer": {"check_val_every_n_epoch": 2}},
        [["epoch", 1, 0], ["batch", 1, 2], ["valid", 1, 0]],
    ),
    "supervised": (
        {"kind": "traits", "norm": "batch", "checkpoint_every_steps": 1, "early_stop_epochs": 1},
        [["batch", 0, 1], ["valid", 0, 0], ["batch", 1, 2]],
    ),
}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: tiny_training(tmp_path_factory.mktemp("whole") / "run", **TRAININGS[name][0]) for name in TRAININGS}


@pytest.mark.parametrize(
    ("name", "place"), [(name, place) for name in TRAININGS for place in TRAININGS[name][1]], ids=str
)
def test_resumes_from_anywhere(name: str, place: list, uninterrupted: dict[str, Path], tmp_path: Path) -> None:
    settings, _ = TRAININGS[name]
    with pytest.raises(RuntimeError, match="stopped by the test"):
        tiny_training(tmp_path, stop=place, **settings)
    assert not (tmp_path / "encoder.safetensors").exists()
    weights = tiny_training(tmp_path, **settings)
    same_run(weights, uninterrupted[name])


def same_run(weights: Path, whole: Path) -> None:
    """Every artefact is the same, and the metrics were logged once for each step."""
    same_weights(weights, whole)
    assert (weights.parent / "metrics.csv").read_text() == (whole.parent / "metrics.csv").read_text()
    best, whole_best = (path.parent / "best.safetensors" for path in (weights, whole))
    assert best.exists() == whole_best.exists()
    if best.exists():
        same_weights(best, whole_best)
    ours, theirs = (json.loads((path.parent / "run.json").read_text()) for path in (weights, whole))
    for name in ("steps", "epochs", "kept", "best", "stopped_early", "collapsed"):
        assert ours[name] == theirs[name]


def same_weights(ours: Path, theirs: Path) -> None:
    assert digest_of(ours) == digest_of(theirs)
    left, right = load_file(ours), load_file(theirs)
    assert left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def digest_of(path: Path) -> str:
    with safe_open(path, "pt") as file:
        return file.metadata()["digest"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is of POSIX")
def test_resumes_after_kill_9(uninterrupted: dict[str, Path], tmp_path: Path) -> None:
    """A real kill, in the middle of epoch 2, of another process."""
    settings = {**TRAININGS["every step"][0], "stop": ["batch", 1, 2], "how": "kill"}
    killed = run_program(tmp_path, settings)
    assert killed.returncode == -signal.SIGKILL and (killed.stdout, killed.stderr) == ("", "")
    assert (tmp_path / "last.ckpt").exists() and not (tmp_path / "encoder.safetensors").exists()
    same_run(tiny_training(tmp_path, **TRAININGS["every step"][0]), uninterrupted["every step"])


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is of POSIX")
@pytest.mark.parametrize("kind", ["MoCo", "BYOL", "CPC"])
def test_everything_that_moves_survives_kill_9(kind: str, tmp_path: Path) -> None:
    """Queue, momentum encoder with its schedule, average, rates, clipping: all at once, in the middle of epoch 2."""
    settings = {
        "kind": kind,
        "norm": "batch",
        "checkpoint_every_steps": 1,
        "ema_decay": 0.9,
        "optimizer": {"schedule": "cosine", "warmup_steps": 3},
        "trainer": {"gradient_clip_val": 1.0, "precision": "bf16-mixed"},
    }
    killed = run_program(tmp_path / "killed", {**settings, "stop": ["batch", 1, 1], "how": "kill"})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    same_run(tiny_training(tmp_path / "killed", **settings), tiny_training(tmp_path / "whole", **settings))


def test_ctrl_c_is_an_interrupt_and_resumable(uninterrupted: dict[str, Path], tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        tiny_training(tmp_path, stop=["batch", 1, 0], how="interrupt", **TRAININGS["every step"][0])
    assert signal.getsignal(signal.SIGINT) is handler
    assert json.loads((tmp_path / "run.json").read_text())["finished"] is None
    same_run(tiny_training(tmp_path, **TRAININGS["every step"][0]), uninterrupted["every step"])


def test_a_kill_while_saving_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, disk = tmp_path / "last.ckpt", WholeFiles()
    disk.save_checkpoint({"step": 1}, path)

    def killed(content: object, where: Path) -> None:
        where.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        disk.save_checkpoint({"step": 2}, path)
    assert disk.load_checkpoint(path) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_nothing_runs_from_a_checkpoint(tmp_path: Path) -> None:
    class Malice:
        def __reduce__(self):
            return os.system, ("echo run by a checkpoint",)

    torch.save({"state": Malice()}, tmp_path / "last.ckpt")
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        WholeFiles().load_checkpoint(tmp_path / "last.ckpt")


def test_resuming_with_other_settings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        tiny_training(tmp_path, stop=["batch", 1, 0])
    with pytest.raises(UserError, match=r"settings\.batch_size: 4 there, 5 here.*another out"):
        tiny_training(tmp_path, batch_size=5)
    with pytest.raises(UserError, match=r"settings\.trainer\.max_epochs: 2 there, 3 here"):
        tiny_training(tmp_path, trainer={"max_epochs": 3})
