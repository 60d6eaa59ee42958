"""MusiCNN against the network of the 2020 comparison, written out from its table, and its options against loops."""

import pytest
import torch
from published.musicnn import Musicnn
from published.parts import lively
from torch import Tensor
from torch.nn import functional as F

from ssl_music.encoders import MusiCNN, parameter_count
from ssl_music.encoders.spectrogram import LogMel
from ssl_music.errors import UserError
from ssl_music.tagger import Tagger

ORIGINAL = {"scale": "log1p10k", "mel_scale": "slaney", "mel_norm": "slaney"}


def ours(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published keys → those of a tagger of ours; window and filterbank are none of our weights."""
    names = {"spec_bn.": "encoder.input_norm.", "dense1.": "encoder.dense_layer.", "bn.": "encoder.dense_norm."}
    names |= {"dense2.": "head.1."}
    blocks = {f"layers.{i}.": f"encoder.vertical.{i}." for i in range(2)}
    blocks |= {f"layers.{i + 2}.": f"encoder.horizontal.{i}." for i in range(3)}
    blocks |= {f"layer{i + 1}.": f"encoder.middle.{i}." for i in range(3)}
    names |= {old + a: new + b for old, new in blocks.items() for a, b in (("conv.", "conv."), ("bn.", "norm."))}
    state = {}
    for key, tensor in published.items():
        if not key.startswith("spec."):
            old = next(name for name in names if key.startswith(name))
            state[names[old] + key.removeprefix(old)] = tensor
    return state


@pytest.mark.parametrize(
    ("width", "dense", "count", "pooled"), [(64, 200, 784_300, 1506), (512, 500, 7_972_000, 4194)]
)
def test_equals_the_published_network(width: int, dense: int, count: int, pooled: int) -> None:
    torch.manual_seed(0)
    published = lively(Musicnn(width=width, dense=dense))
    encoder = MusiCNN(width=width, dense=dense)
    tagger = Tagger(encoder, [str(i) for i in range(50)], column="tag", multi_label=True, dropout=0.5).eval()
    assert parameter_count(tagger) == parameter_count(published) == count
    assert encoder.embedding_dim == dense
    state = ours(published.state_dict())
    tagger.load_state_dict(state)
    wave = 0.1 * torch.randn(2, 48000)
    with torch.no_grad():
        probabilities = tagger.probabilities(wave.unsqueeze(1))
        torch.testing.assert_close(probabilities, published(wave), rtol=1e-5, atol=1e-5)

        earlier = MusiCNN(width=width, embedding="pooled").eval()
        assert earlier.embedding_dim == pooled
        kept = {
            name.removeprefix("encoder."): tensor for name, tensor in state.items() if name.startswith("encoder.")
        }
        kept = {name: tensor for name, tensor in kept.items() if not name.startswith("dense_")}
        earlier.load_state_dict(kept)
        torch.testing.assert_close(earlier(wave.unsqueeze(1)), published.pooled(wave), rtol=1e-4, atol=1e-5)


def test_max_over_frequency_is_each_band_through_the_filter() -> None:
    torch.manual_seed(0)
    encoder = lively(
        MusiCNN(vertical_width=3, horizontal_width=4, horizontal_frames=[8], over_frequency="max", mel=ORIGINAL)
    )
    heard = []
    encoder.horizontal[0].register_forward_hook(lambda block, args, out: heard.append(out))
    wave = 0.1 * torch.randn(2, 1, 16000)
    with torch.no_grad():
        encoder(wave)
        front = LogMel(16000, n_fft=512, hop=256, bands=96, **ORIGINAL)
        image = encoder.input_norm(front(wave))[:, 0]  # (B, M, F)
        conv, norm = encoder.horizontal[0].conv, encoder.horizontal[0].norm
        each = []
        for band in range(96):
            series = F.conv1d(F.pad(image[:, band : band + 1], (3, 4)), conv.weight, conv.bias)  # (B, 4, F)
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            series = (series - norm.running_mean[:, None]) * scale[:, None] + norm.bias[:, None]
            each.append(series.relu())
        torch.testing.assert_close(heard[0].squeeze(2), torch.stack(each).amax(0), rtol=1e-4, atol=1e-5)


def test_options_change_the_numbers_but_not_the_weights() -> None:
    torch.manual_seed(0)
    small = {"vertical_width": 8, "horizontal_width": 4, "width": 6, "dense": 10}
    plain = lively(MusiCNN(**small))
    wave = 0.1 * torch.randn(2, 1, 48000)
    for options in ({"over_frequency": "max"}, {"mel": ORIGINAL}):
        other = MusiCNN(**small, **options).eval()
        other.load_state_dict(plain.state_dict())
        assert not torch.allclose(other(wave), plain(wave), atol=1e-2)


def test_takes_any_length_of_more_than_half_a_window() -> None:
    encoder = MusiCNN(vertical_width=8, horizontal_width=4, width=6, dense=10).eval()
    for samples in (257, 16000, 100001):
        assert encoder(0.1 * torch.randn(2, 1, samples)).shape == (2, 10)


def test_unknown_choices_are_named() -> None:
    with pytest.raises(UserError, match="unknown embedding of MusiCNN 'poled'; did you mean 'pooled'"):
        MusiCNN(embedding="poled")
    with pytest.raises(UserError, match="unknown way over frequency 'maximum'"):
        MusiCNN(over_frequency="maximum")
    with pytest.raises(UserError, match="at least 1"):
        MusiCNN(width=0)


@pytest.mark.parametrize("over_frequency", ["mean", "max"])
def test_training_computes_what_evaluation_does(over_frequency: str) -> None:
    torch.manual_seed(0)
    encoder = MusiCNN(
        width=6, dense=5, vertical_width=8, horizontal_width=4, norm="none", over_frequency=over_frequency
    )
    wave = 0.1 * torch.randn(2, 1, 12_000, generator=torch.Generator().manual_seed(1))
    outs, gradients = [], []
    for training in (True, False):
        encoder.zero_grad()
        outs.append(encoder.train(training)(wave))
        outs[-1].square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in encoder.parameters()])
    torch.testing.assert_close(*outs, rtol=1e-4, atol=1e-5)
    for here, there in zip(*gradients, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-3, atol=1e-4 * float(there.abs().max()))
