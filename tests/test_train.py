"""The training function: what it leaves, what it refuses, what it shows. Resuming: test_train_resume.py."""

import csv
import io
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.loggers import CSVLogger
from training_toy import Tones, tiny_encoder, tiny_method, tiny_training

from ssl_music import checkpoint
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.methods import SimCLR
from ssl_music.methods.train import train
from ssl_music.methods.train.batches import Batches
from ssl_music.methods.train.show import MetricsFile


def weights_of(path: Path) -> str:
    return checkpoint.load(path).digest()


def test_the_run_folder(tmp_path: Path) -> None:
    weights = tiny_training(tmp_path / "deep" / "run", recipe={"batch_size": 4})
    names = {"run.json", "metrics.csv", "machine.csv", "last.ckpt", "best.safetensors", "encoder.safetensors"}
    assert {path.name for path in weights.parent.iterdir()} == names
    run = json.loads((weights.parent / "run.json").read_text())
    assert run["recipe"] == {"batch_size": 4} and run["seed"] == 3
    assert run["catalog"] == {"fingerprint": Tones().fingerprint(), "split_name": "toy", "split": "train"}
    assert run["settings"]["method"]["class"] == "SimCLR" and run["settings"]["method"]["encoder"]["depth"] == 4
    assert (run["steps"], run["epochs"], run["tracks"], run["kept"]) == (8, 2, 18, "last")
    assert run["versions"]["torch"] == torch.__version__ and run["seconds"] > 0 and run["clips_per_second"] > 0
    (session,) = run["sessions"]
    assert run["started"] <= session["started"] <= run["finished"] and session["step"] == 0
    assert session["world_size"] == 1 and session["precision"] == "32-true" and session["devices"][0][:3] == "cpu"
    assert 0 <= run["data_wait_share"] <= 1 and run["peak_memory_gb"].keys() == {"resident"}
    assert run["parameters"]["encoder"] == sum(weight.numel() for weight in tiny_encoder().parameters())
    assert run["parameters"]["learnt"] > run["parameters"]["encoder"] and run["warnings"] == []
    assert isinstance(checkpoint.load(weights), Encoder)
    about = checkpoint.provenance(weights)
    assert about["recipe"] == {"batch_size": 4} and about["catalog"] == run["catalog"]
    rows = list(csv.DictReader((weights.parent / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows] == [0, 1, 2, 3, 3, 4, 5, 6, 7, 7]
    assert [bool(row["valid/loss"]) for row in rows] == [False] * 4 + [True] + [False] * 4 + [True]
    assert {"train/loss", "train/loss_over_trivial", "train/collapsed"} <= rows[0].keys()


def test_a_finished_run_says_so_and_returns(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    weights = tiny_training(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert tiny_training(tmp_path) == weights
    assert "finished already on 2" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_the_seed_decides_everything(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = weights_of(tiny_training(tmp_path / "a"))
    torch.manual_seed(2)  # nothing hangs on what went before
    assert weights_of(tiny_training(tmp_path / "b")) == first
    assert weights_of(tiny_training(tmp_path / "c", seed=4)) != first


def test_the_seed_decides_dropout_and_the_head(tmp_path: Path) -> None:
    runs = [
        tiny_training(tmp_path / str(number), kind="pitch", valid_split=None, seed=number // 2)
        for number in (0, 1, 2)
    ]
    first, same, other = map(weights_of, runs)
    assert first == same != other


def test_validation_does_not_touch_the_training(tmp_path: Path) -> None:
    with_valid, without = tiny_training(tmp_path / "a"), tiny_training(tmp_path / "b", valid_split=None)
    assert weights_of(with_valid) == weights_of(without)


def test_nothing_is_said_but_what_matters(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    """No tips, no notices of Lightning's, and no bar where there is no terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny_training(tmp_path, kind="pitch")
    assert capfd.readouterr() == ("", "")


def test_the_bar_shows_loss_and_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    tiny_training(tmp_path)
    last = screen.getvalue().split("\r")[-1]
    assert "8/8" in last and "clips/s=" in last and "epoch=2" in last
    assert " loss=" in last and "valid/loss=" in last


def test_loggers_and_callbacks_of_the_user_are_added(tmp_path: Path) -> None:
    class Counter(Callback):
        steps = 0

        def on_train_batch_end(self, *_) -> None:
            self.steps += 1

    counter = Counter()
    train(
        tiny_method(),
        Tones(),
        out=tmp_path / "run",
        batch_size=4,
        trainer_options={
            "accelerator": "cpu",
            "max_epochs": 1,
            "logger": CSVLogger(tmp_path / "theirs"),
            "callbacks": counter,
            "log_every_n_steps": 2,
        },
    )
    assert counter.steps == 4
    assert list((tmp_path / "theirs").rglob("metrics.csv")) and (tmp_path / "run" / "metrics.csv").exists()


def test_early_stopping(tmp_path: Path) -> None:
    """The loss never falls: the first validation stays the best, and after two more it is enough."""

    class Still(SimCLR):
        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.0)

    torch.manual_seed(0)
    options = {"accelerator": "cpu", "max_epochs": 9}
    train(
        Still(tiny_encoder()),
        Tones(),
        out=tmp_path,
        batch_size=4,
        trainer_options=options,
        early_stop_epochs=2,
    )
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["stopped_early"] and (run["epochs"], run["best"]["epoch"]) == (3, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trainer": {"max_epoch": 2}}, "unknown option of trainer 'max_epoch'; did you mean 'max_epochs'"),
        ({"trainer": {"max_epochs": None}}, "how long to train"),
        ({"trainer": {"enable_checkpointing": False}}, "trainer.enable_checkpointing: False"),
        ({"valid_split": None, "early_stop_epochs": 3}, "early_stop_epochs needs a validation loss"),
        ({"valid_split": "vaild"}, "unknown split 'vaild'; did you mean 'valid'"),
        ({"split": "nothing"}, "unknown split 'nothing'"),
        ({"batch_size": 19}, "a batch of 19 needs 19 clips, but an epoch has 18: set batch_size to at most 18"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"short": "cut"}, "unknown choice for short tracks"),
        ({"kind": "genre"}, "unknown label column 'genre'"),
    ],
)
def test_what_is_refused_before_anything_is_written(settings: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        tiny_training(tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_a_mistake_that_shows_in_the_first_step_leaves_nothing(tmp_path: Path) -> None:
    settings = {"kind": "MoCo", "norm": "batch", "batch_size": 2}
    with pytest.raises(UserError, match="norm_splits=2 groups leave batch norm fewer than 2"):
        tiny_training(tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()
    tiny_training(tmp_path / "run", **{**settings, "batch_size": 4})


def test_places_that_cannot_be_a_run_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        tiny_training(tmp_path / "file")
    (tmp_path / "run.json").write_text('{"seed": ')
    with pytest.raises(UserError, match=r"run\.json: cannot be read"):
        tiny_training(tmp_path)


def test_another_recipe_is_refused_and_says_where(tmp_path: Path) -> None:
    def recipe(**trainer: object) -> dict:
        return {"method": {"temperature": 0.5}, "trainer": {"max_epochs": 2, **trainer}}

    tiny_training(tmp_path, recipe=recipe())
    with pytest.raises(UserError, match=r"\(recipe\.trainer\.precision: None there, '16-mixed' here\)"):
        tiny_training(tmp_path, recipe=recipe(precision="16-mixed"))
    with pytest.raises(UserError, match="seed: 3 there, 5 here"):
        tiny_training(tmp_path, recipe=recipe(), seed=5)
    tiny_training(tmp_path, recipe=recipe(enable_progress_bar=False, logger=False))  # shown, not learnt


def test_the_clips_of_a_rank() -> None:
    """Two ranks share each global batch; validation is the same every epoch, and small splits are one batch."""
    batches = Batches(
        tiny_method(),
        Tones(train=18, valid=9),
        split="train",
        valid_split="valid",
        batch_size=4,
        seed=0,
        short="loop",
        epoch_of="tracks",
    )
    alone = [clips.rows for clips in batches.loader(training=True)]
    assert [len(rows) for rows in alone] == [4, 4, 4, 4] and len(torch.cat(alone).unique()) == 16
    ranks = [list(batches.loader(training=True, rank=rank, world_size=2)) for rank in (0, 1)]
    assert [len(rank) for rank in ranks] == [2, 2]
    assert not set(ranks[0][0].rows.tolist()) & set(ranks[1][0].rows.tolist())
    valid = batches.loader(training=False)
    assert [clips.wave.shape for clips in valid] == [(2, 4, 1, 243)] * 2  # full batches only: NT-Xent compares rows
    first = [clips.wave for clips in valid]
    valid.set_epoch(5)
    assert all(torch.equal(a, b.wave) for a, b in zip(first, valid, strict=True))
    assert batches.loader(training=False, rank=0, world_size=3).batch_size == 3


def test_short_tracks_may_be_dropped_with_a_count(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    class Mixed(Tones):
        def __init__(self) -> None:
            super().__init__()
            self.samples = np.where(np.arange(27) % 9 == 0, 100, self.samples)

    options = {"accelerator": "cpu", "max_epochs": 1}
    train(
        tiny_method(),
        Mixed(),
        out=tmp_path,
        batch_size=4,
        short="drop",
        trainer_options=options,
    )
    assert "2 of 18 tracks are shorter than a clip: left out" in capsys.readouterr().err
    run = json.loads((tmp_path / "run.json").read_text())
    assert (run["tracks"], run["dropped"]) == (16, 2)


def test_metrics_survive_a_cut_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,epoch,train/loss,valid/loss\n9,0,4.5,\n19,0,4.25,\n29,0")
    file = MetricsFile(path)
    file.log_metrics({"epoch": 1, "train/loss": 4.125}, step=19)
    file.log_metrics({"epoch": 1, "new": 1.0}, step=29)
    assert path.read_text() == "step,epoch,train/loss,valid/loss,new\n9,0,4.5,,\n19,1,4.125,,\n29,1,,,1.0\n"
