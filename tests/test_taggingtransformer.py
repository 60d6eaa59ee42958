"""The Music Tagging Transformer against the published network, written out from its table; and its windows."""

from typing import Any

import pytest
import torch
from published.parts import lively
from published.taggingtransformer import MusicTaggingTransformer as Published
from torch import Tensor

from ssl_music.encoders import MusicTaggingTransformer, parameter_count
from ssl_music.encoders.taggingtransformer import windows
from ssl_music.errors import UserError
from ssl_music.tagger import Tagger

SMALL: dict[str, Any] = {
    "width": 8, "conv_width": 4, "layers": 2, "heads": 2, "bands": 16,
    "n_fft": 256, "hop": 128, "input_samples": 4096, "sample_rate": 8000,
}  # fmt: skip


def ours(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published keys → those of a tagger of ours; window and filterbank are none of our weights."""
    names = {
        "frontend.input_bn.": "encoder.input_norm.",
        "frontend.fc.": "encoder.dense.",
        "pos_embedding": "encoder.position_embedding",
        "cls_token": "encoder.class_token",
        "mlp_head.0.": "encoder.output_norm.",
        "mlp_head.1.": "head.1.",
    }
    for i in range(3):
        for j in (1, 2, 3):
            names[f"frontend.layer{i + 1}.conv_{j}."] = f"encoder.blocks.{i}.conv_{j}."
            names[f"frontend.layer{i + 1}.bn_{j}."] = f"encoder.blocks.{i}.norm_{j}."
    for i in range(4):
        old, new = f"transformer.layers.{i}", f"encoder.transformer.{i}"
        names[f"{old}.0.fn.norm."] = f"{new}.attention_norm."
        names[f"{old}.0.fn.fn.to_qkv."] = f"{new}.qkv."
        names[f"{old}.0.fn.fn.to_out.0."] = f"{new}.out."
        names[f"{old}.1.fn.norm."] = f"{new}.dense_norm."
        names[f"{old}.1.fn.fn.net.0."] = f"{new}.dense_1."
        names[f"{old}.1.fn.fn.net.3."] = f"{new}.dense_2."
    state = {}
    for key, tensor in published.items():
        if not key.startswith("spec."):
            old = next(name for name in names if key.startswith(name))
            state[names[old] + key.removeprefix(old)] = tensor
    return state


@pytest.mark.parametrize(("width", "count"), [(256, 4_567_732), (64, 1_108_852)])
def test_equals_the_published_network(width: int, count: int) -> None:
    torch.manual_seed(0)
    published = lively(Published(width=width))
    encoder = MusicTaggingTransformer(width=width)
    tagger = Tagger(encoder, [str(i) for i in range(50)], column="tag", multi_label=True).eval()
    assert parameter_count(tagger) == parameter_count(published) == count
    facts = (encoder.sample_rate, encoder.input_samples, encoder.embedding_dim, encoder.window_tokens)
    assert facts == (22050, 220500, width, 107)
    tagger.load_state_dict(ours(published.state_dict()))
    wave = 0.1 * torch.randn(2, 1, 220500)
    with torch.no_grad():
        torch.testing.assert_close(tagger.probabilities(wave), published(wave[:, 0]), rtol=1e-5, atol=1e-5)
        short = wave[..., :50001]
        torch.testing.assert_close(tagger.probabilities(short), published(short[:, 0]), rtol=1e-5, atol=1e-5)


def test_windows_cover_every_token_evenly_with_as_few_as_can_be() -> None:
    for tokens in range(1, 60):
        for size in (1, 2, 7, 20):
            index = windows(tokens, size)
            assert index.shape == (-(-tokens // size), min(size, tokens))
            assert set(index.flatten().tolist()) == set(range(tokens))
            assert index[0, 0] == 0 and index[-1, -1] == tokens - 1
            assert (index.diff(dim=1) == 1).all()
            steps = index[:, 0].diff()
            assert not len(steps) or steps.max() - steps.min() <= 1


def test_a_longer_clip_is_the_mean_of_windows_of_the_trained_length() -> None:
    torch.manual_seed(0)
    encoder = lively(MusicTaggingTransformer(**SMALL))
    assert encoder.window_tokens == 8
    kept: list[Tensor] = []
    hook = encoder.dense.register_forward_hook(lambda layer, args, out: kept.append(out))
    with torch.no_grad():
        out = encoder(0.1 * torch.randn(2, 1, 20 * 512))
        hook.remove()
        (tokens,) = kept
        assert tokens.shape == (2, 20, 8)
        parts = []
        for first in (0, 6, 12):
            x = tokens[:, first : first + 8]
            x = torch.cat([encoder.class_token.repeat(2, 1, 1), x], 1) + encoder.position_embedding[:, :9]
            for layer in encoder.transformer:
                x = layer(x)
            parts.append(encoder.output_norm(x[:, 0]))
        torch.testing.assert_close(out, torch.stack(parts).mean(0), rtol=1e-5, atol=1e-5)


def test_positions_beyond_the_trained_length_are_never_read() -> None:
    torch.manual_seed(0)
    encoder = MusicTaggingTransformer(**SMALL).eval()
    with torch.no_grad():
        encoder.position_embedding[:, 9:] = float("nan")
    for samples in (encoder.minimum_samples, 4096, 4097, 50000):
        assert encoder(0.1 * torch.randn(2, 1, samples)).isfinite().all()


def test_tokens_bear_positions() -> None:
    torch.manual_seed(0)
    encoder = MusicTaggingTransformer(**SMALL).eval()
    wave = 0.1 * torch.randn(2, 1, 4096)
    before = encoder(wave)
    with torch.no_grad():
        encoder.position_embedding[:, [1, 2]] = encoder.position_embedding[:, [2, 1]]
    assert not torch.allclose(before, encoder(wave), atol=1e-3)


def test_dropout_acts_in_training_only() -> None:
    encoder = MusicTaggingTransformer(**SMALL, dropout=0.5)
    wave = 0.1 * torch.randn(2, 1, 4096)
    assert not torch.equal(encoder(wave), encoder(wave))
    encoder.eval()
    assert torch.equal(encoder(wave), encoder(wave))


def test_impossible_shapes_are_refused() -> None:
    wrong = {
        "these pools leave none of 7 bands": {"bands": 7},
        "these pools and hop 512 want 1536 input_samples or more; came 1000": {"input_samples": 1000},
        "1076602 input_samples are 525 tokens; came positions for 512: give more": {"input_samples": 1076602},
        r"each a pair, \[bands, frames\]": {"pools": [[2]]},
        "layers, conv_width, positions and pools of at least 1": {"layers": 0},
        "share 256 numbers a token equally; came 7 heads": {"heads": 7},
    }
    for message, arguments in wrong.items():
        with pytest.raises(UserError, match=message):
            MusicTaggingTransformer(**arguments)


def test_one_exported_graph_serves_every_batch_and_number_of_windows() -> None:
    encoder = MusicTaggingTransformer(**SMALL).eval()
    least = 35 * 128  # two windows: torch.export holds a size of one for a constant
    any_size = {"wave": {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO}}
    program = torch.export.export(encoder, (torch.rand(3, 1, 10001),), dynamic_shapes=any_size, strict=False).module()
    for shape in [(2, 1, least), (5, 1, 12345), (2, 1, 50000)]:
        wave = 0.1 * torch.randn(shape)
        torch.testing.assert_close(program(wave), encoder(wave), rtol=1e-4, atol=1e-5)
