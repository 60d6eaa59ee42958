"""VICReg against loops over its expander and its three terms, what constants cost, and what learns."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from training_toy import tiny_encoder, tiny_method, tiny_training

from ssl_music import checkpoint
from ssl_music.augment import PolarityInversion
from ssl_music.clips import Clips
from ssl_music.encoders import MusiCNN, SampleCNN
from ssl_music.errors import UserError
from ssl_music.losses import vicreg
from ssl_music.methods import VICReg


def some_clips(crops: int = 2, tracks: int = 5) -> Clips:
    wave = torch.randn(crops, tracks, 1, 243, generator=torch.Generator().manual_seed(0))
    return Clips(0.1 * wave, rows=torch.arange(tracks))


def naive_terms(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Equations 1 to 5, number by number; the invariance as a mean over dimensions too, as the paper's code."""
    tracks, width = first.shape
    terms = {"invariance": 0.0, "variance": 0.0, "covariance": 0.0}
    for i in range(tracks):
        for d in range(width):
            terms["invariance"] += (first[i, d] - second[i, d]) ** 2 / (tracks * width)
    for z in (first, second):
        covariance = np.zeros((width, width))
        for d in range(width):
            for e in range(width):
                for i in range(tracks):
                    covariance[d, e] += (z[i, d] - z[:, d].mean()) * (z[i, e] - z[:, e].mean()) / (tracks - 1)
        for d in range(width):
            terms["variance"] += max(0.0, 1 - math.sqrt(covariance[d, d] + 1e-4)) / width
            terms["covariance"] += sum(covariance[d, e] ** 2 for e in range(width) if e != d) / width
    return terms


def naive_expander(method: VICReg, rows: np.ndarray) -> np.ndarray:
    """Linear, batch norm, ReLU; twice; linear."""
    for layer in (0, 3):
        weight, norm = method.expander[layer].weight.detach().numpy(), method.expander[layer + 1]
        rows = rows @ weight.T
        rows = (rows - rows.mean(0)) / np.sqrt(rows.var(0) + norm.eps)
        rows = np.maximum(0, rows * norm.weight.detach().numpy() + norm.bias.detach().numpy())
    return rows @ method.expander[6].weight.detach().numpy().T


def test_is_the_three_terms_of_the_expanded_views() -> None:
    torch.manual_seed(0)
    method, clips = VICReg(tiny_encoder(), expander_dim=12).double(), some_clips()
    rows = method.encoder(torch.cat([clips.view(0), clips.view(1)]).double()).detach().numpy()
    terms = naive_terms(*np.split(naive_expander(method, rows), 2))
    losses = {name: value.item() for name, value in method.losses(clips).items()}
    assert {name: losses[name] for name in terms} == pytest.approx(terms, abs=1e-12)
    expected = 25 * terms["invariance"] + 25 * terms["variance"] + terms["covariance"]
    assert losses["loss"] == pytest.approx(expected, abs=1e-11)
    assert losses["loss_over_trivial"] == pytest.approx(expected / 49.5, abs=1e-12)


def test_the_weights_are_those_given() -> None:
    clips = some_clips()
    torch.manual_seed(0)
    method = VICReg(tiny_encoder(), invariance=3.0, variance=5.0, covariance=7.0)
    losses = method.losses(clips)
    expected = 3 * losses["invariance"] + 5 * losses["variance"] + 7 * losses["covariance"]
    torch.testing.assert_close(losses["loss"], expected)
    torch.testing.assert_close(losses["loss_over_trivial"], expected / (10 * 0.99))
    assert [name for name, value in losses.items() if value.requires_grad] == ["loss"]


@pytest.mark.parametrize("variance", [25.0, 12.5])
def test_an_encoder_that_says_nothing_stands_at_one(variance: float) -> None:
    method = VICReg(tiny_encoder(), variance=variance, expander_dim=12)
    clips = some_clips()
    clips.wave = clips.wave[:1, :1].expand(2, 5, 1, 243)
    losses = method.losses(clips)
    assert losses["loss"].item() == pytest.approx(2 * variance * 0.99, abs=1e-4)
    assert losses["loss_over_trivial"].item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("rows, width", [(5, 12), (9, 64), (2, 7)])
