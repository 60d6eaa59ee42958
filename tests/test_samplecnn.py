"""SampleCNN against CLMR's published form, written out here from its table."""

import pytest
import torch
from torch import Tensor, nn

from ssl_music.encoders import SampleCNN, parameter_count
from ssl_music.errors import UserError

WIDTHS = [128, 128, 256, 256, 256, 256, 256, 256, 512]


def published(widths: list[int]) -> nn.Sequential:
    """The encoder half of CLMR's network: its keys are `{block}.{0: conv, 1: norm}.*` behind a prefix."""
    blocks = [nn.Sequential(nn.Conv1d(1, widths[0], 3, stride=3), nn.BatchNorm1d(widths[0]), nn.ReLU())]
    for inputs, outputs in zip([widths[0], *widths], widths, strict=False):
        conv = nn.Conv1d(inputs, outputs, 3, stride=1, padding=1)
        blocks.append(nn.Sequential(conv, nn.BatchNorm1d(outputs), nn.ReLU(), nn.MaxPool1d(3, stride=3)))
    last = nn.Conv1d(widths[-1], widths[-1], 3, stride=1, padding=1)
    blocks.append(nn.Sequential(last, nn.BatchNorm1d(widths[-1]), nn.ReLU()))
    return nn.Sequential(*blocks)


def our_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published key `4.1.weight` → ours, `blocks.4.norm.weight`."""
    renamed = {}
    for key, tensor in state.items():
        block, part, name = key.split(".")
        renamed[f"blocks.{block}.{['conv', 'norm'][int(part)]}.{name}"] = tensor
    return renamed


def test_has_the_published_count_of_parameters() -> None:
    encoder = SampleCNN()
    assert parameter_count(encoder) == parameter_count(published(WIDTHS)) == 2_368_512
    assert (encoder.sample_rate, encoder.input_samples, encoder.embedding_dim) == (22050, 59049, 512)


def test_published_weights_give_the_published_embedding() -> None:
    torch.manual_seed(0)
    reference, encoder = published(WIDTHS), SampleCNN()
    with torch.no_grad():
        reference(0.1 * torch.randn(2, 1, 59049))  # running statistics that are not the constructor's
    encoder.load_state_dict(our_names(reference.state_dict()))
    wave = 0.1 * torch.randn(2, 1, 59049)
    with torch.no_grad():
        expected = reference.eval()(wave)
        torch.testing.assert_close(encoder.eval()(wave), expected.flatten(1), rtol=1e-4, atol=1e-5)
    assert expected.shape == (2, 512, 1)


def test_a_training_step_has_the_published_gradients_and_running_statistics() -> None:
    torch.manual_seed(0)
    reference, encoder = published([8, 8, 16, 16, 32]).double(), SampleCNN(width=8, depth=5).double()
    encoder.load_state_dict(our_names(reference.state_dict()))
    wave, direction = 0.1 * torch.randn(6, 1, 729).double(), torch.randn(6, 32).double()
    (reference(wave).flatten(1) * direction).sum().backward()
    (encoder(wave) * direction).sum().backward()
    expected = our_names({name: parameter.grad for name, parameter in reference.named_parameters()})
    for name, parameter in encoder.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-6, atol=1e-9)
    for name, tensor in our_names(reference.state_dict()).items():
        torch.testing.assert_close(encoder.state_dict()[name], tensor, rtol=1e-6, atol=1e-9)


def test_a_longer_clip_is_the_mean_over_the_steps_that_remain() -> None:
    torch.manual_seed(0)
    reference, encoder = published([8, 8, 16, 16, 32]).eval(), SampleCNN(width=8, depth=5).eval()
    encoder.load_state_dict(our_names(reference.state_dict()))
    wave = 0.1 * torch.randn(2, 1, 3 * 729 + 500)
    steps = reference(wave)
    assert steps.shape == (2, 32, 3)
    torch.testing.assert_close(encoder(wave), steps.mean(2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("width", "depth"), [(0, 9), (16, 2)])
def test_impossible_sizes_are_refused(width: int, depth: int) -> None:
    with pytest.raises(UserError, match=f"width >= 1 and depth >= 3; came width {width}, depth {depth}"):
        SampleCNN(width=width, depth=depth)
