"""How fast a training goes and what it waits for, on a clock of the test's own; and where that is written."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from training_toy import Tones, tiny_encoder, tiny_method, tiny_training

from ssl_music.clips import ClipLoader
from ssl_music.methods.train import machine, throughput
from ssl_music.methods.train.show import MetricsFile
from ssl_music.methods.train.throughput import Throughput


class Clock:
    """A clock that only the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(throughput.time, "monotonic", lambda: self.now)


class Module:
    """What `Throughput` asks of a method: where it is, and to log."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.logged: list[dict[str, float]] = []

    def log(self, name: str, value: float, *, on_step: bool, on_epoch: bool) -> None:
        assert on_step and not on_epoch
        if name == "machine/clips_per_second":
            self.logged.append({})
        self.logged[-1][name.removeprefix("machine/")] = value


def a_loader() -> ClipLoader:
    return ClipLoader(Tones(), np.arange(8), input_samples=243, batch_size=4, seed=0)


def a_trainer(loader: ClipLoader, **facts: object) -> SimpleNamespace:
    usual = {"global_step": 0, "log_every_n_steps": 2, "world_size": 3, "sanity_checking": False}
    return SimpleNamespace(train_dataloader=loader, **{**usual, **facts})


def test_rates_and_waits_on_a_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, loader, module = Clock(monkeypatch), a_loader(), Module()
    trainer, watch = a_trainer(loader), Throughput(clips_per_batch=8)

    def step(*, wait: float, work: float) -> None:
        clock.now += wait
        loader.waited_seconds += wait
        watch.on_train_batch_start(trainer, module, None, 0)
        clock.now += work
        trainer.global_step += 1
        watch.on_train_batch_end(trainer, module, None, None, 0)

    watch.on_train_start(trainer, module)
    watch.on_train_epoch_start(trainer, module)
    step(wait=1.0, work=3.0)
    clock.now += 0.5  # between two steps: part of the training
    step(wait=0.0, work=3.5)
    assert module.logged[0]["clips_per_second"] == 2 * 8 * 3 / 8.0
    assert module.logged[0]["data_wait_share"] == 1.0 / 8.0
    step(wait=0.0, work=1.0)
    watch.on_validation_start(trainer, module)
    clock.now += 1000
    watch.on_validation_end(trainer, module)
    watch.on_train_epoch_end(trainer, module)
    clock.now += 1000
    watch.on_train_epoch_start(trainer, module)
    with watch.pause():
        clock.now += 1000
    step(wait=2.0, work=1.0)
    assert module.logged[1]["clips_per_second"] == 2 * 8 * 3 / 4.0 and module.logged[1]["data_wait_share"] == 0.5
    assert watch.data_wait_share == 3.0 / 12.0

    resumed, module = Throughput(clips_per_batch=8), Module()
    resumed.load_state_dict(watch.state_dict())
    clock.now += 1000
    loader.waited_seconds = 7.0
    watch = resumed
    watch.on_train_start(trainer, module)
    step(wait=1.0, work=1.0)
    step(wait=1.0, work=1.0)
    assert module.logged[0]["data_wait_share"] == 0.5 and watch.data_wait_share == 5.0 / 16.0


def test_with_accumulation_a_step_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, module = Clock(monkeypatch), Module()
    trainer, watch = a_trainer(a_loader(), world_size=1, log_every_n_steps=1), Throughput(clips_per_batch=8)
    watch.on_train_start(trainer, module)
    for batch in range(6):
        watch.on_train_batch_start(trainer, module, None, batch)
        clock.now += 1
        trainer.global_step = (batch + 1) // 3
        watch.on_train_batch_end(trainer, module, None, None, batch)
    assert [facts["clips_per_second"] for facts in module.logged] == [8.0, 8.0]


def test_on_a_gpu_only_idle_time_is_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events are places on the GPU's own clock: it is told of a step at once, and works on it for 3 s."""
    clock, loader = Clock(monkeypatch), a_loader()
    gpu = SimpleNamespace(free_at=100.0)

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = max(clock.now, gpu.free_at)

        def synchronize(self) -> None:
            pass

        def elapsed_time(self, later: "Event") -> float:
            return 1000 * (later.at - self.at)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 2_500_000_000)
    monkeypatch.setattr(throughput, "MOST_PENDING", 2)
    module, trainer = Module("cuda"), a_trainer(loader, world_size=1, log_every_n_steps=4)
    watch = Throughput(clips_per_batch=8)
    watch.on_train_start(trainer, module)
    for wait in (0.0, 2.0, 3.5, 5.0):  # the first has nothing before it; 2.0 s lie within the 3 s of work
        clock.now += wait
        loader.waited_seconds += wait
        watch.on_train_batch_start(trainer, module, None, 0)
        gpu.free_at = max(clock.now, gpu.free_at) + 3.0
        trainer.global_step += 1
        watch.on_train_batch_end(trainer, module, None, None, 0)
    # step 2 is asked for at 102, begins at 103, ends at 106; step 3 at 105.5, so begins at 106, ends at 109; step 4
    # is asked for at 110.5: the GPU has stood still from 109 on
    assert watch.waited_seconds == pytest.approx(1.5)
    assert module.logged[0]["gpu_memory_gb"] == 2.5


