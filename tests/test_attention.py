"""The shared Transformer layer against torch's own, in both orders."""

import pytest
import torch
from torch import nn

from ssl_music.encoders.attention import TransformerLayer, with_class_token
from ssl_music.errors import UserError


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("qkv_bias", [False, True])
def test_equals_torch_s_layer(norm_first: bool, qkv_bias: bool) -> None:
    torch.manual_seed(0)
    layer = TransformerLayer(24, heads=3, norm_first=norm_first, qkv_bias=qkv_bias, epsilon=1e-3).eval()
    for norm in (layer.attention_norm, layer.dense_norm):
        nn.init.normal_(norm.weight, 1, 0.2)
        nn.init.normal_(norm.bias, 0, 0.2)
    reference = nn.TransformerEncoderLayer(
        24, 3, 96, activation="gelu", layer_norm_eps=1e-3, batch_first=True, norm_first=norm_first
    ).eval()
    state = {
        "self_attn.in_proj_weight": layer.qkv.weight,
        "self_attn.in_proj_bias": layer.qkv.bias if qkv_bias else torch.zeros(72),
    }
    for theirs, ours in {
        "self_attn.out_proj": layer.out,
        "linear1": layer.dense_1,
        "linear2": layer.dense_2,
        "norm1": layer.attention_norm,
        "norm2": layer.dense_norm,
    }.items():
        state |= {f"{theirs}.weight": ours.weight, f"{theirs}.bias": ours.bias}
    reference.load_state_dict(state)
    tokens = torch.randn(2, 7, 24)
    torch.testing.assert_close(layer(tokens), reference(tokens), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["dropout", "hidden_dropout", "attention_dropout"])
def test_each_dropout_acts_in_training_only(name: str) -> None:
    layer = TransformerLayer(8, heads=2, norm_first=True, qkv_bias=False, **{name: 0.5})
    tokens = torch.randn(2, 5, 8)
    assert not torch.equal(layer(tokens), layer(tokens))
    layer.eval()
    assert torch.equal(layer(tokens), layer(tokens))


def test_attention_dropout_keeps_the_mean() -> None:
    torch.manual_seed(0)
    layer = TransformerLayer(8, heads=2, norm_first=True, qkv_bias=False, attention_dropout=0.5)
    tokens = torch.randn(1, 20, 8).expand(4000, -1, -1)
    with torch.no_grad():
        heard = layer._attend(layer.attention_norm(tokens)).mean(0)
        expected = layer.eval()._attend(layer.attention_norm(tokens[:1]))[0]
    torch.testing.assert_close(heard, expected, rtol=0, atol=0.02)


def test_class_token_comes_first_and_learns() -> None:
    token = torch.zeros(3, requires_grad=True)
    tokens = with_class_token(token, torch.ones(2, 4, 3))
    assert tokens.shape == (2, 5, 3) and not tokens[:, 0].any() and tokens[:, 1:].all()
    tokens.sum().backward()
    assert token.grad is not None and token.grad.tolist() == [2.0, 2.0, 2.0]


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(UserError, match="share 10 numbers a token equally; came 3 heads"):
        TransformerLayer(10, heads=3, norm_first=True, qkv_bias=True)
