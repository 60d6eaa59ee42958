"""FCN and its forms against the published networks, written out from their tables in tests/published."""

import pytest
import torch
from published.fcn import FCN as PublishedFCN
from published.fcn import TutorialCNN
from published.parts import decibels, lively, mel_spectrogram
from torch import Tensor, nn

from ssl_music.encoders import FCN, parameter_count
from ssl_music.encoders.fcn import FORMS
from ssl_music.errors import UserError
from ssl_music.tagger import Tagger


def tagger(encoder: FCN, tags: int = 50) -> Tagger:
    return Tagger(encoder, [str(i) for i in range(tags)], column="tag", multi_label=True, dropout=0.5)


def ours(published: dict[str, Tensor], *, spectrogram: str, input_norm: str, head: str) -> dict[str, Tensor]:
    """Published keys → ours; the published front end's window and filterbank are none of our weights."""
    names = {f"{input_norm}.": "encoder.input_norm.", "dense_bn.": "encoder.dense_norm.", f"{head}.": "head.1."}
    names |= {
        f"layer{i + 1}.{a}.": f"encoder.blocks.{i}.{b}."
        for i in range(5)
        for a, b in (("conv", "conv"), ("bn", "norm"))
    }
    names |= {"dense1.": "encoder.dense_layer."}
    state = {}
    for key, tensor in published.items():
        if not key.startswith(spectrogram):
            old = next(name for name in names if key.startswith(name))
            state[names[old] + key.removeprefix(old)] = tensor
    return state


@pytest.mark.parametrize(
    ("form", "tags", "count", "width"),
    [
        ("choi2016", 50, 447_732, 64),
        ("k2c2", 50, 1_003_830, 271),
        ("homework_base", 50, 234_356, 64),
        ("homework_improved", 50, 447_732, 64),
        ("tutorial", 10, 40_124, 64),
    ],
)
def test_every_form_has_its_count_and_leaves_one_cell(form: str, tags: int, count: int, width: int) -> None:
    encoder = FCN(**FORMS[form]).eval()
    assert parameter_count(tagger(encoder, tags)) == count
    assert encoder.embedding_dim == width
    cells = []
    encoder.blocks[-1].register_forward_hook(lambda block, args, out: cells.append(tuple(out.shape[2:])))
    assert encoder(torch.zeros(1, 1, encoder.input_samples)).shape == (1, width)
    assert cells == [(1, 1)]


def test_equals_the_published_fcn() -> None:
    torch.manual_seed(0)
    published = lively(PublishedFCN())
    assert parameter_count(published) == 447_732
    model = tagger(FCN()).eval()
    model.load_state_dict(ours(published.state_dict(), spectrogram="spec.", input_norm="spec_bn", head="dense"))
    wave = 0.1 * torch.randn(2, 464000)
    with torch.no_grad():
        torch.testing.assert_close(model.probabilities(wave.unsqueeze(1)), published(wave), rtol=1e-5, atol=1e-5)


def test_equals_the_published_tutorial() -> None:
    torch.manual_seed(0)
    published = lively(TutorialCNN())
    assert parameter_count(published) == 40_124
    model = tagger(FCN(**FORMS["tutorial"]), 10).eval()
    model.load_state_dict(ours(published.state_dict(), spectrogram="melspec.", input_norm="input_bn", head="dense2"))
    wave = 0.1 * torch.randn(2, 639450)
    with torch.no_grad():
        torch.testing.assert_close(model(wave.unsqueeze(1)), published(wave), rtol=1e-4, atol=1e-5)


def plain(form: str) -> nn.Sequential:
    """k2c2 and the homework's networks from their rows of the table, after the log-mel image."""
    widths, pools = {
        "k2c2": ([67, 135, 135, 203, 271], [(2, 4), (2, 4), (2, 4), (3, 5), (4, 4)]),
        "homework_base": ([64, 128, 128], [(4, 4), (3, 3), (3, 3)]),
        "homework_improved": ([64, 128, 128, 128, 64], [(2, 2), (2, 2), (2, 2), (3, 4), (4, 3)]),
    }[form]
    layers: list[nn.Module] = [nn.BatchNorm2d(1)]
    for inputs, outputs, pool in zip([1, *widths], widths, pools, strict=False):
        activation = nn.ELU() if form == "k2c2" else nn.ReLU()
        layers += [nn.Conv2d(inputs, outputs, 3, 1, 1), nn.BatchNorm2d(outputs), activation, nn.MaxPool2d(pool)]
    if form == "homework_base":
        layers += [nn.Conv2d(128, 64, 1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2, stride=5)]
    return nn.Sequential(*layers, nn.Flatten())


@pytest.mark.parametrize("form", ["k2c2", "homework_base", "homework_improved"])
def test_equals_the_plain_form(form: str) -> None:
    torch.manual_seed(0)
    reference = lively(plain(form))
    encoder = FCN(**FORMS[form]).eval()
    # in both, the parameters and buffers come in the order of the layers
    encoder.load_state_dict(dict(zip(encoder.state_dict(), reference.state_dict().values(), strict=True)))
    wave = 0.1 * torch.randn(2, encoder.input_samples)
    with torch.no_grad():
        image = decibels(mel_spectrogram(encoder.sample_rate, 512, 96)(wave)).unsqueeze(1)
        torch.testing.assert_close(encoder(wave.unsqueeze(1)), reference(image), rtol=1e-4, atol=1e-5)


def test_a_longer_clip_is_the_mean_over_its_cells() -> None:
    torch.manual_seed(0)
    encoder = FCN(widths=[4], pools=[[16, 10]], bands=16, n_fft=256, hop=128, input_samples=3000).eval()
    assert encoder.minimum_samples == 9 * 128
    cells = []
    encoder.blocks[0].register_forward_hook(lambda block, args, out: cells.append(out))
    out = encoder(0.1 * torch.randn(2, 1, 128 * 35))
    assert cells[0].shape == (2, 4, 1, 3)
    torch.testing.assert_close(out, cells[0].mean((2, 3)))


def test_dropout_acts_in_training_only() -> None:
    encoder = FCN(**{**FORMS["homework_improved"], "dropout": 0.5})
    wave = 0.1 * torch.randn(2, 1, 48000)
    assert not torch.equal(encoder(wave), encoder(wave))
    encoder.eval()
    assert torch.equal(encoder(wave), encoder(wave))


def test_impossible_shapes_are_refused() -> None:
    wrong = {
        "these pools want 96 bands or more; came 64": {"bands": 64},
        "these pools and hop 256 want 327424 input_samples or more; came 48000": {"input_samples": 48000},
        "as many widths as pools.*came 2, 5, 2, 5": {"widths": [4, 4]},
        r"a pool is a pair, \[bands, frames\]": {"widths": [4], "pools": [[2]]},
        "at least 1": {"widths": [4], "pools": [[2, 0]]},
        "unknown activation 'relo'; did you mean 'relu'": {"activation": "relo"},
    }
    for message, arguments in wrong.items():
        with pytest.raises(UserError, match=message):
            FCN(**arguments)
