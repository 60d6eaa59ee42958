"""The alarm rings for an encoder that says one thing about everything, and for nothing else."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor
from training_toy import RATE, Tones, tiny_encoder

from ssl_music.clips import Clips
from ssl_music.encoders import Encoder, ShortChunk
from ssl_music.errors import UserError
from ssl_music.methods import SimCLR
from ssl_music.methods.collapse import CollapseWarning, CollapseWatch
from ssl_music.methods.train import train


class Constant(Encoder):
    """The same embedding for every wave, up to rounding."""

    def __init__(self) -> None:
        super().__init__()
        self.sample_rate, self.input_samples, self.embedding_dim = RATE, 243, 8
        self.point = torch.nn.Parameter(torch.ones(8))

    def forward(self, wave: Tensor) -> Tensor:
        return self.point + 1e-6 * wave.mean(dim=2)  # (B, 8)


def training(method: SimCLR, out: Path, steps: int) -> dict:
    options = {"accelerator": "cpu", "max_steps": steps}
    train(
        method,
        Tones(train=24),
        out=out,
        batch_size=8,
        valid_split=None,
        trainer_options=options,
    )
    return json.loads((out / "run.json").read_text())


def test_a_constant_encoder_alarms(tmp_path: Path) -> None:
    torch.manual_seed(0)
    with pytest.warns(
        CollapseWarning, match=r"COLLAPSED at step 120: effective rank of the embedding 1\.0 of 8"
    ) as said:
        run = training(SimCLR(Constant(), learning_rate=1e-3), tmp_path, 130)
    assert len([one for one in said if one.category is CollapseWarning]) == 1  # once, not at every look
    assert len(run["collapsed"]) == 4 and "of ln(2B − 1)" in run["collapsed"][3]
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    flag = lines[0].split(",").index("train/collapsed")
    assert [line.split(",")[flag] for line in lines[1:]] == ["0.0"] * 11 + ["1.0"] * 2


def test_a_healthy_one_does_not(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = ShortChunk(width=4, depth=3, bands=32, sample_rate=RATE, input_samples=2048)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CollapseWarning)
        run = training(SimCLR(encoder, temperature=0.2, learning_rate=3e-3), tmp_path, 130)
    assert run["collapsed"] == []


def healthy(rows: int = 32, width: int = 16) -> Tensor:
    """Two views of each track: the same direction with a little noise, each track another."""
    generator = torch.Generator().manual_seed(1)
    tracks = torch.randn(rows // 2, width, generator=generator)
    return torch.cat([tracks, tracks]) + 0.3 * torch.randn(rows, width, generator=generator)


@pytest.mark.parametrize(
    ("rows", "over_trivial", "symptom"),
    [
        (torch.ones(32, 16), None, "effective rank"),
        (torch.outer(torch.linspace(1, 2, 32), torch.ones(16)), None, "effective rank"),
        (healthy()[torch.randperm(32, generator=torch.Generator().manual_seed(2))], None, "views of one track"),
        (healthy(), 0.996, "loss 99.6% of"),
    ],
    ids=["a point", "a line", "pairs no nearer than others", "the loss of a guess"],
)
def test_each_symptom(rows: Tensor, over_trivial: float | None, symptom: str) -> None:
    watch = CollapseWatch(grace_steps=0, patience=1)
    facts = watch.look({"projection": rows}, over_trivial=over_trivial, step=1)
    assert facts["collapsed"] == 1 and symptom in "".join(watch.symptoms)


def test_no_symptom() -> None:
    watch = CollapseWatch(grace_steps=0, patience=1)
    facts = watch.look({"embedding": healthy(width=64), "projection": healthy()}, over_trivial=0.9, step=1)
    assert facts["collapsed"] == 0 and watch.symptoms == []
    assert facts["effective_rank_embedding"] > 10 and facts["effective_rank_projection"] > 10
    assert facts["positive_similarity"] > 0.8 and abs(facts["negative_similarity"]) < 0.2


def test_patience_and_grace() -> None:
    watch, same = CollapseWatch(grace_steps=100, patience=2), {"projection": torch.ones(8, 4)}
    flags = [watch.look(same, over_trivial=None, step=step)["collapsed"] for step in (50, 90, 100, 110, 120)]
    assert flags == [0, 0, 0, 1, 1]
    assert watch.look({"projection": healthy()}, over_trivial=None, step=130)["collapsed"] == 0
    assert watch.look(same, over_trivial=None, step=140)["collapsed"] == 0


def test_the_state_survives_resuming() -> None:
    watch, other = CollapseWatch(grace_steps=0, patience=1), CollapseWatch()
    watch.look({"projection": torch.ones(8, 4)}, over_trivial=None, step=1)
    other.load_state_dict(watch.state_dict())
    assert other.collapsed and other.symptoms == watch.symptoms


class Diverging(SimCLR):
    def losses(self, clips: Clips) -> dict[str, Tensor]:
        losses = super().losses(clips)
        return {**losses, "loss": losses["loss"] * (float("nan") if self.global_step >= 3 else 1)}


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path: Path) -> None:
    options = {"accelerator": "cpu", "max_epochs": 3, "log_every_n_steps": 1}
    with pytest.raises(UserError, match="the loss is nan at step 4: the training has diverged"):
        train(Diverging(tiny_encoder()), Tones(), out=tmp_path, batch_size=4, trainer_options=options)
    assert not (tmp_path / "encoder.safetensors").exists()
