"""SampleCNN against the published forms in tests/published; its training without activations against its own."""

import re
from typing import Any

import pytest
import torch
from published.parts import lively
from published.samplecnn import CLMR
from published.samplecnn import SampleCNN as Published2020
from torch import Tensor, nn

from ssl_music.encoders import SampleCNN, parameter_count
from ssl_music.encoders.samplecnn import FORMS
from ssl_music.errors import UserError
from ssl_music.tagger import Tagger


def published(widths: list[int]) -> nn.Sequential:
    """CLMR's encoder in another size."""
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


def our_names_2020(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keys of the 2020 comparison → those of our tagger."""
    renamed = {}
    for key, tensor in state.items():
        if found := re.fullmatch(r"layer(\d+)\.(conv|bn)\.(\w+)", key):
            block, part, name = found.groups()
            renamed[f"encoder.blocks.{int(block) - 1}.{part.replace('bn', 'norm')}.{name}"] = tensor
        else:
            renamed[key.replace("dense", "head.1")] = tensor
    return renamed


def tagger(**arguments: Any) -> Tagger:
    tags = [str(i) for i in range(50)]
    return Tagger(SampleCNN(**arguments), tags, column="tag", multi_label=True, dropout=0.5)


def test_has_the_published_count_of_parameters() -> None:
    encoder = SampleCNN()
    assert parameter_count(encoder) == parameter_count(CLMR().sequential) == 2_368_512
    assert (encoder.sample_rate, encoder.input_samples, encoder.embedding_dim) == (22050, 59049, 512)
    assert parameter_count(tagger(**FORMS["2020"])) == parameter_count(Published2020()) == 1_869_874
    encoder = SampleCNN(**FORMS["2020"])
    assert (encoder.sample_rate, encoder.input_samples, encoder.embedding_dim) == (16000, 59049, 512)


def test_published_weights_give_the_published_embedding() -> None:
    torch.manual_seed(0)
    reference, encoder = lively(CLMR()), SampleCNN().eval()
    encoder.load_state_dict(our_names(reference.sequential.state_dict()))
    wave = 0.1 * torch.randn(3, 1, 59049)
    with torch.no_grad():
        expected = reference.sequential(wave)
        torch.testing.assert_close(encoder(wave), expected.flatten(1), rtol=1e-5, atol=1e-5)
    assert expected.shape == (3, 512, 1)
    torch.testing.assert_close(encoder(wave), expected.flatten(1), rtol=1e-5, atol=1e-5)  # with gradients too


def test_published_weights_of_2020_give_the_published_probabilities() -> None:
    torch.manual_seed(0)
    reference, model = lively(Published2020()), tagger(**FORMS["2020"]).eval()
    model.load_state_dict(our_names_2020(reference.state_dict()))
    wave = 0.1 * torch.randn(2, 59049)
    with torch.no_grad():
        torch.testing.assert_close(model.probabilities(wave.unsqueeze(1)), reference(wave), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_training_step_has_the_published_gradients_and_running_statistics(checkpointing: bool) -> None:
    torch.manual_seed(0)
    reference = published([8, 8, 16, 16, 32]).double()
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm1d):  # scales of both signs: the largest may become the smallest
            module.weight.data.normal_()
            module.bias.data.normal_()
    encoder = SampleCNN(width=8, depth=5, checkpointing=checkpointing).double()
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


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_training_step_in_float32_is_as_exact_as_the_published_one(checkpointing: bool) -> None:
    torch.manual_seed(0)
    exact, single = CLMR().sequential.double(), CLMR().sequential
    single.load_state_dict(exact.state_dict())
    encoder = SampleCNN(checkpointing=checkpointing)
    encoder.load_state_dict(our_names(exact.state_dict()))
    tones = torch.sin(torch.arange(59049) / 22050 * 700 * torch.arange(1, 7).unsqueeze(1))
    wave, direction = (0.3 * tones + 0.02 * torch.randn(6, 59049)).unsqueeze(1), torch.randn(6, 512)
    outs = [network(wave).flatten(1) for network in (single, encoder)]
    expected = exact(wave.double()).flatten(1)
    for out in outs:
        assert (out - expected).norm() < 1e-4 * expected.norm()
        (out * direction).sum().backward()
    (expected * direction.double()).sum().backward()
    slopes = {name: parameter.grad for name, parameter in encoder.named_parameters()}
    published = our_names({name: parameter.grad for name, parameter in single.named_parameters()})
    wanted = our_names({name: parameter.grad for name, parameter in exact.named_parameters()})
    for name, parameter in wanted.items():
        if not name.endswith("conv.bias"):  # its slope is zero, what is there is rounding
            error, theirs = ((slope[name] - parameter).norm() / parameter.norm() for slope in (slopes, published))
            # a ReLU or a maximum that rounding decides otherwise costs about a hundredth, here as there
            assert error < max(0.02, 3 * theirs), name
    total, theirs = (
        sum(float((slope[name] - wanted[name]).square().sum()) for name in wanted if not name.endswith("conv.bias"))
        for slope in (slopes, published)
    )
    norm = sum(
        float(parameter.square().sum()) for name, parameter in wanted.items() if not name.endswith("conv.bias")
    )
    assert total**0.5 < max(1e-3 * norm**0.5, 3 * theirs**0.5)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_a_step_under_bf16_stays_near(norm: str, checkpointing: bool) -> None:
    torch.manual_seed(0)
    exact = SampleCNN(width=8, depth=4, norm=norm).double()
    encoder = SampleCNN(width=8, depth=4, norm=norm, checkpointing=checkpointing)
    encoder.load_state_dict(exact.state_dict())
    wave = 0.1 * torch.randn(7, 1, 500)
    expected = exact(wave.double())
    with torch.autocast("cpu", torch.bfloat16):
        out = encoder(wave).float()
    torch.testing.assert_close(out, expected.float(), rtol=0.1, atol=0.1)
    direction = torch.randn(7, 32)
    (out * direction).sum().backward()
    (expected * direction.double()).sum().backward()
    slopes = [
        torch.cat([parameter.grad.flatten().double() for parameter in network.parameters() if parameter.dim() > 1])
        for network in (encoder, exact)
    ]
    assert torch.cosine_similarity(*slopes, dim=0) > 0.95  # bf16 keeps 8 bits, and decides some maxima otherwise


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_checkpointing_holds_a_fraction_of_the_memory(norm: str) -> None:
    held = {}
    for checkpointing in (False, True):
        torch.manual_seed(0)
        encoder = SampleCNN(width=16, depth=6, norm=norm, checkpointing=checkpointing)
        wave = torch.randn(8, 1, 2187)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            out = encoder(wave)
        events = profile.profiler.kineto_results.events()
        held[checkpointing] = sum(event.nbytes() for event in events if event.name() == "[memory]")
        assert out.requires_grad
    assert held[True] < held[False] / 5


def test_checkpointing_counts_the_statistics_once_and_only_batch_norm() -> None:
    encoder = SampleCNN(width=4, depth=3, checkpointing=True)
    encoder(torch.randn(3, 1, 100)).sum().backward()
    assert all(block.norm.num_batches_tracked == 1 for block in encoder.blocks)
    other = nn.SyncBatchNorm.convert_sync_batchnorm(encoder)
    with pytest.raises(UserError, match="checkpointing knows batch norm of one device only"):
        other(torch.randn(3, 1, 100))


def test_a_wave_gets_its_gradient_without_activations_too() -> None:
    torch.manual_seed(0)
    plain, lean = SampleCNN(width=4, depth=3).double(), SampleCNN(width=4, depth=3, checkpointing=True).double()
    lean.load_state_dict(plain.state_dict())
    wave = torch.randn(5, 1, 100).double().requires_grad_()
    slopes = [torch.autograd.grad(encoder(wave).square().sum(), wave)[0] for encoder in (plain, lean)]
    torch.testing.assert_close(slopes[0], slopes[1])


def test_unknown_forms_are_refused() -> None:
    with pytest.raises(UserError, match="first_padding is 0 or 1, last_kernel 1 or 3; came 2 and 5"):
        SampleCNN(first_padding=2, last_kernel=5)
