"""CRNN against the network of the 2020 comparison, written out from its table."""

from typing import Any

import pytest
import torch
from published.crnn import CRNN as PublishedCRNN
from published.parts import lively
from torch import Tensor

from ssl_music.encoders import CRNN, parameter_count
from ssl_music.errors import UserError
from ssl_music.tagger import Tagger

SMALL: dict[str, Any] = {
    "widths": [4, 6], "pools": [[2, 2], [4, 4]], "gru_width": 5, "bands": 16, "input_samples": 8000,
}  # fmt: skip


def ours(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published keys → those of a tagger of ours; window and filterbank are none of our weights."""
    names = {"spec_bn.": "encoder.input_norm.", "layer5.": "encoder.gru.", "dense.": "head.1."}
    for i in range(4):
        names |= {
            f"layer{i + 1}.conv.": f"encoder.blocks.{i}.conv.",
            f"layer{i + 1}.bn.": f"encoder.blocks.{i}.norm.",
        }
    state = {}
    for key, tensor in published.items():
        if not key.startswith("spec."):
            old = next(name for name in names if key.startswith(name))
            state[names[old] + key.removeprefix(old)] = tensor
    return state


def test_equals_the_published_network() -> None:
    torch.manual_seed(0)
    published = lively(PublishedCRNN())
    encoder = CRNN()
    tagger = Tagger(encoder, [str(i) for i in range(50)], column="tag", multi_label=True, dropout=0.5).eval()
    assert parameter_count(tagger) == parameter_count(published) == 394_100
    assert (encoder.sample_rate, encoder.input_samples, encoder.embedding_dim) == (16000, 464000, 32)
    tagger.load_state_dict(ours(published.state_dict()))
    wave = 0.1 * torch.randn(2, 464000)
    steps = []
    encoder.gru.register_forward_hook(lambda gru, args, out: steps.append(args[0].shape[1]))
    with torch.no_grad():
        torch.testing.assert_close(tagger.probabilities(wave.unsqueeze(1)), published(wave), rtol=1e-5, atol=1e-5)
    assert steps == [18]


def test_the_embedding_hears_the_whole_clip_whatever_its_length() -> None:
    torch.manual_seed(0)
    encoder = CRNN(**SMALL).eval()
    assert encoder.minimum_samples == 7 * 256
    wave = 0.1 * torch.randn(1, 1, 30000)
    other = wave.clone()
    other[..., :3000] = 0
    assert encoder(wave[..., : encoder.minimum_samples]).shape == (1, 5)
    assert not torch.equal(encoder(wave), encoder(other))
    # the GRU goes on where a shorter clip ends
    steps = []
    encoder.gru.register_forward_hook(lambda gru, args, out: steps.append(args[0].shape[1]))
    encoder(wave)
    assert steps == [30000 // 256 // 8]


def test_activation_and_dropout() -> None:
    torch.manual_seed(0)
    relu = lively(CRNN(**SMALL))
    elu = CRNN(**SMALL, activation="elu").eval()
    elu.load_state_dict(relu.state_dict())
    wave = 0.1 * torch.randn(2, 1, 8000)
    assert not torch.allclose(relu(wave), elu(wave), atol=1e-3)
    encoder = CRNN(**SMALL, dropout=0.5)
    assert not torch.equal(encoder(wave), encoder(wave))


def test_impossible_shapes_are_refused() -> None:
    wrong = {
        "these pools want 96 bands or more; came 64": {"bands": 64},
        "these pools and hop 256 want 24320 input_samples or more; came 16000": {"input_samples": 16000},
        "as many widths as pools": {"widths": [4, 4]},
        r"each pool a pair, \[bands, frames\]": {"widths": [4], "pools": [[2]]},
        "gru_layers of at least 1": {"gru_layers": 0},
        "unknown activation 'relo'; did you mean 'relu'": {"activation": "relo"},
    }
    for message, arguments in wrong.items():
        with pytest.raises(UserError, match=message):
            CRNN(**arguments)


def test_one_exported_graph_serves_every_batch_and_length_of_two_steps() -> None:
    encoder = CRNN(**SMALL).eval()
    least = 15 * 256  # torch.export holds a size of one for a constant
    any_size = {"wave": {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO}}
    program = torch.export.export(encoder, (torch.rand(3, 1, 8000),), dynamic_shapes=any_size, strict=False).module()
    for shape in [(2, 1, least), (5, 1, 12345), (2, 1, 30000)]:
        wave = 0.1 * torch.randn(shape)
        torch.testing.assert_close(program(wave), encoder(wave), rtol=1e-4, atol=1e-5)
