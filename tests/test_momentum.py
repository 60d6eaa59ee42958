"""The network that follows: the formula, what is frozen, and the numbers of a schedule."""

import math

import pytest
import torch
from torch import nn
from training_toy import tiny_encoder

from ssl_music.methods.parts.momentum import drift, follow, momentum_copy, raised


def two_networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    source = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).double()
    target = momentum_copy(source)
    with torch.no_grad():
        for weight in source.parameters():
            weight.add_(torch.randn_like(weight))
    return target, source


def test_three_steps_of_the_formula() -> None:
    """θ' = mθ' + (1 − m)θ, with other θ each time, against the sum written out."""
    target, source = two_networks()
    start = {name: weight.clone() for name, weight in target.named_parameters()}
    seen = []
    for _ in range(3):
        with torch.no_grad():
            for weight in source.parameters():
                weight.add_(torch.randn_like(weight))
        seen.append({name: weight.detach().clone() for name, weight in source.named_parameters()})
        follow(target, source, 0.9)
    for name, weight in target.named_parameters():
        wanted = 0.9**3 * start[name] + 0.1 * sum(0.9 ** (2 - step) * seen[step][name] for step in range(3))
        torch.testing.assert_close(weight, wanted, rtol=0, atol=1e-14)
        assert torch.equal(seen[2][name], source.get_parameter(name))


@pytest.mark.parametrize(("decay", "like"), [(0.0, "source"), (1.0, "target")])
def test_the_ends_are_exact(decay: float, like: str) -> None:
    target, source = two_networks()
    wanted = [weight.detach().clone() for weight in (source if like == "source" else target).parameters()]
    follow(target, source, decay)
    assert all(torch.equal(weight, same) for weight, same in zip(target.parameters(), wanted, strict=True))


def test_buffers_are_copied_or_left_alone() -> None:
    target, source = two_networks()
    source(torch.randn(5, 3, dtype=torch.double))
    follow(target, source, 0.5, buffers=False)
    assert target[1].num_batches_tracked == 0 and not target[1].running_mean.any()
    follow(target, source, 0.5)
    assert target[1].num_batches_tracked == 1 and torch.equal(target[1].running_mean, source[1].running_mean)
    assert target[1].running_mean is not source[1].running_mean


def test_a_copy_is_the_same_network_without_gradient() -> None:
    encoder = tiny_encoder("batch")
    again = momentum_copy(encoder)
    wave = torch.randn(2, 1, 243)
    assert torch.equal(again(wave), encoder(wave)) and not again(wave).requires_grad
    assert all(weight.requires_grad for weight in encoder.parameters())
    assert not {weight.data_ptr() for weight in encoder.parameters()} & {
        weight.data_ptr() for weight in again.parameters()
    }


def test_networks_of_other_sizes_are_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        follow(nn.Linear(2, 2), nn.Linear(2, 2, bias=False), 0.5)


def test_drift_is_the_relative_distance() -> None:
    target, source = nn.Linear(2, 1), nn.Linear(2, 1)
    with torch.no_grad():
        source.weight.copy_(torch.tensor([[3.0, 0.0]]))
        source.bias.fill_(4.0)  # of length 5
        target.weight.copy_(torch.tensor([[3.0, 1.0]]))
        target.bias.fill_(4.0)  # 1 away
    assert drift(target, source) == pytest.approx(1 / 5, abs=1e-12)
    assert drift(source, source) == 0


def test_the_cosine_to_one() -> None:
    """BYOL, section 3.3: τ = 1 − (1 − τ_base) · (cos(πk/K) + 1)/2."""
    decays = [raised(0.996, step / 10) for step in range(11)]
    assert decays[0] == 0.996 and decays[10] == 1 and decays == sorted(decays)
    assert decays[3] == pytest.approx(1 - 0.004 * (math.cos(0.3 * math.pi) + 1) / 2, abs=1e-15)
