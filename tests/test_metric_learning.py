"""Metric learning: both losses against loops in float64 and closed forms, mining against the library's own."""

import builtins
import itertools
import math

import numpy as np
import pytest
import torch
from pytorch_metric_learning.miners import MultiSimilarityMiner
from torch import nn
from training_toy import Tones, tiny_encoder

from ssl_music import checkpoint
from ssl_music.clips import Clips
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.methods import MetricLearning
from ssl_music.methods.metric_learning import MOST_ROWS_OF_TRIPLETS
from ssl_music.methods.parts.pairs import hard_pairs, tag_pairs
from ssl_music.methods.train import train

ONE_TAG = torch.eye(3)[[0, 1, 0, 2, 1, 0, 2]]
SEVERAL = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 1, 1], [0, 0, 1, 1], [1, 1, 1, 0], [0, 0, 0, 1.0]])


class Given(Encoder):
    """The first numbers of a wave are its embedding."""

    sample_rate = 8000

    def __init__(self, dim: int = 5) -> None:
        super().__init__()
        self.dim = self.input_samples = self.embedding_dim = self.minimum_samples = dim
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, wave):
        return self.scale * wave[:, 0]


def losses(rows: torch.Tensor, targets: torch.Tensor, **arguments) -> dict[str, torch.Tensor]:
    method = MetricLearning(Given(rows.shape[1]), **arguments).double().eval()
    return method.losses(Clips(rows[None, :, None], torch.arange(len(rows)), targets))


def some_rows(count: int) -> torch.Tensor:
    return torch.randn(count, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(count))


def by_hand(targets: torch.Tensor, overlap: float) -> tuple[set, set]:
    """Positive and negative pairs from sets of tags."""
    tags = [set(np.flatnonzero(row.numpy())) for row in targets]
    pairs = list(itertools.permutations(range(len(tags)), 2))
    positive = {(i, j) for i, j in pairs if len(tags[i] & tags[j]) / len(tags[i] | tags[j]) >= overlap}
    return positive, {(i, j) for i, j in pairs if not tags[i] & tags[j]}


