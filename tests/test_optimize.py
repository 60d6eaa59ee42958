"""Rates against their formulas, optimizers against loops in float64, what a recipe may say and what it may not."""

import csv
import json
import math
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from training_toy import tiny_method, tiny_training

from ssl_music import cli
from ssl_music.cli import parse, verbs
from ssl_music.errors import UserError
from ssl_music.methods.optimize import Optimization, Phase
from ssl_music.methods.optimize.phased import Kind, Phased
from ssl_music.methods.train.pace import Pace

#: the 2020 comparison: Adam, then SGD at three rates
PHASES = (Phase(80, 1e-3, nesterov=True), Phase(100, 1e-4, nesterov=True), Phase(120, 1e-5, nesterov=True))


def rates(out: Path) -> list[float]:
    """What a training has logged, a number for each step."""
    with (out / "metrics.csv").open() as file:
        return [float(row["train/learning_rate"]) for row in csv.DictReader(file) if row["train/learning_rate"]]


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)).double()


def learn(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    """Steps on data of their number, as Lightning takes them: with a closure."""
    for step in steps:
        wave = torch.randn(5, 3, generator=torch.Generator().manual_seed(step)).double()

        def closure(wave: torch.Tensor = wave) -> torch.Tensor:
            optimizer.zero_grad()
            loss = model(wave).square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)


def same(left: nn.Module, right: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left.parameters(), right.parameters(), strict=True))


def test_the_default_is_adam_with_decay_on_everything() -> None:
    ours, theirs = net(), net()
    learn(ours, Optimization().optimizer(ours, learning_rate=1e-2, weight_decay=0.1), range(4))
    learn(theirs, torch.optim.Adam(theirs.parameters(), lr=1e-2, weight_decay=0.1), range(4))
    assert same(ours, theirs)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_norms_and_biases_can_be_left_out_of_the_decay(name: str) -> None:
    """Without gradients only the decay moves weights."""
    model, before = net(), net()
    optimization = Optimization(name=name, decay_norms_and_biases=False)
    optimizer = optimization.optimizer(model, learning_rate=1e-2, weight_decay=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for new, old in zip(model.parameters(), before.parameters(), strict=True):
        assert torch.equal(new, old) == (new.ndim == 1)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]


def test_what_is_frozen_is_in_no_group() -> None:
    model = net()
    model[0].requires_grad_(False)
    for optimization in (Optimization(), Optimization(decay_norms_and_biases=False), Optimization(then=PHASES)):
        optimizer = optimization.optimizer(model, learning_rate=1e-2, weight_decay=0.1)
        assert sum(len(group["params"]) for group in optimizer.param_groups) == 4


