"""CNN-SA against the network of the 2020 comparison, written out from its table with BERT's formulae."""

from typing import Any

import pytest
import torch
from published.cnnsa import CNNSA as PublishedCNNSA
from published.parts import lively
from torch import Tensor

from ssl_music.encoders import CNNSA, parameter_count
from ssl_music.errors import UserError
from ssl_music.tagger import Tagger

SMALL: dict[str, Any] = {
    "widths": [4, 6, 8], "time_strides": [2, 2, 1], "heads": 2, "bands": 8, "input_samples": 8000,
}  # fmt: skip


def ours(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published keys → those of a tagger of ours: query, key and value are one matrix."""
    names = {"spec_bn.": "encoder.input_norm.", "pooler.dense.": "encoder.pooler.", "dense.": "head.1."}
    for i in range(7):
        for j in (1, 2, 3):
            names[f"layer{i + 1}.conv_{j}."] = f"encoder.blocks.{i}.conv_{j}."
            names[f"layer{i + 1}.bn_{j}."] = f"encoder.blocks.{i}.norm_{j}."
    for i in range(2):
        old, new = f"encoder.layer.{i}", f"encoder.transformer.{i}"
        names[f"{old}.attention.output.dense."] = f"{new}.out."
        names[f"{old}.attention.output.LayerNorm."] = f"{new}.attention_norm."
        names[f"{old}.intermediate.dense."] = f"{new}.dense_1."
        names[f"{old}.output.dense."] = f"{new}.dense_2."
        names[f"{old}.output.LayerNorm."] = f"{new}.dense_norm."
    state = {}
    for key, tensor in published.items():
        if not key.startswith("spec.") and ".attention.self." not in key:
            old = next(name for name in names if key.startswith(name))
            state[names[old] + key.removeprefix(old)] = tensor
    for i in range(2):
        for kind in ("weight", "bias"):
            parts = [
                published[f"encoder.layer.{i}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")
            ]
            state[f"encoder.transformer.{i}.qkv.{kind}"] = torch.cat(parts)
    return state


def test_equals_the_published_network() -> None:
    torch.manual_seed(0)
    published = lively(PublishedCNNSA())
    encoder = CNNSA()
    tagger = Tagger(encoder, [str(i) for i in range(50)], column="tag", multi_label=True, dropout=0.5).eval()
    assert parameter_count(tagger) == parameter_count(published) == 10_521_652
    assert (encoder.sample_rate, encoder.input_samples, encoder.embedding_dim) == (16000, 240000, 256)
    tagger.load_state_dict(ours(published.state_dict()))
    wave = 0.1 * torch.randn(2, 1, 240000)
    tokens = []
    encoder.transformer[0].register_forward_hook(lambda layer, args, out: tokens.append(out.shape))
    with torch.no_grad():
        torch.testing.assert_close(tagger.probabilities(wave), published(wave[:, 0]), rtol=1e-5, atol=1e-5)
        assert tokens == [(2, 119, 256)]
        # a length that the strides do not divide
        odd = wave[..., :100001]
        torch.testing.assert_close(tagger.probabilities(odd), published(odd[:, 0]), rtol=1e-5, atol=1e-5)


def test_the_class_token_is_numpy_s_constant_and_no_weight() -> None:
    encoder = CNNSA(**SMALL)
    # the beginning of NumPy's sequence for seed 0, which the published code draws from
    torch.testing.assert_close(encoder.class_token[:4], torch.tensor([0.5488135, 0.71518937, 0.60276338, 0.54488318]))
    assert "class_token" not in encoder.state_dict()
    assert "class_token" not in dict(encoder.named_parameters())


def test_tokens_bear_no_position() -> None:
    torch.manual_seed(0)
    encoder = CNNSA(**SMALL).eval()
    tokens = torch.randn(1, 9, 8)
    shuffled = torch.cat([tokens[:, :1], tokens[:, 1:][:, torch.randperm(8)]], dim=1)
    for layer in encoder.transformer:
        tokens, shuffled = layer(tokens), layer(shuffled)
    torch.testing.assert_close(tokens[:, 0], shuffled[:, 0])


@pytest.mark.parametrize("name", ["dropout", "attention_dropout", "conv_dropout"])
def test_each_dropout_acts_in_training_only(name: str) -> None:
    encoder = CNNSA(**{**SMALL, "dropout": 0.0, "attention_dropout": 0.0, name: 0.5})
    wave = 0.1 * torch.randn(2, 1, 8000)
    assert not torch.equal(encoder(wave), encoder(wave))
    encoder.eval()
    assert torch.equal(encoder(wave), encoder(wave))


def test_impossible_shapes_are_refused() -> None:
    wrong = {
        "7 blocks halve the bands 7 times and want 128 of them; came 96": {"bands": 96},
        "these strides and hop 256 want 1792 input_samples or more; came 1000": {"input_samples": 1000},
        "as many widths as time_strides": {"widths": [4, 4]},
        "share 256 numbers a token equally; came 7 heads": {"heads": 7},
    }
    for message, arguments in wrong.items():
        with pytest.raises(UserError, match=message):
            CNNSA(**arguments)


def test_one_exported_graph_serves_every_batch_and_length_of_two_tokens() -> None:
    encoder = CNNSA(**SMALL).eval()
    least = 4 * 256  # torch.export holds a size of one for a constant
    any_size = {"wave": {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO}}
    program = torch.export.export(encoder, (torch.rand(3, 1, 8000),), dynamic_shapes=any_size, strict=False).module()
    for shape in [(2, 1, least), (5, 1, 12345), (2, 1, 30000)]:
        wave = 0.1 * torch.randn(shape)
        torch.testing.assert_close(program(wave), encoder(wave), rtol=1e-4, atol=1e-5)
