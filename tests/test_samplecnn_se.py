"""SampleCNNSE against the network of the 2020 comparison in tests/published."""

import re

import torch
from published.parts import lively
from published.samplecnn import SampleCNNSE as Published
from torch import Tensor

from ssl_music.encoders import SampleCNNSE, parameter_count
from ssl_music.tagger import Tagger


def our_names(published: dict[str, Tensor]) -> dict[str, Tensor]:
    inside = {"dense1": "squeeze", "dense2": "excite"}
    ends = {"dense1": "encoder.dense", "bn": "encoder.dense_norm", "dense2": "head.1"}
    state = {}
    for key, tensor in published.items():
        if found := re.fullmatch(r"layer(\d+)\.(\w+)\.(\w+)", key):
            block, part, name = found.groups()
            state[f"encoder.blocks.{int(block) - 1}.{inside.get(part, part.replace('bn', 'norm'))}.{name}"] = tensor
        else:
            part, name = key.split(".")
            state[f"{ends[part]}.{name}"] = tensor
    return state


def tagger(width: int = 128) -> Tagger:
    return Tagger(SampleCNNSE(width=width), [str(i) for i in range(50)], column="tag", multi_label=True, dropout=0.5)


def test_encoder_and_published_head_have_the_published_count() -> None:
    assert parameter_count(tagger()) == parameter_count(Published()) == 6_951_858
    encoder = SampleCNNSE()
    assert parameter_count(encoder) == 6_926_208
    assert (encoder.sample_rate, encoder.input_samples, encoder.embedding_dim) == (16000, 59049, 512)


def test_published_weights_give_the_published_probabilities() -> None:
    torch.manual_seed(0)
    published, model = lively(Published()), tagger().eval()
    model.load_state_dict(our_names(published.state_dict()))
    wave = 0.1 * torch.randn(2, 59049)
    with torch.no_grad():
        torch.testing.assert_close(model.probabilities(wave.unsqueeze(1)), published(wave), rtol=1e-5, atol=1e-5)


def test_a_training_step_has_the_published_gradients() -> None:
    torch.manual_seed(0)
    published, model = lively(Published(thinner=16)).double().train(), tagger(width=8).double().train()
    published.dropout.p = 0.0
    model.head[0].p = 0.0
    model.load_state_dict(our_names(published.state_dict()))
    wave, direction = 0.1 * torch.randn(3, 59049).double(), torch.randn(3, 50).double()
    expected, came = published(wave).logit(), model(wave.unsqueeze(1))
    torch.testing.assert_close(came, expected, rtol=1e-6, atol=1e-8)
    (expected * direction).sum().backward()
    (came * direction).sum().backward()
    wanted = our_names({name: parameter.grad for name, parameter in published.named_parameters()})
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-5, atol=1e-6)
