"""Norms folded away: the same numbers from every encoder, and the encoder itself untouched."""

from typing import Any

import pytest
import torch
from contracts.test_encoders import CASES, build, noise
from published.parts import lively
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_music.encoders import FCN, Encoder, MusiCNN, SampleCNN, SampleCNNSE, ShortChunk
from ssl_music.encoders.fcn import FORMS
from ssl_music.encoders.folding import folded
from ssl_music.tagger import Tagger


def norms(network: nn.Module) -> list[str]:
    return [name for name, part in network.named_modules() if isinstance(part, _BatchNorm)]


@pytest.mark.parametrize(("kind", "arguments"), CASES)
def test_every_encoder_gives_the_same_vectors(kind: type[Encoder], arguments: dict[str, Any]) -> None:
    encoder = lively(build(kind, arguments))
    state = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    wave = noise(encoder)
    with torch.inference_mode():
        torch.testing.assert_close(folded(encoder)(wave), encoder(wave), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(tensor, state[name]) for name, tensor in encoder.state_dict().items())


@pytest.mark.parametrize(
    ("encoder", "left"),
    [
        (SampleCNN(width=4, depth=4), []),
        (SampleCNNSE(width=4, depth=4), []),
        (ShortChunk(width=4, residual=True), ["input_norm"]),
        (MusiCNN(), ["input_norm"]),
        (FCN(**FORMS["tutorial"]), ["input_norm"]),
        (SampleCNN(width=8, depth=4, norm="group"), []),
    ],
)
def test_only_norms_that_follow_a_layer_at_once_go(encoder: Encoder, left: list[str]) -> None:
    before = norms(encoder)
    fast = folded(encoder)
    assert set(norms(fast)) <= set(left)
    assert norms(encoder) == before
    assert not fast.training
    assert not any(parameter.requires_grad for parameter in fast.parameters())
    assert sum(isinstance(part, nn.GroupNorm) for part in fast.modules()) == sum(
        isinstance(part, nn.GroupNorm) for part in encoder.modules()
    )


def test_a_tagger_folds_whole() -> None:
    torch.manual_seed(0)
    tagger = lively(Tagger(SampleCNN(width=4, depth=4), ["calm", "loud"], column="mood", multi_label=True))
    wave = noise(tagger.encoder)
    fast = folded(tagger)
    torch.testing.assert_close(fast.probabilities(wave), tagger.probabilities(wave), rtol=1e-5, atol=1e-6)
    assert not norms(fast)