def test_the_loader_counts_only_what_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Tones):
        def gather(self, rows: np.ndarray, starts: np.ndarray, count: int) -> np.ndarray:
            import time

            time.sleep(0.02)
            return super().gather(rows, starts, count)

    import time

    loader = ClipLoader(Slow(), np.arange(16), input_samples=243, batch_size=4, seed=0)
    for _ in loader:
        pass
    hurried = loader.waited_seconds
    assert hurried > 0.06  # four batches of 20 ms, of which one may be made while another is taken
    for _ in loader:
        time.sleep(0.1)
    assert loader.waited_seconds - hurried < 0.06  # the first alone is waited for


def test_what_depends_on_the_machine_has_a_table_of_its_own(tmp_path: Path) -> None:
    tiny_training(tmp_path, trainer={"log_every_n_steps": 2})
    metrics, facts = (list(csv.DictReader((tmp_path / name).open())) for name in ("metrics.csv", "machine.csv"))
    assert not [name for name in metrics[0] if name.startswith("machine/")]
    names = {"machine/clips_per_second", "machine/data_wait_share", "machine/resident_memory_gb"}
    assert facts[0].keys() == {"step", "epoch", *names}
    assert [(row["step"], row["epoch"]) for row in facts] == [("1", "0"), ("3", "0"), ("5", "1"), ("7", "1")]
    assert all(float(row["machine/clips_per_second"]) > 0 for row in facts)
    assert all(0 <= float(row["machine/data_wait_share"]) <= 1 for row in facts)


def test_the_two_tables_share_what_is_logged(tmp_path: Path) -> None:
    learnt, facts = MetricsFile(tmp_path / "a.csv"), MetricsFile(tmp_path / "b.csv", of_machine=True)
    for file in (learnt, facts):
        file.log_metrics({"epoch": 0, "train/loss": 1.0, "machine/clips_per_second": 5.0}, step=1)
        file.log_metrics({"epoch": 0, "valid/loss": 2.0}, step=1)
    assert learnt.path.read_text() == "step,epoch,train/loss,valid/loss\n1,0,1.0,\n1,0,,2.0\n"
    assert facts.path.read_text() == "step,epoch,machine/clips_per_second\n1,0,5.0\n"


def test_run_json_knows_every_session(tmp_path: Path) -> None:
    settings = {"checkpoint_every_steps": 1, "kind": "pitch"}
    for place in (["batch", 0, 2], ["batch", 1, 1]):
        with pytest.raises(RuntimeError, match="stopped by the test"):
            tiny_training(tmp_path, stop=place, **settings)
    assert json.loads((tmp_path / "run.json").read_text())["finished"] is None
    tiny_training(tmp_path, **settings)
    run = json.loads((tmp_path / "run.json").read_text())
    # a save that falls due behind a batch that the test stops in does not happen
    assert [session["step"] for session in run["sessions"]] == [0, 2, 5]
    starts = [session["started"] for session in run["sessions"]]
    assert starts == sorted(starts) and run["started"] <= starts[0] and starts[-1] <= run["finished"]
    assert run["settings"]["optimizer"]["name"] == "adam" and run["catalog"]["fingerprint"] == Tones().fingerprint()
    encoder = sum(weight.numel() for weight in tiny_encoder().parameters())
    head = 16 * 4 + 4 + 4 * 3 + 3
    assert run["parameters"] == {"learnt": encoder + head, "encoder": encoder}


def test_a_frozen_encoder_has_parameters_that_do_not_learn(tmp_path: Path) -> None:
    from ssl_music.methods import Supervised
    from ssl_music.methods.train import train

    options = {"accelerator": "cpu", "max_steps": 1}
    method = Supervised(tiny_encoder(), "pitch", frozen=True)
    train(method, Tones(), out=tmp_path, batch_size=4, trainer_options=options)
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["parameters"] == {"learnt": 16 * 3 + 3, "encoder": sum(w.numel() for w in method.encoder.parameters())}


def test_the_machine_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\nGCC version: gcc\n"
    )
    monkeypatch.setattr(machine, "DRIVER", tmp_path / "version")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    strategy = SimpleNamespace(root_device=torch.device("cuda"))
    trainer = SimpleNamespace(strategy=strategy, num_devices=2, num_nodes=1, world_size=2, precision="bf16-mixed")
    told = machine.machine(trainer)
    assert told["devices"] == ["NVIDIA H200"] * 2 and told["precision"] == "bf16-mixed"
    assert told["driver"] == "570.86.15" and "cuda" in told
    text = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\n"
    (tmp_path / "version").write_text(text)
    assert machine.machine(trainer)["driver"] == "535.129.03"
    strategy.root_device = torch.device("cpu")
    assert "driver" not in machine.machine(trainer)


def test_the_state_rides_in_the_checkpoint(tmp_path: Path) -> None:
    tiny_training(tmp_path)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]["Throughput"]
    assert state["batches"] == 8 and state["seconds"] > 0 and tiny_method().views == 2
