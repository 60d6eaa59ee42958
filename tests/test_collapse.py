"""The alarm rings for an encoder that says one thing about everything, by whatever method, and for nothing else."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from training_toy import RATE, SMALL, Tones, tiny_encoder

from ssl_music._registry import members
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder, ShortChunk
from ssl_music.errors import UserError
from ssl_music.losses import alignment, uniformity
from ssl_music.methods import Method, SimCLR, Supervised
from ssl_music.methods.parts.collapse import CollapseWarning, CollapseWatch, spread
from ssl_music.methods.parts.momentum import drift, follow, momentum_copy
from ssl_music.methods.train import train


class Constant(Encoder):
    """The same embedding for every wave, up to rounding."""

    def __init__(self) -> None:
        super().__init__()
        self.sample_rate, self.input_samples, self.embedding_dim = RATE, 243, 8
        self.point = nn.Parameter(torch.ones(8))

    def forward(self, wave: Tensor) -> Tensor:
        return self.point + 1e-6 * wave.mean(dim=2)  # (B, 8)


class Following(Method):
    """Two views and no negatives, against a second network that follows: nothing but the rank tells a collapse."""

    crops = views = 2
    advice = "a decay nearer to 1, or a predictor"

    def __init__(self, encoder: Encoder, *, decay: float = 0.99, learning_rate: float = 1e-3) -> None:
        super().__init__(encoder, augment=(), learning_rate=learning_rate, weight_decay=0.0)
        self.decay = decay
        self.momentum_encoder = momentum_copy(encoder)
        self.predictor = nn.Linear(encoder.embedding_dim, encoder.embedding_dim)

    def losses(self, clips: Clips) -> dict[str, Tensor]:
        embedding = self.encoded(clips.view(0))  # (B, D)
        with torch.no_grad():
            target = self.momentum_encoder(clips.view(1))
        predicted = self.predictor(embedding)
        self.watched = {"embedding": embedding.detach(), "projection": predicted.detach()}
        self.pairs = predicted.detach(), target
        return {"loss": 1 - functional.cosine_similarity(predicted, target).mean()}

    def stepped(self) -> None:
        follow(self.momentum_encoder, self.encoder, self.decay)

    def measures(self) -> dict[str, float]:
        return {"momentum_drift": drift(self.momentum_encoder, self.encoder)}


class Predicting(Method):
    """The loudness of a clip from its embedding: no pairs, no labels, no trivial loss."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder, augment=(), learning_rate=1e-3, weight_decay=0.0)
        self.head = nn.Linear(encoder.embedding_dim, 1)

    def losses(self, clips: Clips) -> dict[str, Tensor]:
        embedding = self.encoded(clips.view(0))
        self.watched = {"embedding": embedding.detach()}
        loudness = clips.view(0).square().mean(dim=2).log10()
        return {"loss": (self.head(embedding) - loudness).square().mean()}


def of_ours(name: str) -> Callable[[Encoder], Method]:
    return lambda encoder: members(Method)[name](encoder, augment=(), **SMALL[name])


KINDS = {
    **{name: of_ours(name) for name in SMALL},
    "following": Following,
    "predicting": Predicting,
    "one of three tags": lambda encoder: Supervised(encoder, "pitch"),
    "several of four tags": lambda encoder: Supervised(encoder, "traits"),
    "a head on what is frozen": lambda encoder: Supervised(encoder, "pitch", frozen=True),
}


def training(method: Method, out: Path, steps: int = 130) -> dict:
    options = {"accelerator": "cpu", "max_steps": steps}
    train(method, Tones(train=24), out=out, batch_size=8, valid_split=None, trainer_options=options)
    return json.loads((out / "run.json").read_text())


