"""Gradient caching: the gradient of the whole batch at the memory of a chunk."""

import copy
import weakref

import pytest
import torch
from torch import Tensor, nn
from training_toy import Tones, tiny_encoder

from ssl_music.clips import Clips
from ssl_music.encoders import Encoder, ShortChunk
from ssl_music.losses import nt_xent
from ssl_music.methods import SimCLR, Supervised
from ssl_music.methods.parts.chunks import in_chunks


def waves(rows: int, samples: int = 243, dtype: torch.dtype = torch.float32) -> Tensor:
    return 0.1 * torch.randn(rows, 1, samples, dtype=dtype, generator=torch.Generator().manual_seed(0))


def gradients(method: SimCLR, clips: Clips) -> dict[str, Tensor]:
    method.zero_grad()
    method._seed("train", 0, 0)
    method.losses(clips)["loss"].backward()
    return {name: weight.grad.clone() for name, weight in method.named_parameters()}


@pytest.mark.parametrize("size", [1, 3, 5, 10, 64])
def test_same_gradient_as_the_whole_batch(size: int) -> None:
    torch.manual_seed(0)
    encoder = ShortChunk(width=4, depth=3, bands=32, sample_rate=8000, input_samples=2048, norm="group")
    method = SimCLR(encoder, augment="light", temperature=0.5)
    pitches = torch.tensor([110.0, 220, 440, 880, 1760]).view(5, 1, 1) / 8000
    tones = 0.5 * torch.sin(2 * torch.pi * pitches * torch.arange(2048)) + waves(10, 2048).reshape(2, 5, 1, 2048)
    method.double()
    clips = Clips(tones, torch.arange(5))
    whole = gradients(method, clips)
    method.chunk_size = size
    chunked = gradients(method, clips)
    scale = max(gradient.abs().max() for gradient in whole.values())
    assert scale > 1e-2
    assert max((whole[name] - chunked[name]).abs().max() for name in whole) <= 1e-9 * scale


def test_same_gradient_in_float64() -> None:
    torch.manual_seed(0)
    encoder, wave = tiny_encoder("layer").double(), waves(7, dtype=torch.float64)
    target = torch.randn(7, 16, dtype=torch.float64)
    (encoder(wave) - target).square().sum().backward()
    whole = [weight.grad.clone() for weight in encoder.parameters()]
    encoder.zero_grad()
    (in_chunks(encoder, wave, 2) - target).square().sum().backward()
    for weight, gradient in zip(encoder.parameters(), whole, strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-12, atol=1e-14)


class Remembering(Encoder):
    """Counts how many of the activations that it makes live at once."""

    def __init__(self) -> None:
        super().__init__()
        self.sample_rate, self.input_samples, self.embedding_dim = 8000, 16, 4
        self.first, self.second = nn.Linear(16, 32), nn.Linear(32, 4)
        self.living = self.most = 0

    def forward(self, wave: Tensor) -> Tensor:
        hidden = self.first(wave[:, 0]).square()  # its input is kept for the backward pass
        self.living += len(wave)
        self.most = max(self.most, self.living)
        weakref.finalize(hidden, self._gone, len(wave))
        return self.second(hidden)

    def _gone(self, rows: int) -> None:
        self.living -= rows


def test_holds_the_activations_of_one_chunk() -> None:
    def most(size: int) -> int:
        encoder = Remembering()
        embedding = in_chunks(encoder, waves(24, 16), size)
        nt_xent(*embedding.chunk(2)).backward()
        return encoder.most

    assert most(24) == 24
    assert most(4) == 4


def test_dropout_is_the_same_in_both_passes() -> None:
    """The gradient of a sum of squares is twice the output: only where both passes drop the same does it agree."""
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Flatten(), nn.Linear(16, 8, bias=False), nn.Dropout(0.5))
    wave = waves(6, 16)
    out = in_chunks(layer, wave, 2)
    out.square().sum().backward()
    kept = (out.detach() != 0).double() * 2
    expected = torch.einsum("bd,bt->dt", 2 * out.detach() * kept.float(), wave[:, 0])
    torch.testing.assert_close(layer[1].weight.grad, expected)


@pytest.mark.parametrize("streamed", [True, False])
def test_batch_norm_moves_once_and_sees_chunks(streamed: bool) -> None:
    """Where our own function computes it, and where torch does, which keeps the averages for its backward pass."""
    torch.manual_seed(0)
    small = {"width": 4, "depth": 3, "bands": 32, "sample_rate": 8000, "input_samples": 2048}
    encoder = tiny_encoder("batch") if streamed else ShortChunk(**small, norm="batch")
    wave = torch.randn(6, 1, encoder.input_samples)
    other = copy.deepcopy(encoder)
    in_chunks(encoder, wave, 2).square().sum().backward()
    for chunk in wave.split(2):
        other(chunk).square().sum().backward()
    assert all(torch.equal(mine, its) for mine, its in zip(encoder.buffers(), other.buffers(), strict=True))
    for mine, its in zip(encoder.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad, rtol=1e-4, atol=1e-4)
    norms = [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and all(norm.momentum == 0.1 for norm in norms)


def test_streamed_batch_norm_is_computed_twice_and_no_more() -> None:
    encoder, wave, calls = tiny_encoder("batch"), waves(6), []
    encoder.register_forward_pre_hook(lambda _, wave: calls.append(len(wave[0])))
    in_chunks(encoder, wave, 2).sum().backward()
    assert calls == [2] * 6


def test_no_gradient_no_second_pass() -> None:
    calls: list[int] = []
    encoder = tiny_encoder("layer")
    encoder.register_forward_pre_hook(lambda _, wave: calls.append(len(wave[0])))
    with torch.no_grad():
        rows = in_chunks(encoder, waves(5), 2)
    assert calls == [2, 2, 1] and not rows.requires_grad
    torch.testing.assert_close(rows, encoder(waves(5)))


def test_supervised_runs_in_chunks_too() -> None:
    torch.manual_seed(0)
    method = Supervised(tiny_encoder("layer"), column="pitch")
    method.prepare(Tones(), Tones().tracks)
    targets = torch.eye(3).repeat(2, 1)
    clips = Clips(waves(6)[None], torch.arange(6), targets)
    whole = gradients(method, clips)
    method.chunk_size = 2
    chunked = gradients(method, clips)
    assert all(torch.allclose(whole[name], chunked[name], atol=1e-6) for name in whole)
