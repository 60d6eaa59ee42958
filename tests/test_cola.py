"""COLA against a double loop over its similarities, what a guess costs, and what learns."""

import math

import pytest
import torch
from torch import nn
from training_toy import tiny_encoder, tiny_method, tiny_training

from ssl_music import checkpoint
from ssl_music.clips import Clips
from ssl_music.encoders import SampleCNN
from ssl_music.errors import UserError
from ssl_music.methods import COLA


def some_clips(tracks: int = 5) -> Clips:
    wave = torch.randn(2, tracks, 1, 243, generator=torch.Generator().manual_seed(0))
    return Clips(0.1 * wave, rows=torch.arange(tracks))


def naive_loss(method: COLA, clips: Clips) -> float:
    """−log exp(s(a_i, b_i)) / Σ_j exp(s(a_i, b_j)), with every step of projector and similarity written out."""
    linear, norm, _ = method.projector
    projected = []
    for view in (0, 1):
        rows = []
        for wave in clips.view(view).double():
            raw = linear.weight @ method.encoder(wave[None])[0] + linear.bias
            centred = raw - raw.mean()
            rows.append(torch.tanh(centred / (centred.square().mean() + 1e-5).sqrt() * norm.weight + norm.bias))
        projected.append(rows)
    total = 0.0
    for number, anchor in enumerate(projected[0]):
        scores = [(anchor @ method.similarity @ positive).item() for positive in projected[1]]
        total -= scores[number] - math.log(sum(math.exp(score) for score in scores))
    return total / len(clips)


def test_is_the_cross_entropy_of_bilinear_similarities() -> None:
    method, clips = tiny_method("COLA", augment=False).double(), some_clips()
    losses = method.losses(clips)
    assert losses["loss"].item() == pytest.approx(naive_loss(method, clips), abs=1e-12)
    assert losses["loss_over_trivial"].item() == pytest.approx(losses["loss"].item() / math.log(5), abs=1e-12)


def test_where_nothing_is_told_apart_it_costs_a_guess() -> None:
    method = tiny_method("COLA", augment=False)
    clips = some_clips(tracks=7)
    clips.wave = clips.wave[:, :1].expand(2, 7, 1, 243)
    losses = method.losses(clips)
    assert losses["loss"].item() == pytest.approx(math.log(7), abs=1e-5)
    assert losses["loss_over_trivial"].item() == pytest.approx(1, abs=1e-5)
    assert not losses["loss_over_trivial"].requires_grad


def test_both_crops_go_through_the_encoder_at_once_and_are_watched() -> None:
    method, seen = tiny_method("COLA"), []
    method.encoder.register_forward_pre_hook(lambda _, wave: seen.append(wave[0].shape))
    clips = some_clips()
    method.losses(clips)
    assert seen == [(10, 1, 243)]
    assert {name: rows.shape for name, rows in method.watched.items()} == {
        "embedding": (10, 16),
        "projection": (10, 8),
    }
    assert torch.equal(torch.cat(method.pairs), method.watched["projection"])
    assert not any(rows.requires_grad for rows in (*method.watched.values(), *method.pairs))


def test_anchors_and_positives_both_teach_the_encoder() -> None:
    method = tiny_method("COLA", augment=False)
    embeddings = []

    def keep(module: nn.Module, wave: tuple, embedding: torch.Tensor) -> None:
        embedding.retain_grad()
        embeddings.append(embedding)

    method.encoder.register_forward_hook(keep)
    clips = some_clips()
    method.losses(clips)["loss"].backward()
    assert (embeddings[0].grad.abs().sum(dim=1) > 0).all()
    assert all(weight.grad is not None for weight in method.parameters())
    assert method.similarity.grad.abs().max() > 0


def test_the_projector_is_that_of_the_paper() -> None:
    linear, norm, squash = COLA(SampleCNN()).projector
    assert linear.weight.shape == (512, 512) and norm.normalized_shape == (512,) and isinstance(squash, nn.Tanh)
    similarity = COLA(tiny_encoder()).similarity
    assert similarity.shape == (512, 512) and similarity.std().item() == pytest.approx(1 / 512, rel=0.02)


def test_the_first_loss_is_that_of_a_guess() -> None:
    torch.manual_seed(0)
    losses = COLA(tiny_encoder("batch")).losses(some_clips(tracks=32))
    assert losses["loss_over_trivial"].item() == pytest.approx(1, abs=0.1)


def test_bad_arguments_and_a_batch_of_one() -> None:
    with pytest.raises(UserError, match="projection_dim=0; wanted 1 or more"):
        COLA(tiny_encoder(), projection_dim=0)
    clips = some_clips(tracks=1)
    with pytest.raises(UserError, match="2 or more"):
        tiny_method("COLA").losses(clips)


def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(tmp_path) -> None:
    whole = tiny_training(tmp_path / "whole", kind="COLA")
    with pytest.raises(RuntimeError, match="stopped by the test"):
        tiny_training(tmp_path / "cut", kind="COLA", stop=["batch", 1, 1], checkpoint_every_steps=1)
    again = tiny_training(tmp_path / "cut", kind="COLA", checkpoint_every_steps=1)
    digests = [checkpoint.load(path).digest() for path in (whole, again)]
    assert digests[0] == digests[1] != tiny_method("COLA").encoder.digest()
