"""ShortChunk against the networks of the 2020 comparison, written out here from their table."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_music.encoders import ShortChunk, parameter_count
from ssl_music.encoders.layers import ConvBlock, ResidualBlock
from ssl_music.encoders.spectrogram import LogMel
from ssl_music.errors import UserError

SMALL: dict[str, Any] = {"width": 6, "depth": 4, "bands": 32, "n_fft": 256, "hop": 128, "input_samples": 6000}


def published(state: dict[str, Tensor], image: Tensor, *, residual: bool, depth: int) -> Tensor:
    """The published forward up to the activation before dropout, in evaluation mode, from a log-mel image."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return F.batch_norm(x, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"])

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride=stride, padding=1)

    x = norm(image, "input_norm")
    for i in range(depth):
        block = f"blocks.{i}"
        if residual:
            inner = norm(conv(x, f"{block}.conv_1", 2), f"{block}.norm_1").relu()
            inner = norm(conv(inner, f"{block}.conv_2"), f"{block}.norm_2")
            x = (norm(conv(x, f"{block}.conv_3", 2), f"{block}.norm_3") + inner).relu()
        else:
            x = F.max_pool2d(norm(conv(x, f"{block}.conv"), f"{block}.norm").relu(), 2)
    x = x.squeeze(2)  # no bands are left beside one
    x = F.max_pool1d(x, x.shape[-1]).squeeze(2)
    return norm(F.linear(x, state["dense.weight"], state["dense.bias"]), "dense_norm").relu()


@pytest.mark.parametrize(("residual", "count"), [(False, 3_687_348), (True, 12_104_244)])
def test_encoder_and_published_head_have_the_published_count(residual: bool, count: int) -> None:
    encoder = ShortChunk(residual=residual)
    head = torch.nn.Linear(encoder.embedding_dim, 50)  # the published `dense2`; dropout holds nothing
    assert parameter_count(encoder) + parameter_count(head) == count
    facts = (encoder.sample_rate, encoder.input_samples, encoder.embedding_dim, encoder.bands)
    assert facts == (16000, 59049, 512, 128)
    kinds = {ResidualBlock if residual else ConvBlock}
    assert {type(block) for block in encoder.blocks} == kinds


@pytest.mark.parametrize(("residual", "bands"), [(False, 16), (False, 30), (True, 16)])
def test_equals_the_plain_forward(residual: bool, bands: int) -> None:
    torch.manual_seed(0)
    encoder = ShortChunk(**{**SMALL, "bands": bands}, residual=residual)
    with torch.no_grad():
        for _ in range(3):
            encoder.train()(0.1 * torch.randn(4, 1, 6000))
        wave = 0.1 * torch.randn(3, 1, 6000)
        image = LogMel(16000, n_fft=256, hop=128, bands=bands)(wave)
        expected = published(encoder.state_dict(), image, residual=residual, depth=4)
        torch.testing.assert_close(encoder.eval()(wave), expected, rtol=1e-4, atol=1e-4)


def test_takes_any_length_of_at_least_one_receptive_field() -> None:
    encoder = ShortChunk(**SMALL).eval()
    assert encoder.minimum_samples == 15 * 128  # 2^4 frames
    for samples in (encoder.minimum_samples, 7000, 50001):
        assert encoder(torch.zeros(2, 1, samples)).shape == (2, 24)


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    encoder = ShortChunk(**SMALL, dropout=0.5)
    wave = 0.1 * torch.randn(4, 1, 6000)
    assert not torch.equal(encoder(wave), encoder(wave))
    encoder.eval()
    assert torch.equal(encoder(wave), encoder(wave))


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(UserError, match="depth 7 halves the bands 7 times and wants 128 of them; came 96"):
        ShortChunk(bands=96)
    with pytest.raises(UserError, match="wants input_samples of at least 32512; came 16000"):
        ShortChunk(input_samples=16000)
