"""Harmonic CNN against the published network in tests/published; its bands against tones."""

import math
import re
from typing import Any

import pytest
import torch
from published.harmonic import HarmonicCNN as Published
from published.harmonic import HarmonicSTFT
from published.parts import lively
from torch import Tensor

from ssl_music.encoders import HarmonicCNN, parameter_count
from ssl_music.encoders.harmonic import FORMS, HarmonicBands
from ssl_music.errors import UserError
from ssl_music.tagger import Tagger


def our_names(published: dict[str, Tensor]) -> dict[str, Tensor]:
    ends = {
        "hstft.bw_Q": "encoder.harmonic_bands.q",
        "hstft_bn": "encoder.input_norm",
        "dense1": "encoder.dense",
        "bn": "encoder.dense_norm",
        "dense2": "head.1",
    }
    state = {}
    for key, tensor in published.items():
        if key == "hstft.bw_Q":
            state[ends[key]] = tensor
        elif found := re.fullmatch(r"layer(\d)\.(\w+)\.(\w+)", key):
            block, part, name = found.groups()
            state[f"encoder.blocks.{int(block) - 1}.{part.replace('bn', 'norm')}.{name}"] = tensor
        elif not key.startswith("hstft.spec"):
            part, name = key.split(".")
            state[f"{ends[part]}.{name}"] = tensor
    return state


def tagger(**arguments: Any) -> Tagger:
    tags = [str(i) for i in range(50)]
    return Tagger(HarmonicCNN(**arguments), tags, column="tag", multi_label=True, dropout=0.5)


@pytest.mark.parametrize("form", [{}, FORMS["2020"]], ids=["paper", "2020"])
def test_equals_the_published_network(form: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = tagger(**form).eval()
    encoder = model.encoder
    published = lively(Published(n_fft=encoder.n_fft, last_pools=[tuple(pool) for pool in encoder.last_pools]))
    assert parameter_count(model) == parameter_count(published) == 3_631_551
    assert parameter_count(encoder) == 3_618_701
    published.hstft.bw_Q.data.fill_(1.7)
    model.load_state_dict(our_names(published.state_dict()))
    wave = 0.1 * torch.randn(2, 80000)
    with torch.no_grad():
        torch.testing.assert_close(
            encoder.harmonic_bands(wave.unsqueeze(1)), published.hstft(wave), rtol=0, atol=2e-3
        )
        torch.testing.assert_close(model.probabilities(wave.unsqueeze(1)), published(wave), rtol=1e-5, atol=1e-5)


def test_the_slope_of_q_is_the_published_one() -> None:
    published, bands = HarmonicSTFT(513), HarmonicCNN().harmonic_bands
    weights = torch.rand(257, 768, generator=torch.Generator().manual_seed(0))
    (published.filters(257) * weights).sum().backward()
    (bands.filters() * weights).sum().backward()
    torch.testing.assert_close(bands.q.grad, published.bw_Q.grad, rtol=1e-4, atol=0)
    assert bands.q.grad.abs() > 100


def test_a_tone_is_loudest_in_the_band_of_its_pitch() -> None:
    bands = HarmonicBands(16000, n_fft=2048, hop=512, harmonics=3, filters_per_semitone=2)
    hz = 440 * 2 ** ((76 - 69) / 12)  # E5
    image = bands(torch.sin(2 * math.pi * hz * torch.arange(16000) / 16000).view(1, 1, -1))
    assert image.shape == (1, 3, bands.bands, 32)
    loudest = image[0, :, :, 16].argmax(1)
    assert loudest[0] == 2 * (76 - 24)
    assert loudest[1] == 2 * (76 - 12 - 24)  # the second harmonic of the pitch an octave below
    assert abs(loudest[2] - 2 * (76 - 19 - 24)) <= 1  # the third harmonic of a twelfth below


def test_a_larger_q_narrows_the_bands() -> None:
    bands = HarmonicBands(16000, n_fft=513, hop=256, harmonics=6, filters_per_semitone=2)
    wide = (bands.filters() > 0).sum()
    bands.q.data.fill_(4.0)
    assert (bands.filters() > 0).sum() < wide / 3


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(UserError, match="the poolings want 128 bands; 6 harmonics below half of 8000 Hz leave 104"):
        HarmonicCNN(sample_rate=8000)
    with pytest.raises(UserError, match="input_samples wants at least 48897; came 16000"):
        HarmonicCNN(input_samples=16000)
    with pytest.raises(UserError, match="of at least 1; came 16000, 0, 256, 6, 2"):
        HarmonicCNN(n_fft=0)