@pytest.mark.parametrize("overlap", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("targets", [ONE_TAG, SEVERAL], ids=["one tag", "several"])
def test_pairs_are_what_the_sets_of_tags_say(targets: torch.Tensor, overlap: float) -> None:
    found = [{tuple(pair) for pair in mask.nonzero().tolist()} for mask in tag_pairs(targets, overlap)]
    assert found == list(by_hand(targets, overlap))


@pytest.mark.parametrize("margin", [None, 0.7])
@pytest.mark.parametrize("targets", [ONE_TAG, SEVERAL], ids=["one tag", "several"])
def test_triplet_loss_is_the_loop(targets: torch.Tensor, margin: float | None) -> None:
    rows = some_rows(len(targets))
    unit = rows / rows.norm(dim=1, keepdim=True)
    positive, negative = by_hand(targets, 0.5)
    costs = []
    for (a, p), (b, n) in itertools.product(positive, negative):
        if a == b:
            apart = ((unit[a] - unit[p]) ** 2).sum() - ((unit[a] - unit[n]) ** 2).sum()
            costs.append(max(0.0, float(apart) + (margin or 0.2)))
    found = losses(rows, targets, margin=margin)
    violated = [cost for cost in costs if cost > 0]
    assert 0 < len(violated) < len(costs)
    assert found["loss"].item() == pytest.approx(sum(violated) / len(violated), abs=1e-7)
    over_trivial = sum(costs) / len(costs) / (margin or 0.2)
    assert found["loss_over_trivial"].item() == pytest.approx(over_trivial, abs=1e-6)
    assert found["positive_pairs"].item() == len(positive)


@pytest.mark.parametrize("targets", [ONE_TAG, SEVERAL], ids=["one tag", "several"])
def test_multi_similarity_loss_is_the_loop(targets: torch.Tensor) -> None:
    rows = some_rows(len(targets))
    similarity = (rows @ rows.T / rows.norm(dim=1) / rows.norm(dim=1)[:, None]).tolist()
    positive, negative = by_hand(targets, 0.5)
    total, left_out = 0.0, 0
    for i, row in enumerate(similarity):
        near = [row[j] for a, j in positive if a == i]
        far = [row[j] for a, j in negative if a == i]
        if near and far:
            hard_near = [s for s in near if s < max(far) + 0.1]
            hard_far = [s for s in far if s > min(near) - 0.1]
            left_out += len(near) + len(far) - len(hard_near) - len(hard_far)
            total += math.log1p(sum(math.exp(-2 * (s - 0.5)) for s in hard_near)) / 2
            total += math.log1p(sum(math.exp(50 * (s - 0.5)) for s in hard_far)) / 50
    assert left_out > 0
    found = losses(rows, targets, loss="multi_similarity")
    assert found["loss"].item() == pytest.approx(total / len(rows), abs=1e-12)


def test_mining_is_the_librarys_where_it_can_be() -> None:
    """Its miner knows one label a row only."""
    rows, labels = nn.functional.normalize(some_rows(7)), ONE_TAG.argmax(dim=1)
    positive, negative = tag_pairs(ONE_TAG, 0.5)
    hard = hard_pairs(rows @ rows.T, positive, negative, 0.1)
    a1, p, a2, n = MultiSimilarityMiner(epsilon=0.1)(rows, labels)
    for mask, first, second in ((positive, a1, p), (negative, a2, n)):
        assert {tuple(pair) for pair in (mask & hard).nonzero().tolist()} == set(
            zip(first.tolist(), second.tolist(), strict=True)
        )


def test_embeddings_all_the_same_cost_what_is_called_trivial() -> None:
    same = torch.ones(7, 5, dtype=torch.float64)
    triplet = losses(same, ONE_TAG)
    assert triplet["loss"].item() == pytest.approx(0.2) and triplet["loss_over_trivial"].item() == pytest.approx(1)
    multi = losses(same, ONE_TAG, loss="multi_similarity")
    # every pair at similarity 1: tags on 3, 2 and 2 tracks
    by_row = {2: 4, 1: 5}
    cost = {p: math.log1p(p * math.exp(-1)) / 2 + math.log1p(n * math.exp(25)) / 50 for p, n in by_row.items()}
    assert multi["loss"].item() == pytest.approx((3 * cost[2] + 4 * cost[1]) / 7)
    assert multi["loss_over_trivial"].item() == pytest.approx(1)


@pytest.mark.parametrize("loss", ["triplet", "multi_similarity"])
def test_rows_of_one_tag_together_cost_less_than_across_tags(loss: str) -> None:
    apart = torch.eye(5, dtype=torch.float64)[[0, 1, 0, 2, 1, 0, 2]]
    wrong = torch.eye(5, dtype=torch.float64)[[0, 1, 2, 0, 2, 1, 1]]
    good, bad = losses(apart, ONE_TAG, loss=loss), losses(wrong, ONE_TAG, loss=loss)
    assert good["loss"] < bad["loss"] and good["loss_over_trivial"] < 0.1 < bad["loss_over_trivial"]
    if loss == "triplet":
        assert good["loss"] == 0


@pytest.mark.parametrize("loss", ["triplet", "multi_similarity"])
@pytest.mark.parametrize("targets", [torch.eye(3), torch.ones(3, 1)], ids=["no positive", "no negative"])
def test_a_batch_without_a_comparison_costs_nothing(targets: torch.Tensor, loss: str) -> None:
    method = MetricLearning(Given(), loss=loss).eval()
    found = method.losses(Clips(some_rows(3).float()[None, :, None], torch.arange(3), targets))
    found["loss"].backward()
    assert found["loss"] == 0 and found["loss_over_trivial"] == 0 and method.encoder.scale.grad == 0


def test_learns_which_pitch_is_which(tmp_path) -> None:
    music = Tones(train=24, valid=12)
    torch.manual_seed(0)
    method = MetricLearning(tiny_encoder(), "pitch", learning_rate=1e-2)
    before = checkpoint_losses(method, music)
    weights = train(
        method, music, out=tmp_path, batch_size=12, trainer_options={"accelerator": "cpu", "max_epochs": 15}
    )
    assert weights.name == "encoder.safetensors" and isinstance(checkpoint.load(weights), Encoder)
    after = checkpoint_losses(MetricLearning(checkpoint.load(weights), "pitch"), music)
    assert after < 0.7 * before


def checkpoint_losses(method: MetricLearning, music: Tones) -> float:
    tracks, targets = method.examples(music, music.split("valid"))
    rows = np.arange(24, 24 + len(tracks))
    wave = torch.from_numpy(music.gather(rows, np.zeros(len(rows), int), 243))[None, :, None]
    with torch.no_grad():
        found = method.eval().losses(Clips(wave, torch.from_numpy(rows), torch.from_numpy(targets)).float())
    return float(found["loss_over_trivial"])


def test_what_cannot_be_learnt_is_said() -> None:
    music = Tones(train=3, valid=3)
    with pytest.raises(UserError, match=r"one of them on two tracks.*among 3 tracks that are trained on: 'high' 1"):
        MetricLearning(tiny_encoder(), "pitch").prepare(music, music.split("train"))
    with pytest.raises(UserError, match="unknown loss of MetricLearning 'tripled'; did you mean 'triplet'"):
        MetricLearning(tiny_encoder(), loss="tripled")
    with pytest.raises(UserError, match="only triplet has one"):
        MetricLearning(tiny_encoder(), loss="multi_similarity", margin=0.2)
    with pytest.raises(UserError, match="positive_overlap=0"):
        MetricLearning(tiny_encoder(), positive_overlap=0)
    with pytest.raises(UserError, match="came none"):
        MetricLearning(Given()).losses(Clips(torch.ones(1, 3, 1, 5), torch.arange(3)))


def test_without_the_library_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def missing(name: str, *rest):
        if name.startswith("pytorch_metric_learning"):
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UserError, match=r"ssl-music\[metric\]"):
        MetricLearning(tiny_encoder())


def test_triplets_of_a_batch_that_is_too_large() -> None:
    method = MetricLearning(tiny_encoder(), "pitch")
    rows = MOST_ROWS_OF_TRIPLETS + 1
    with pytest.raises(UserError, match="triplets of a batch of 513 rows do not fit; wanted at most 512"):
        method.losses(Clips(torch.zeros(1, rows, 1, 243), torch.arange(rows), torch.eye(3)[torch.arange(rows) % 3]))
