"""batch_size auto: what is counted, that it is right for larger batches, and that nothing else is touched."""

import json
import re
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Trainer
from training_toy import Tones, tiny_method, tiny_training

from ssl_music import _memory
from ssl_music.clips import Clips
from ssl_music.errors import UserError
from ssl_music.methods import SimCLR
from ssl_music.methods.train import fitting
from ssl_music.methods.train.trainer import build_trainer

MIB = 2**20


def batch(size: int, method: SimCLR) -> Clips:
    wave = torch.zeros(method.crops, size, 1, method.input_samples, dtype=torch.int16)
    return Clips(
        wave=wave + torch.arange(method.input_samples, dtype=torch.int16), rows=torch.arange(size), targets=None
    )


def on_cpu(**options) -> Trainer:
    return build_trainer(
        {"accelerator": "cpu", "max_epochs": 1, "enable_progress_bar": False, **options},
        out=Path(),
        callbacks=[],
        loggers=[],
    )


def found(method: SimCLR, monkeypatch: pytest.MonkeyPatch, mib: float, most: int = 10**6, **options) -> fitting.Fit:
    monkeypatch.setattr(fitting, "available_bytes", lambda: int(mib * MIB))
    return fitting.largest_batch(method, lambda size: batch(size, method), trainer=on_cpu(**options), most=most)


def peak(method: SimCLR, size: int) -> int:
    return fitting._peak_bytes(method, batch(size, method), on_cpu(), method.chunk_size)


def test_bytes_are_counted_as_long_as_they_live() -> None:
    with fitting._Counted() as counted:
        first = torch.zeros(1000)  # 4000
        view = first[10:].view(-1, 10)
        second = torch.zeros(500, dtype=torch.float64)  # 4000
        assert counted.peak == 8000
        del first, second
        third = torch.zeros(1000)  # beside what the view holds
        assert counted.peak == 8000
        del view, third
        torch.zeros(3000)
    assert counted.peak == 12000


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("chunk_size", [None, 8])
def test_it_is_the_largest_power_of_two_that_fits(
    norm: str, chunk_size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted at that size the step fits, and at twice that size it does not."""
    method = tiny_method(norm=norm)
    method.chunk_size = chunk_size
    size = found(method, monkeypatch, mib=12).batch_size
    weights = fitting.COPIES * sum(parameter.nbytes for parameter in method.parameters())
    assert size & (size - 1) == 0 and size >= 32
    allowed = fitting.SHARE_OF_FREE * 12 * MIB
    assert peak(method, size) + weights <= 1.05 * allowed
    assert peak(method, 2 * size) + weights > 0.95 * allowed


def test_a_step_in_chunks_fits_more_tracks(monkeypatch: pytest.MonkeyPatch) -> None:
    method = tiny_method()
    whole = found(method, monkeypatch, mib=12).batch_size
    method.chunk_size = 8
    assert found(method, monkeypatch, mib=12).batch_size > whole


def test_half_precision_fits_no_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    method = tiny_method()
    full, half = (found(method, monkeypatch, mib=20, precision=name).batch_size for name in ("32-true", "bf16-true"))
    assert half >= full and method.dtype == torch.float32


@pytest.mark.parametrize(("most", "size"), [(2, 2), (3, 2), (5, 4), (18, 16), (64, 64)])
def test_an_epoch_is_the_limit(most: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(tiny_method(), monkeypatch, mib=1000, most=most).batch_size == size


def test_nothing_else_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    method = tiny_method(norm="batch")
    method.stepped = lambda: pytest.fail("no step is taken")
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    drawn = torch.random.get_rng_state()
    found(method, monkeypatch, mib=20)
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.state_dict().items())
    assert all(parameter.grad is None for parameter in method.parameters())
    assert torch.equal(drawn, torch.random.get_rng_state())
    assert method.watched == {} and method.chunk_size is None


def test_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"not even two tracks fit \(.* MiB a track, 0 MiB free\); take a smaller"):
        found(tiny_method(), monkeypatch, mib=0.01)


def test_several_devices_are_told_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"these are 2: run once with trainer\.devices 1, and give the number"):
        found(tiny_method(), monkeypatch, mib=10, devices=2, strategy="ddp")


@pytest.mark.parametrize(("room", "size"), [(100, 64), (63, 32), (17, 16), (10**9, 128)])
def test_on_a_gpu_batches_are_tried(room: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the GPU itself: each size twice the one before, until one is refused or nearly fills it."""
    tried = []

    def reserved(method: SimCLR, clips: Clips, trainer: Trainer) -> int | None:
        tried.append(len(clips))
        return len(clips) * MIB if len(clips) <= room else None

    monkeypatch.setattr(fitting, "_reserved_bytes", reserved)
    memory = type("Properties", (), {"total_memory": 200 * MIB})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: memory)
    method = tiny_method()
    fit = fitting._tried(method, lambda size: batch(size, method), on_cpu(), 200)
    assert fit.batch_size == size and tried == [2**power for power in range(1, len(tried) + 1)]


def test_a_run_says_and_keeps_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = {"batch_size": "auto"}
    weights = tiny_training(tmp_path / "auto", batch_size="auto", recipe=recipe)
    told = capsys.readouterr().err
    assert re.search(r"^batch_size auto: 16 \([\d.]+ MiB a track, [\d,]+ MiB free\)$", told, re.MULTILINE)
    run = json.loads((tmp_path / "auto" / "run.json").read_text())
    assert run["found"] == {"batch_size": 16} and len(Tones().split("train")) == 18
    assert run["settings"]["batch_size"] == "auto" and run["steps"] == 2
    tiny_training(tmp_path / "number", batch_size=16)
    for name in ("auto", "number"):
        assert (tmp_path / name / "encoder.safetensors").exists()
    assert (tmp_path / "auto" / "metrics.csv").read_text() == (tmp_path / "number" / "metrics.csv").read_text()
    assert tiny_training(tmp_path / "auto", batch_size="auto", recipe=recipe) == weights  # finished already
    with pytest.raises(UserError, match=r"settings\.batch_size: 'auto' there, 16 here"):
        tiny_training(tmp_path / "auto", batch_size=16)


def test_a_word_that_is_no_size(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="batch_size 'many'; wanted a number, or auto"):
        tiny_training(tmp_path / "run", batch_size="many")


@pytest.mark.parametrize("version", [1, 2])
def test_control_groups_are_respected(version: int, tmp_path: Path) -> None:
    """The group's own limit, or a tighter one above it; pages of files count as free."""
    own, root = tmp_path / "cgroup", tmp_path / "root"
    top = root / "memory" if version == 1 else root
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    names = names if version == 1 else ("memory.max", "memory.current", "inactive_file")
    own.write_text("5:cpu:/\n4:memory:/outer/inner\n0::/\n" if version == 1 else "0::/outer/inner\n")
    for place, limit, used, pages in (("outer", 1000, 700, 100), ("outer/inner", 900, 100, 0)):
        (top / place).mkdir(parents=True)
        for name, value in zip(names, (limit, used), strict=False):
            (top / place / name).write_text(f"{value}\n")
        (top / place / "memory.stat").write_text(f"cache 5\n{names[2]} {pages}\nother 3\n")
    assert sorted(_memory._granted(root, own)) == [400, 800]
    (top / "outer" / names[0]).write_text("max\n")
    assert list(_memory._granted(root, own)) == [800]
    assert list(_memory._granted(root, tmp_path / "nowhere")) == []
