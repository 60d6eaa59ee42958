"""k2c1 and k1c2 against their rows of the table, written out in plain layers."""

import pytest
import torch
from published.parts import decibels, lively, mel_spectrogram
from torch import nn

from ssl_music.encoders import TimeCNN, parameter_count
from ssl_music.encoders.timecnn import FORMS
from ssl_music.errors import UserError


def k2c1() -> nn.Sequential:
    layers: list[nn.Module] = [nn.BatchNorm2d(1)]
    widths = [1, 152, 152, 152, 304, 304]
    for i in range(5):
        layers += [
            nn.Conv2d(widths[i], widths[i + 1], (96 if i == 0 else 1, 4)),
            nn.BatchNorm2d(widths[i + 1]),
            nn.ELU(),
        ]
        layers += [nn.MaxPool2d((1, 4))] if i < 4 else []  # one step is left, nothing to pool
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(304, 304), nn.ELU(), nn.Linear(304, 304), nn.ELU())


def k1c2() -> nn.Sequential:
    layers: list[nn.Module] = [nn.BatchNorm2d(1)]
    widths = [1, 47, 47, 95, 95]
    for i, pool in enumerate([4, 5, 8, 8]):
        padded = nn.ZeroPad2d((1, 2, 0, 0))  # "same" of an even length: the longer half follows
        layers += [padded, nn.Conv2d(widths[i], widths[i + 1], (1, 4)), nn.BatchNorm2d(widths[i + 1]), nn.ELU()]
        layers += [nn.MaxPool2d((1, pool))]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(96 * 95, 95), nn.ELU(), nn.Linear(95, 95), nn.ELU())


@pytest.mark.parametrize(("form", "count", "width"), [("k2c1", 1_001_580, 304), ("k1c2", 944_253, 95)])
def test_equals_the_plain_form_and_has_about_a_million_parameters(form: str, count: int, width: int) -> None:
    torch.manual_seed(0)
    reference = lively({"k2c1": k2c1, "k1c2": k1c2}[form]())
    encoder = TimeCNN(**FORMS[form]).eval()
    assert parameter_count(encoder) + (width + 1) * 50 == count
    encoder.load_state_dict(dict(zip(encoder.state_dict(), reference.state_dict().values(), strict=True)))
    wave = 0.1 * torch.randn(2, 349440)  # 29.12 s at 12 kHz
    with torch.no_grad():
        image = decibels(mel_spectrogram(12000, 512, 96)(wave)).unsqueeze(1)
        assert image.shape == (2, 1, 96, 1366)
        torch.testing.assert_close(encoder(wave.unsqueeze(1)), reference(image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_the_smallest_clip_leaves_one_step_and_none_fewer(form: str) -> None:
    encoder = TimeCNN(**FORMS[form]).eval()
    steps = []
    encoder.blocks[-1].register_forward_hook(lambda block, args, out: steps.append(out.shape[3]))
    for samples in (encoder.minimum_samples, encoder.input_samples, 2 * encoder.input_samples):
        assert encoder(torch.zeros(1, 1, samples)).shape == (1, encoder.embedding_dim)
    assert steps[:2] == [1, 1]
    assert steps[2] > 1
    with pytest.raises(UserError, match="pad or loop the clip"):
        encoder(torch.zeros(1, 1, encoder.minimum_samples - 1))


def test_dropout_acts_before_the_dense_layers_in_training_only() -> None:
    encoder = TimeCNN(widths=[4], pools=[4], dense=[8], dropout=0.5, norm="group", input_samples=12000)
    wave = 0.1 * torch.randn(2, 1, 12000)
    assert not torch.equal(encoder(wave), encoder(wave))
    encoder.eval()
    assert torch.equal(encoder(wave), encoder(wave))


def test_impossible_shapes_are_refused() -> None:
    wrong = {
        "these pools and hop 256 want 327168 input_samples or more; came 48000": {"input_samples": 48000},
        "as many widths as pools": {"widths": [4]},
        "one dense layer or more": {"dense": []},
        "at least 1": {"dense": [0]},
    }
    for message, arguments in wrong.items():
        with pytest.raises(UserError, match=message):
            TimeCNN(**arguments)