@pytest.mark.parametrize("nesterov", [False, True])
def test_lars_against_the_formula(nesterov: bool) -> None:
    """You et al. 2017, algorithm 1, with the rate outside the momentum; one axis: SGD without decay."""
    pytest.importorskip("pytorch_optimizer")
    model, naive = net(), net()
    optimization = Optimization(name="lars", nesterov=nesterov)
    optimizer = optimization.optimizer(model, learning_rate=0.3, weight_decay=0.01)
    momenta = [torch.zeros_like(parameter) for parameter in naive.parameters()]
    for step in range(3):
        learn(model, optimizer, range(step, step + 1))
        wave = torch.randn(5, 3, generator=torch.Generator().manual_seed(step)).double()
        gradients = torch.autograd.grad(naive(wave).square().sum(), list(naive.parameters()))
        with torch.no_grad():
            for weight, gradient, momentum in zip(naive.parameters(), gradients, momenta, strict=True):
                if weight.ndim > 1:
                    trust = 1e-3 * weight.norm() / (gradient.norm() + 0.01 * weight.norm())
                    update = trust * (gradient + 0.01 * weight)
                else:
                    update = gradient
                momentum.mul_(0.9).add_(update)
                weight.sub_(0.3 * (update + 0.9 * momentum if nesterov else momentum))
    for ours, theirs in zip(model.parameters(), naive.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_lars_without_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    with pytest.raises(UserError, match=r"pip install 'ssl-music\[lars\]'"):
        Optimization(name="lars").optimizer(net(), learning_rate=0.3, weight_decay=0.0)


def test_phases_are_the_optimizers_by_hand() -> None:
    """Adam, SGD, SGD at another rate with the momenta it had, Adam anew."""
    ours, theirs = net(), net()
    kinds = [Kind("adam"), Kind("sgd", nesterov=True), Kind("sgd", nesterov=True), Kind("adam")]
    phased = Phased(kinds, [{"params": list(ours.parameters()), "weight_decay": 0.1}], 1e-2)
    for phase, rate in enumerate((1e-2, 1e-3, 1e-4, 1e-2)):
        phased.phase = phase
        for group in phased.param_groups:
            group["lr"] = rate
        learn(ours, phased, range(3 * phase, 3 * phase + 3))

    learn(theirs, torch.optim.Adam(theirs.parameters(), lr=1e-2, weight_decay=0.1), range(3))
    sgd = torch.optim.SGD(theirs.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=0.1)
    learn(theirs, sgd, range(3, 6))
    sgd.param_groups[0]["lr"] = 1e-4
    learn(theirs, sgd, range(6, 9))
    learn(theirs, torch.optim.Adam(theirs.parameters(), lr=1e-2, weight_decay=0.1), range(9, 12))
    assert same(ours, theirs)
    assert [len(optimizer.state) for optimizer in phased.optimizers] == [0, 0, 6]


def test_phases_resume() -> None:
    whole, first = net(), net()
    kinds = [Kind("adam"), Kind("sgd")]

    def phased(model: nn.Module) -> Phased:
        return Phased(kinds, [{"params": list(model.parameters()), "weight_decay": 0.0}], 1e-3)

    uninterrupted, before = phased(whole), phased(first)
    for model, optimizer in ((whole, uninterrupted), (first, before)):
        learn(model, optimizer, range(2))
        optimizer.phase = 1
        learn(model, optimizer, range(2, 4))
    second = net(9)
    second.load_state_dict(first.state_dict())
    after = phased(second)
    after.load_state_dict(before.state_dict())
    learn(second, after, range(4, 6))
    learn(whole, uninterrupted, range(4, 6))
    assert after.phase == 1 and same(whole, second)


def test_cosine_behind_a_warmup() -> None:
    optimization = Optimization(schedule="cosine", warmup_steps=5, final_learning_rate=0.01)
    found = [optimization.rate(0.1, step=step, epoch=0, total_steps=25) for step in range(26)]
    assert found[:5] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])
    assert found[5] == pytest.approx(0.1) and found[15] == pytest.approx(0.055) and found[25] == pytest.approx(0.01)
    assert found[9] == pytest.approx(0.01 + 0.09 * (1 + math.cos(math.pi * 4 / 20)) / 2)
    assert all(later < sooner for sooner, later in pairwise(found[5:]))


def test_phases_have_their_rates() -> None:
    optimization = Optimization(then=PHASES)
    found = {epoch: optimization.rate(1e-4, step=0, epoch=epoch) for epoch in (0, 79, 80, 99, 100, 119, 120, 500)}
    assert found == {0: 1e-4, 79: 1e-4, 80: 1e-3, 99: 1e-3, 100: 1e-4, 119: 1e-4, 120: 1e-5, 500: 1e-5}


