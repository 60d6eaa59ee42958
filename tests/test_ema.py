"""The average against its formula, where it is used, and that the training does not notice it."""

import copy
import csv
import json
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Callback
from torch import Tensor, nn
from training_toy import Tones, tiny_method, tiny_training

from ssl_music import checkpoint
from ssl_music.errors import UserError
from ssl_music.methods import Method, SimCLR
from ssl_music.methods.train import train
from ssl_music.methods.train.average import averaged


class Seen(Callback):
    """The weights of the encoder behind every step, and in every validation."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []
        self.validated: list[dict[str, Tensor]] = []

    def on_train_start(self, trainer, pl_module) -> None:
        self.steps.append(self._weights(pl_module))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.global_step == len(self.steps):
            self.steps.append(self._weights(pl_module))

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0) -> None:
        if batch_idx == 0:
            self.validated.append(self._weights(pl_module))

    def _weights(self, method: Method) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in method.encoder.state_dict().items()}


def run(out: Path, method: Method | None = None, **settings) -> Seen:
    seen = Seen()
    options = {"accelerator": "cpu", "max_epochs": 2, "log_every_n_steps": 1, "callbacks": [seen]}
    options |= settings.pop("trainer", {})
    method = method or tiny_method(norm="batch")
    train(method, Tones(), out=out, batch_size=4, seed=3, trainer_options=options, **settings)
    return seen


def by_formula(steps: list[dict[str, Tensor]], decay: float) -> dict[str, Tensor]:
    """In float64, one entry after the other; what counts batches is not averaged."""
    average = {name: tensor.double() for name, tensor in steps[0].items()}
    for step, weights in enumerate(steps[1:], start=1):
        share = min(decay, (1 + step) / (10 + step))
        for name in average:
            average[name] = share * average[name] + (1 - share) * weights[name].double()
    return average


def close(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    names = [name for name in wanted if not name.endswith("num_batches_tracked")]
    return all(torch.allclose(found[name].double(), wanted[name], rtol=1e-5, atol=1e-7) for name in names)


@pytest.mark.parametrize("decay", [0.3, 0.999])
@pytest.mark.parametrize("accumulated", [1, 2])
def test_what_is_left_is_the_average(decay: float, accumulated: int, tmp_path: Path) -> None:
    """0.3 is reached at the fourth step; up to 0.999 the share is that of the step."""
    seen = run(tmp_path, ema_decay=decay, trainer={"accumulate_grad_batches": accumulated})
    assert len(seen.steps) == 8 // accumulated + 1
    left = checkpoint.load(tmp_path / "encoder.safetensors").state_dict()
    assert close(left, by_formula(seen.steps, decay)) and not close(left, by_formula(seen.steps[-1:], decay))


def test_validation_and_best_are_of_the_average(tmp_path: Path) -> None:
    seen = run(tmp_path, ema_decay=0.9)
    for validated, steps in zip(seen.validated, (5, 9), strict=True):
        assert close(validated, by_formula(seen.steps[:steps], 0.9))
    kept = json.loads((tmp_path / "run.json").read_text())["best"]
    best = checkpoint.load(tmp_path / "best.safetensors").state_dict()
    assert close(best, by_formula(seen.steps[: kept["step"] + 1], 0.9))


def test_the_training_does_not_notice(tmp_path: Path) -> None:
    """Its weights, its momenta and its losses are bit for bit those of a training without average."""
    with_average, without = run(tmp_path / "with", ema_decay=0.9), run(tmp_path / "without")
    for ours, theirs in zip(with_average.steps, without.steps, strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    saved, plain = (torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("with", "without"))
    assert all(torch.equal(saved["state_dict"][name], plain["state_dict"][name]) for name in plain["state_dict"])
    losses = []
    for name in ("with", "without"):
        with (tmp_path / name / "metrics.csv").open() as file:
            losses.append([row["train/loss"] for row in csv.DictReader(file)])
    assert losses[0] == losses[1]


def test_copies_and_frozen_parts_are_their_own(tmp_path: Path) -> None:
    class Followed(SimCLR):
        def __init__(self, method: SimCLR) -> None:
            super().__init__(method.encoder, augment=[], projection_dim=8, learning_rate=1e-2)
            self.target = copy.deepcopy(self.encoder).requires_grad_(False)
            self.register_buffer("queue", torch.zeros(3))

        def stepped(self) -> None:
            self.queue.add_(1)
            for ours, theirs in zip(self.target.buffers(), self.encoder.buffers(), strict=True):
                ours.copy_(theirs)

    torch.manual_seed(0)
    method = Followed(tiny_method(norm="batch"))
    before = [parameter.clone() for parameter in method.target.parameters()]
    assert not [name for name, _ in averaged(method) if "target" in name or "queue" in name]
    seen = run(tmp_path, method, ema_decay=0.9)
    assert all(torch.equal(new, old) for new, old in zip(method.target.parameters(), before, strict=True))
    assert method.queue.tolist() == [8, 8, 8]
    last = seen.steps[-1]
    assert all(torch.equal(tensor, last[name]) for name, tensor in method.target.named_buffers())
    assert close(dict(method.encoder.state_dict()), by_formula(seen.steps, 0.9))


def test_norms_without_weights_are_averaged_with_what_learns_beside_them() -> None:
    head = nn.ModuleDict({"head": nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, affine=False))})
    assert [name for name, _ in averaged(head)][-2:] == ["head.1.running_mean", "head.1.running_var"]


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.5, 1.5])
def test_decays_that_are_none(decay: float, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"ema_decay {decay}; wanted between 0 and 1"):
        tiny_training(tmp_path / "run", ema_decay=decay)
    assert not (tmp_path / "run").exists()