def healthy_encoder() -> Encoder:
    return ShortChunk(width=4, depth=3, bands=32, sample_rate=RATE, input_samples=2048)


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_encoder_alarms(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    method = KINDS[kind](Constant())
    with pytest.warns(
        CollapseWarning, match=r"COLLAPSED at step 120: the embedding is the same for everything, up to 0.00% of"
    ) as said:
        run = training(method, tmp_path)
    (message,) = [str(one.message) for one in said if one.category is CollapseWarning]  # once, not at every look
    assert message.endswith(f"try {method.advice}.")
    assert run["warnings"] == [message] and run["collapsed"]
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    flag = lines[0].split(",").index("train/collapsed")
    assert [line.split(",")[flag] for line in lines[1:]] == ["0.0"] * 11 + ["1.0"] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_healthy_one_does_not(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CollapseWarning)
        run = training(KINDS[kind](healthy_encoder()), tmp_path)
    assert run["collapsed"] == run["warnings"] == []


def test_every_symptom_of_a_collapsed_contrast_is_said(tmp_path: Path) -> None:
    torch.manual_seed(0)
    with pytest.warns(CollapseWarning):
        run = training(SimCLR(Constant()), tmp_path)
    embedding, projection, pairs, loss = run["collapsed"]
    assert embedding.startswith("the embedding is the same") and projection.startswith("the projection is the same")
    assert "views of one track 1.000, of different tracks 1.000 (alignment" in pairs and "uniformity" in pairs
    assert loss.startswith("loss 100.0% of what guessing costs")


@pytest.mark.parametrize(
    ("decay", "learning_rate", "symptom"),
    [
        (0.0, 1e-3, "the momentum encoder is the encoder"),
        (1.0, 0.3, r"the momentum encoder does not follow: \d"),
    ],
    ids=["a copy", "left behind"],
)
def test_a_momentum_encoder_that_is_none(decay: float, learning_rate: float, symptom: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    with pytest.warns(CollapseWarning, match=symptom):
        training(Following(healthy_encoder(), decay=decay, learning_rate=learning_rate), tmp_path)
    assert "train/momentum_drift" in (tmp_path / "metrics.csv").read_text().splitlines()[0]


def healthy(rows: int = 32, width: int = 16) -> tuple[Tensor, Tensor]:
    """Two views of each track: the same direction with a little noise, each track another."""
    generator = torch.Generator().manual_seed(1)
    tracks = torch.randn(rows // 2, width, generator=generator)
    first, second = (tracks + 0.3 * torch.randn(rows // 2, width, generator=generator) for _ in range(2))
    return first, second


LINE = torch.outer(torch.linspace(1, 2, 32), torch.ones(16))
FIRST, SECOND = healthy()


@pytest.mark.parametrize(
    ("rows", "pairs", "over_trivial", "symptoms"),
    [
        (torch.ones(32, 16), None, None, ["same for everything, up to 0.00%"]),
        (torch.zeros(32, 16), None, None, ["same for everything, up to 0.00%"]),
        (LINE, None, None, ["effective rank of the projection 1.0 of 16"]),
        (torch.cat([FIRST, SECOND]), (FIRST, SECOND.roll(1, 0)), None, ["similarity of views of one track"]),
        (torch.cat([FIRST, SECOND]), (FIRST, SECOND), 0.996, ["loss 99.6% of"]),
    ],
    ids=["a point", "nothing at all", "a line", "pairs no nearer than others", "the loss of a guess"],
)
def test_each_symptom(
    rows: Tensor, pairs: tuple[Tensor, Tensor] | None, over_trivial: float | None, symptoms: list[str]
) -> None:
    watch = CollapseWatch(grace_steps=0, patience=1)
    facts = watch.look({"projection": rows}, pairs, over_trivial=over_trivial, step=1)
    assert facts["collapsed"] == 1 and len(watch.symptoms) == len(symptoms)
    assert all(part in said for part, said in zip(symptoms, watch.symptoms, strict=True))


def test_no_symptom() -> None:
    watch = CollapseWatch(grace_steps=0, patience=1)
    wide = torch.cat(healthy(width=64))
    facts = watch.look(
        {"embedding": wide, "projection": torch.cat([FIRST, SECOND])},
        (FIRST, SECOND),
        over_trivial=0.9,
        measures={"momentum_drift": 0.01},
        step=1,
    )
    assert facts["collapsed"] == 0 and watch.symptoms == []
    assert facts["effective_rank_embedding"] > 10 and facts["effective_rank_projection"] > 10
    assert facts["positive_similarity"] > 0.8 and abs(facts["negative_similarity"]) < 0.2
    assert facts["momentum_drift"] == 0.01
    assert facts["alignment"] == pytest.approx(2 - 2 * facts["positive_similarity"]) == alignment(FIRST, SECOND)
    assert facts["uniformity"] == (uniformity(FIRST) + uniformity(SECOND)) / 2 < -3


def test_a_loss_that_is_worse_than_a_guess_is_no_collapse() -> None:
    watch = CollapseWatch(grace_steps=0, patience=1)
    for over_trivial, collapsed in ((0.994, 0), (0.996, 1), (1.004, 1), (1.6, 0)):
        facts = watch.look({"projection": FIRST}, (FIRST, SECOND), over_trivial=over_trivial, step=1)
        assert facts["collapsed"] == collapsed


def test_two_classes_on_a_line_are_no_collapse() -> None:
    watch = CollapseWatch(grace_steps=0, patience=1)
    assert watch.look({"embedding": LINE}, labelled=True, step=1)["collapsed"] == 0
    assert watch.look({"embedding": torch.ones(32, 16)}, labelled=True, step=2)["collapsed"] == 1


def test_so_few_rows_that_they_say_nothing() -> None:
    watch = CollapseWatch(grace_steps=0, patience=1)
    for rows in (1, 2, 7):
        some = FIRST[:rows]
        facts = watch.look({"embedding": some}, (some, some) if rows == 1 else None, step=rows)
        assert facts["collapsed"] == 0 and ("uniformity" in facts) == (rows > 1)


def test_the_spread() -> None:
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    mean = [sum(row[axis].item() for row in rows) / 5 for axis in range(4)]
    deviation = sum((row[axis].item() - mean[axis]) ** 2 for row in rows for axis in range(4))
    length = sum(row[axis].item() ** 2 for row in rows for axis in range(4))
    assert spread(rows) == pytest.approx((deviation / length) ** 0.5, abs=1e-12)
    assert spread(7 * rows) == pytest.approx(spread(rows), abs=1e-12)


def test_patience_and_grace() -> None:
    watch, same = CollapseWatch(grace_steps=100, patience=2), {"projection": torch.ones(8, 4)}
    flags = [watch.look(same, step=step)["collapsed"] for step in (50, 90, 100, 110, 120)]
    assert flags == [0, 0, 0, 1, 1]
    assert watch.look({"projection": FIRST}, step=130)["collapsed"] == 0
    assert watch.look(same, step=140)["collapsed"] == 0


def test_the_state_survives_resuming() -> None:
    watch, other = CollapseWatch(grace_steps=0, patience=1), CollapseWatch()
    watch.look({"projection": torch.ones(8, 4)}, step=1)
    watch.alarms.append("COLLAPSED at step 1")
    other.load_state_dict(watch.state_dict())
    assert other.collapsed and other.symptoms == watch.symptoms and other.alarms == watch.alarms


class Diverging(SimCLR):
    def losses(self, clips: Clips) -> dict[str, Tensor]:
        losses = super().losses(clips)
        return {**losses, "loss": losses["loss"] * (float("nan") if self.global_step >= 3 else 1)}


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path: Path) -> None:
    options = {"accelerator": "cpu", "max_epochs": 3, "log_every_n_steps": 1}
    with pytest.raises(UserError, match="the loss is nan at step 4: the training has diverged"):
        train(Diverging(tiny_encoder()), Tones(), out=tmp_path, batch_size=4, trainer_options=options)
    assert not (tmp_path / "encoder.safetensors").exists()