def test_plateau() -> None:
    """The thesis: a tenth after two flat validations; SampleCNN: a fifth after three. A NaN is flat."""
    losses = [3.0, 2.0, 2.0, 2.5, 1.0, 1.0, math.nan, 1.5, 1.5, 0.5]
    method = tiny_method()
    for settings, cuts in (({}, [0, 0, 0, 1, 1, 1, 2, 2, 3, 3]), ({"factor": 0.2, "patience": 3}, [0] * 7 + [1] * 3)):
        method.optimization = Optimization(schedule="plateau", **settings)
        pace, found = Pace(), []
        for loss in losses:
            again = Pace()  # its memory is all in its state
            again.load_state_dict(pace.state_dict())
            pace = again
            metrics = {"valid/loss": torch.tensor(loss)}
            pace.on_validation_end(SimpleNamespace(callback_metrics=metrics, sanity_checking=False), method)
            found.append(pace.cuts)
        assert found == cuts
        rate = method.optimization.rate(1e-4, step=9, epoch=9, cuts=2)
        assert rate == pytest.approx(1e-4 * (0.2 if settings else 0.1) ** 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "adan"}, "unknown optimizer.name 'adan'; did you mean 'adam'"),
        ({"schedule": "cosin"}, "unknown optimizer.schedule 'cosin'; did you mean 'cosine'"),
        ({"momentum": 0.9}, "momentum and nesterov are of sgd and lars, and the optimizer is adam"),
        ({"name": "adamw", "nesterov": True}, "momentum and nesterov are of sgd and lars"),
        ({"name": "sgd", "momentum": 1.0}, "momentum 1.0; wanted 0 or more, below 1"),
        ({"name": "sgd", "momentum": 0.0, "nesterov": True}, "nesterov without momentum"),
        ({"final_learning_rate": 1e-6}, "final_learning_rate is of schedule cosine, and the schedule is constant"),
        ({"schedule": "cosine", "patience": 3}, "patience is of schedule plateau, and the schedule is cosine"),
        ({"factor": 0.5}, "factor is of schedule plateau"),
        ({"schedule": "plateau", "factor": 2.0}, "factor 2.0, patience None; wanted between 0 and 1"),
        ({"schedule": "plateau", "patience": 0}, "patience 0"),
        ({"warmup_steps": -1}, "warmup_steps -1"),
        ({"schedule": "cosine", "then": PHASES}, "phases .then. have constant rates"),
        ({"then": PHASES[::-1]}, r"after_epochs \[120, 100, 80\]; wanted in order"),
        ({"name": "lars", "decay_norms_and_biases": True}, "lars decays no norms and biases"),
    ],
    ids=str,
)
def test_mistakes(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Optimization(**settings)


def test_mistakes_of_a_phase() -> None:
    with pytest.raises(UserError, match="after_epochs 0"):
        Phase(0, 1e-3)
    with pytest.raises(UserError, match=r"optimizer\.then: momentum and nesterov are of sgd"):
        Phase(1, 1e-3, name="adam", nesterov=True)


@pytest.mark.parametrize(
    ("optimizer", "settings", "message"),
    [
        (Optimization(schedule="plateau"), {"valid_split": None}, "plateau is one of the validation loss"),
        (
            Optimization(schedule="cosine"),
            {"trainer": {"max_epochs": -1, "max_time": "00:00:01:00"}},
            "give the trainer max_epochs or max_steps",
        ),
        (Optimization(schedule="cosine", final_learning_rate=0.1), {}, "0.1 is above learning_rate 0.01"),
    ],
)
def test_mistakes_in_a_run_leave_nothing(
    optimizer: Optimization, settings: dict, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        tiny_training(tmp_path / "run", optimizer=optimizer, **settings)
    assert not (tmp_path / "run").exists()


def test_a_training_follows_its_schedule(tmp_path: Path) -> None:
    optimization = Optimization(schedule="cosine", warmup_steps=3)
    tiny_training(tmp_path, optimizer=optimization, trainer={"max_epochs": -1, "max_steps": 7})
    expected = [optimization.rate(1e-2, step=step, epoch=0, total_steps=7) for step in range(7)]
    assert rates(tmp_path) == pytest.approx(expected, rel=1e-6)
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["settings"]["optimizer"]["schedule"] == "cosine" and run["settings"]["optimizer"]["warmup_steps"] == 3
    with pytest.raises(UserError, match=r"optimizer\.warmup_steps: 3 there, 2 here"):
        other = Optimization(schedule="cosine", warmup_steps=2)
        tiny_training(tmp_path, optimizer=other, trainer={"max_epochs": -1, "max_steps": 7})


def test_a_training_goes_through_its_phases(tmp_path: Path) -> None:
    optimization = Optimization(then=[Phase(1, 1e-3, nesterov=True), Phase(2, 1e-4, nesterov=True)])
    tiny_training(tmp_path, optimizer=optimization, trainer={"max_epochs": 3})
    assert rates(tmp_path) == pytest.approx([1e-2] * 4 + [1e-3] * 4 + [1e-4] * 4, rel=1e-6)
    run = json.loads((tmp_path / "run.json").read_text())
    assert [phase["after_epochs"] for phase in run["settings"]["optimizer"]["then"]] == [1, 2]


def test_with_accumulation_the_rate_counts_steps(tmp_path: Path) -> None:
    optimization = Optimization(warmup_steps=4)
    tiny_training(tmp_path, optimizer=optimization, trainer={"accumulate_grad_batches": 2, "max_epochs": 2})
    assert sorted(set(rates(tmp_path))) == pytest.approx([2.5e-3, 5e-3, 7.5e-3, 1e-2], rel=1e-6)


def test_gradient_clipping_acts(tmp_path: Path) -> None:
    """One step of SGD moves the weights by rate × clipped norm; unclipped it moves them by more."""
    moved = {}
    for clip in (None, 1e-3):
        out = tmp_path / str(clip)
        trainer = {"max_epochs": -1, "max_steps": 1, **({"gradient_clip_val": clip} if clip else {})}
        sgd = Optimization(name="sgd", momentum=0.0)
        tiny_training(out, optimizer=sgd, trainer=trainer, valid_split=None, checkpoint_every_steps=1)
        after = torch.load(out / "last.ckpt", weights_only=True)["state_dict"]
        before = dict(tiny_method().named_parameters())
        squares = sum((after[name] - before[name].detach()).double().square().sum() for name in before)
        moved[clip] = float(squares) ** 0.5
    assert moved[1e-3] == pytest.approx(1e-2 * 1e-3, rel=1e-3)
    assert moved[None] > 10 * moved[1e-3]


RECIPE = """
catalog: {class_path: Folder, init_args: {root: music}}
method: {class_path: SimCLR, init_args: {encoder: SampleCNN}}
optimizer:
  name: adam
  then:
    - {after_epochs: 80, name: sgd, nesterov: true, learning_rate: 1.0e-3}
    - {after_epochs: 100, name: sgd, nesterov: true, learning_rate: 1.0e-4}
    - {after_epochs: 120, name: sgd, nesterov: true, learning_rate: 1.0e-5}
ema_decay: 0.999
batch_size: auto
trainer: {max_epochs: 200}
out: run
"""


def test_a_recipe_says_it(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    words = ["--recipe", str(tmp_path / "recipe.yaml")]
    arguments = parse.arguments(verbs.VERBS["pretrain"], words, without=("catalog",))
    assert arguments["optimizer"] == Optimization(then=list(PHASES))
    assert (arguments["ema_decay"], arguments["batch_size"]) == (0.999, "auto")
    assert arguments["config"]["optimizer"]["then"][2]["learning_rate"] == 1e-5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--optimizer.shedule", "cosine"], "unknown argument of Optimization 'shedule'; did you mean 'schedule'?"),
        (["--optimizer.then+={after_epochs: 3, rate: 3}"], "unknown argument of Phase 'rate'"),
        (["--batch_size", "many"], "in batch_size: came 'many'; wanted a whole number, or 'auto'"),
        (["--optimizer.name", "adan"], "in optimizer → name: unknown value 'adan'; did you mean 'adam'?"),
        (["--optimizer.schedule", "cosine"], "phases (then) have constant rates"),
    ],
)
def test_mistakes_in_a_recipe(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    assert cli.main(["pretrain", "--recipe", str(tmp_path / "recipe.yaml"), *words]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


def test_help_tells_of_the_optimizer(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["pretrain", "--optimizer.help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "{adam,adamw,sgd,lars}" in shown and "first steps, in which the rate grows linearly" in shown
