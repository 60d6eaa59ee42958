"""Supervised: the right loss for the column, a frozen encoder that stays as it is, tags that cannot be learnt."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.nn import functional
from training_toy import Tones, tiny_encoder, tiny_training

from ssl_music import checkpoint
from ssl_music.augment import Gain
from ssl_music.catalogs import Track
from ssl_music.clips import ClipLoader, Clips
from ssl_music.encoders import ShortChunk
from ssl_music.errors import UserError
from ssl_music.methods import Supervised
from ssl_music.methods.train import train
from ssl_music.tagger import Tagger


def prepared(column: str | None = "traits", **arguments) -> Supervised:
    music, method = Tones(), Supervised(tiny_encoder("batch"), column, **arguments)
    method.prepare(music, music.split("train"))
    return method


def some_clips(targets: list[list[float]] | None) -> Clips:
    wave = torch.randn(1, 3, 1, 243, generator=torch.Generator().manual_seed(0))
    return Clips(wave / 10, rows=torch.arange(3), targets=None if targets is None else torch.tensor(targets))


def test_several_tags_are_learnt_each_for_itself() -> None:
    method = prepared("traits")
    assert method.artefact().multi_label and method.artefact().tags == ["high", "low", "middle", "trembling"]
    clips = some_clips([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    method.eval()
    losses = method.losses(clips)
    expected = functional.binary_cross_entropy(method.artefact().probabilities(clips.view()), clips.targets)
    torch.testing.assert_close(losses["loss"], expected)
    assert set(losses) == {"loss", "loss_over_trivial"}


def test_one_tag_is_learnt_against_the_others() -> None:
    method = prepared("pitch")
    assert not method.artefact().multi_label
    clips = some_clips([[1, 0, 0], [0, 1, 0], [0, 1.0, 0]])
    method.eval()
    losses = method.losses(clips)
    probabilities = method.artefact().probabilities(clips.view())
    expected = -probabilities[torch.arange(3), torch.tensor([0, 1, 1])].log().mean()
    torch.testing.assert_close(losses["loss"], expected)
    hits = (probabilities.argmax(dim=1) == torch.tensor([0, 1, 1])).float().mean()
    torch.testing.assert_close(losses["accuracy"], hits)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("column", ["traits", "pitch"])
def test_losses_are_the_loop_and_1_is_the_best_constant_answer(column: str, balanced: bool) -> None:
    """Over a training split whose tags are not equally frequent."""
    music, method = Uneven(), Supervised(tiny_encoder(), column, balanced=balanced)
    tracks, targets = method.examples(music, music.split("train"))
    method.prepare(music, tracks)
    count, tags = targets.shape
    rates = targets.mean(axis=0).astype(float)
    weights = np.ones(tags)
    if balanced:
        weights = (1 - rates) / rates if column == "traits" else 1 / (tags * rates)

    def by_hand(logits: np.ndarray) -> float:
        total = 0.0
        for row, truth in zip(logits, targets, strict=True):
            for k in range(tags):
                if column == "pitch":
                    total -= weights[k] * truth[k] * (row[k] - np.log(np.exp(row).sum())) / count
                else:
                    chance = 1 / (1 + np.exp(-row[k]))
                    total -= weights[k] * truth[k] * np.log(chance) / count / tags
                    total -= (1 - truth[k]) * np.log(1 - chance) / count / tags
        return total

    method.double().eval()
    clips = Clips(torch.randn(1, count, 1, 243).double() / 10, torch.arange(count), torch.from_numpy(targets))
    logits = method.artefact()(clips.view()).detach().numpy()
    found = method.losses(clips)
    assert found["loss"].item() == pytest.approx(by_hand(logits), rel=1e-6)
    # the best constant answer, found by a method that knows no formula
    constant = torch.zeros(tags, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([constant], max_iter=100, line_search_fn="strong_wolfe")

    def cost() -> torch.Tensor:
        optimizer.zero_grad()
        weighted = torch.from_numpy(weights)
        truth, rows = clips.targets.double(), constant.expand(count, -1)
        if column == "pitch":
            loss = -(weighted * truth * rows.log_softmax(dim=1)).sum(dim=1).mean()
        else:
            loss = functional.binary_cross_entropy_with_logits(rows, truth, pos_weight=weighted)
        loss.backward()
        return loss

    optimizer.step(cost)
    least = cost().item()
    assert method.trivial == pytest.approx(least, rel=1e-6)
    assert found["loss_over_trivial"].item() == pytest.approx(by_hand(logits) / least, rel=1e-6)
    if balanced and column == "pitch":
        assert least == pytest.approx(np.log(tags)) and constant.detach().std() < 1e-3


def test_augments_in_training_only() -> None:
    method = prepared("traits", augment=[Gain(p=1.0)])
    clips, heard = some_clips([[0, 0, 0, 1.0]] * 3), []
    method.encoder.register_forward_pre_hook(lambda _, wave: heard.append(wave[0]))
    for mode in (True, True, False):
        method.train(mode).losses(clips)
    assert not torch.equal(heard[0], clips.view()) and not torch.equal(heard[0], heard[1])
    assert torch.equal(heard[2], clips.view())


def test_a_frozen_encoder_stays_bit_by_bit() -> None:
    method = prepared("traits", frozen=True, dropout=0.5, learning_rate=0.1)
    before = {name: tensor.clone() for name, tensor in method.encoder.state_dict().items()}
    head = {name: tensor.clone() for name, tensor in method.artefact().head.state_dict().items()}
    method.train()
    assert not any(module.training for module in method.encoder.modules()) and method.artefact().head.training
    optimizer = method.configure_optimizers()
    for _ in range(3):
        optimizer.zero_grad()
        method.losses(some_clips([[1, 0, 0, 1.0]] * 3))["loss"].backward()
        optimizer.step()
    assert all(torch.equal(before[name], tensor) for name, tensor in method.encoder.state_dict().items())
    assert not any(torch.equal(head[name], tensor) for name, tensor in method.artefact().head.state_dict().items())


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_and_fine_tuned_through_a_whole_training(frozen: bool, tmp_path: Path) -> None:
    start = tiny_encoder("batch")
    with torch.no_grad():
        start(torch.randn(8, 1, 243))  # statistics that are not those of a fresh one
    method = Supervised(start, "pitch", frozen=frozen, learning_rate=0.01)
    before = {name: tensor.clone() for name, tensor in start.state_dict().items()}
    options = {"accelerator": "cpu", "max_epochs": 1}
    weights = train(method, Tones(), out=tmp_path, batch_size=4, trainer_options=options)
    tagger = checkpoint.load_tagger(weights)
    after = tagger.encoder.state_dict()
    assert [torch.equal(before[name], after[name]) for name in before].count(frozen) == len(before)


def test_learns_the_pitch() -> None:
    """From scratch, on a log-mel encoder: every tone is named rightly."""
    music = Tones(train=24, valid=0)
    torch.manual_seed(0)
    encoder = ShortChunk(width=4, depth=3, bands=32, sample_rate=music.sample_rate, input_samples=2048)
    method = Supervised(encoder, "pitch", learning_rate=0.01)
    method.prepare(music, music.tracks)
    targets = music.targets(music.tracks, "pitch")
    loader = ClipLoader(music, np.arange(24), input_samples=2048, batch_size=12, seed=0, targets=targets)
    optimizer = method.configure_optimizers()
    for epoch in range(15):
        loader.set_epoch(epoch)
        for clips in loader:
            optimizer.zero_grad()
            method.losses(clips.float())["loss"].backward()
            optimizer.step()
    method.eval()
    assert all(method.losses(clips.float())["accuracy"] == 1 for clips in loader)


def test_the_best_epoch_is_kept(tmp_path: Path) -> None:
    weights = tiny_training(tmp_path, kind="traits", trainer={"max_epochs": 3})
    model = checkpoint.load(weights)
    assert weights.name == "tagger.safetensors" and isinstance(model, Tagger)
    assert model.digest() == checkpoint.load(tmp_path / "best.safetensors").digest()
    assert model.tags == ["high", "low", "middle", "trembling"] and model.column == "traits"


def test_without_a_validation_split_the_last_is_kept(tmp_path: Path) -> None:
    weights = tiny_training(tmp_path, kind="traits", valid_split=None)
    assert weights.exists() and not (tmp_path / "best.safetensors").exists()


class WithoutLow(Tones):
    """No low tone is left to train on."""

    @property
    def tracks(self) -> list[Track]:
        return [track for track in super().tracks if track.split == "valid" or track.labels["pitch"] != ("low",)]


def test_tags_that_no_training_track_has_are_named() -> None:
    music, method = WithoutLow(), Supervised(tiny_encoder(), "pitch")
    with pytest.raises(UserError, match=r"has 'low' \(column 'pitch'\)"):
        method.prepare(music, music.split("train"))


class Uneven(Tones):
    """Most of the low and some of the high tones are left out of the training."""

    @property
    def tracks(self) -> list[Track]:
        left_out = {1, 4, 7, 10, 0, 3}
        return [track for number, track in enumerate(super().tracks) if number not in left_out]


class OneTag(Tones):
    columns: ClassVar = {"one": False}

    @property
    def tracks(self) -> list[Track]:
        labels = [{"one": ("only",)} if number % 2 else {} for number in range(len(super().tracks))]
        pairs = zip(super().tracks, labels, strict=True)
        return [Track(track.id, track.path, labels=label, split=track.split) for track, label in pairs]


def test_only_labelled_tracks_take_part_and_one_tag_is_no_task() -> None:
    music, method = OneTag(), Supervised(tiny_encoder())
    tracks, targets = method.examples(music, music.tracks)
    assert len(tracks) == 13 and targets is not None and targets.shape == (13, 1)
    with pytest.raises(UserError, match="one tag 'only'"):
        method.prepare(music, tracks)
    with pytest.raises(UserError, match="none of 1 tracks has a tag in the column 'one'"):
        method.examples(music, music.tracks[:1])


class OneOfMany(OneTag):
    columns: ClassVar = {"one": True}


def test_a_tag_that_all_have_is_no_task() -> None:
    music, method = OneOfMany(), Supervised(tiny_encoder())
    tracks, _ = method.examples(music, music.tracks)
    with pytest.raises(UserError, match="all tracks that are trained on have the same tags in the column 'one'"):
        method.prepare(music, tracks)


def test_a_column_that_is_not_there_names_those_that_are() -> None:
    music = Tones()
    with pytest.raises(UserError, match="did you mean 'pitch'"):
        Supervised(tiny_encoder(), "pich").examples(music, music.tracks)
    with pytest.raises(UserError, match="which label column"):
        Supervised(tiny_encoder()).examples(music, music.tracks)


def test_missing_parts_are_said() -> None:
    with pytest.raises(UserError, match="no head yet"):
        Supervised(tiny_encoder(), "pitch").artefact()
    with pytest.raises(UserError, match=r"targets of shape \(3, 4\) with its clips; came none"):
        prepared().losses(some_clips(None))