def test_few_rows_cannot_spread_wide_for_nothing(rows: int, width: int) -> None:
    """The docstring's bound, reached by an orthonormal frame: 2 (P / (B − 1) − 1)."""
    generator = torch.Generator().manual_seed(0)
    bound = 2 * (width / (rows - 1) - 1)
    for _ in range(20):
        z = torch.randn(rows, width, generator=generator, dtype=torch.float64)
        z = (z - z.mean(0)) / z.std(0)
        terms = vicreg(z, z)
        assert terms.variance.item() == pytest.approx(0, abs=1e-4) and terms.covariance.item() >= bound - 1e-9
    # B − 1 harmonics repeated over the dimensions: all correlations are 0 or ±1
    if width % (rows - 1) == 0:
        time = (torch.arange(rows, dtype=torch.float64)[:, None] + 0.5) / rows
        waves = torch.cos(math.pi * time * torch.arange(1, rows))  # (B, B − 1)
        z = (waves / waves.std(0)).repeat(1, width // (rows - 1))
        assert vicreg(z, z).covariance.item() == pytest.approx(bound, abs=1e-9)


def test_both_views_go_through_encoder_and_expander_at_once() -> None:
    method, seen = tiny_method("VICReg"), []
    for module in (method.encoder, method.expander):
        module.register_forward_pre_hook(lambda _, rows: seen.append(rows[0].shape))
    method.losses(some_clips())
    assert seen == [(10, 1, 243), (10, 16)]
    assert {name: rows.shape for name, rows in method.watched.items()} == {
        "embedding": (10, 16),
        "projection": (10, 12),
    }
    assert torch.equal(torch.cat(method.pairs), method.watched["projection"])
    assert not any(rows.requires_grad for rows in (*method.watched.values(), *method.pairs))


def test_one_crop_gives_two_views_of_the_same_samples() -> None:
    method = VICReg(tiny_encoder(), crops=1)
    assert method.crops == 1 and method.views == 2
    assert method.losses(some_clips(crops=1))["invariance"].item() == pytest.approx(0, abs=1e-10)
    method = VICReg(tiny_encoder(), [PolarityInversion(p=0.5)], crops=1)
    assert method.losses(some_clips(crops=1, tracks=16))["invariance"] > 1e-6


def test_both_views_teach_the_encoder() -> None:
    method, embeddings = tiny_method("VICReg", augment=False), []

    def keep(module: nn.Module, wave: tuple, embedding: torch.Tensor) -> None:
        embedding.retain_grad()
        embeddings.append(embedding)

    method.encoder.register_forward_hook(keep)
    method.losses(some_clips())["loss"].backward()
    assert (embeddings[0].grad.abs().sum(dim=1) > 0).all()
    assert all(weight.grad.abs().max() > 0 for weight in method.expander.parameters())


def test_the_expander_is_that_of_the_paper_in_proportion() -> None:
    for encoder, width in ((SampleCNN(), 2048), (MusiCNN(), 800)):
        method = VICReg(encoder)
        kinds = [type(layer) for layer in method.expander]
        assert kinds == [*[nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2, nn.Linear]
        linears = [layer for layer in method.expander if isinstance(layer, nn.Linear)]
        shapes = [(width, encoder.embedding_dim), (width, width), (width, width)]
        assert [layer.weight.shape for layer in linears] == shapes and all(layer.bias is None for layer in linears)
    assert VICReg(tiny_encoder(), expander_dim=8192).expander[-1].weight.shape == (8192, 8192)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crops": 3}, "crops=3"),
        ({"invariance": -1.0}, r"invariance=-1\.0"),
        ({"variance": 0.0}, "of variance above 0: without it every embedding becomes the same"),
        ({"covariance": -1.0}, r"covariance=-1\.0"),
        ({"expander_dim": 1}, "expander_dim=1; wanted 2 or more"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        VICReg(tiny_encoder(), **arguments)


def test_a_batch_of_one_is_an_error() -> None:
    with pytest.raises(UserError, match="2 or more"):
        tiny_method("VICReg").losses(some_clips(tracks=1))


def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(tmp_path) -> None:
    whole = tiny_training(tmp_path / "whole", kind="VICReg", norm="batch")
    with pytest.raises(RuntimeError, match="stopped by the test"):
        tiny_training(tmp_path / "cut", kind="VICReg", norm="batch", stop=["batch", 1, 1], checkpoint_every_steps=1)
    again = tiny_training(tmp_path / "cut", kind="VICReg", norm="batch", checkpoint_every_steps=1)
    digests = [checkpoint.load(path).digest() for path in (whole, again)]
    assert digests[0] == digests[1] != tiny_method("VICReg", norm="batch").encoder.digest()
