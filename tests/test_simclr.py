"""SimCLR against its parts, its negatives over several processes, and that it learns."""

import numpy as np
import pytest
import torch
from torch import nn
from training_toy import RATE, Tones, tiny_encoder

from ssl_music.augment import PolarityInversion
from ssl_music.clips import ClipLoader, Clips
from ssl_music.encoders import SampleCNN, ShortChunk
from ssl_music.errors import UserError
from ssl_music.losses import nt_xent, similarity_statistics, trivial_loss
from ssl_music.methods import SimCLR


def some_clips(crops: int = 2, tracks: int = 5, samples: int = 243) -> Clips:
    wave = torch.randn(crops, tracks, 1, samples, generator=torch.Generator().manual_seed(0))
    return Clips(0.1 * wave, rows=torch.arange(tracks))


def test_is_nt_xent_of_the_projections() -> None:
    method = SimCLR(tiny_encoder("layer"), temperature=0.2, projection_dim=6)
    clips = some_clips()
    a, b = (method.projector(method.encoder(clips.view(view))) for view in (0, 1))
    losses = method.losses(clips)
    torch.testing.assert_close(losses["loss"], nt_xent(a, b, 0.2))
    torch.testing.assert_close(losses["loss_over_trivial"], losses["loss"] / trivial_loss(5))


def test_decoupled_is_the_loss_of_that_name() -> None:
    method = SimCLR(tiny_encoder("layer"), decoupled=True)
    losses = method.losses(some_clips())
    first, second = method.pairs
    torch.testing.assert_close(losses["loss"].detach(), nt_xent(first, second, 0.5, decoupled=True))
    assert losses["loss"] < nt_xent(first, second, 0.5)
    torch.testing.assert_close(losses["loss_over_trivial"], losses["loss"] / trivial_loss(5, decoupled=True))


def test_both_views_go_through_the_encoder_at_once() -> None:
    method, seen = SimCLR(tiny_encoder("batch")), []
    method.encoder.register_forward_pre_hook(lambda _, wave: seen.append(wave[0].shape))
    method.losses(some_clips())
    assert seen == [(10, 1, 243)]
    assert {name: rows.shape for name, rows in method.watched.items()} == {
        "embedding": (10, 16),
        "projection": (10, 64),
    }
    assert not any(rows.requires_grad for rows in method.watched.values())


def test_one_crop_gives_two_views_of_the_same_samples() -> None:
    method = SimCLR(tiny_encoder("layer"), crops=1)
    assert method.crops == 1 and method.views == 2
    method.losses(some_clips(crops=1))
    a, b = method.watched["embedding"].chunk(2)
    assert torch.equal(a, b)
    method = SimCLR(tiny_encoder("layer"), [PolarityInversion(p=0.5)], crops=1)
    method.losses(some_clips(crops=1, tracks=16))
    a, b = method.watched["embedding"].chunk(2)
    assert not torch.equal(a, b)


def test_the_projector_is_that_of_the_paper() -> None:
    """CLMR: 512 → 512 → 64 without biases, ReLU between."""
    first, between, last = SimCLR(SampleCNN()).projector
    assert isinstance(between, nn.ReLU) and first.bias is None and last.bias is None
    assert first.weight.shape == (512, 512) and last.weight.shape == (64, 512)
    first, _, last = SimCLR(tiny_encoder(), hidden_dim=9, projection_dim=5).projector
    assert first.weight.shape == (9, 16) and last.weight.shape == (5, 9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crops": 3}, "crops=3"),
        ({"temperature": 0.0}, r"temperature=0\.0"),
        ({"hidden_dim": 0}, "hidden_dim=0"),
        ({"projection_dim": 0}, "projection_dim=0"),
        ({"learning_rate": 0.0}, "learning_rate 0"),
        ({"weight_decay": -1.0}, "weight_decay -1"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        SimCLR(tiny_encoder(), **arguments)


def test_a_batch_of_one_is_an_error() -> None:
    with pytest.raises(UserError, match="2 or more"):
        SimCLR(tiny_encoder()).losses(some_clips(tracks=1))


def test_learns_to_tell_tones_apart() -> None:
    """Forty steps bring the crops of one tone together and push those of other tones away."""
    torch.manual_seed(0)
    encoder = ShortChunk(width=8, depth=3, bands=32, sample_rate=RATE, input_samples=2048)
    method = SimCLR(encoder, temperature=0.2, projection_dim=16, learning_rate=3e-3)
    music = Tones(train=24, valid=0)
    loader = ClipLoader(music, np.arange(24), input_samples=2048, batch_size=12, crops=2, seed=0)
    optimizer = method.configure_optimizers()
    for epoch in range(20):
        loader.set_epoch(epoch)
        for clips in loader:
            optimizer.zero_grad()
            losses = method.losses(clips.float())
            losses["loss"].backward()
            optimizer.step()
    own, others = similarity_statistics(*method.watched["projection"].chunk(2))
    assert losses["loss_over_trivial"] < 0.7 and own - others > 0.3
