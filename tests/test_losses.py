"""The contrastive loss against the formula's own double loop, closed forms, and what it may cost."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ssl_music.errors import UserError
from ssl_music.losses import effective_rank, nt_xent, similarity_statistics, trivial_loss


def naive(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Equation 1 of the SimCLR paper, term by term."""
    views = [*a, *b]
    pairs, total = len(a), torch.zeros((), dtype=a.dtype)

    def similarity(i: int, k: int) -> Tensor:
        u, v = views[i], views[k]
        return (u * v).sum() / (u.square().sum().sqrt() * v.square().sum().sqrt())

    for i in range(2 * pairs):
        j = (i + pairs) % (2 * pairs)
        below = sum(torch.exp(similarity(i, k) / temperature) for k in range(2 * pairs) if k != i)
        total = total - torch.log(torch.exp(similarity(i, j) / temperature) / below)
    return total / (2 * pairs)


@pytest.mark.parametrize("pairs", [2, 3, 7])
@pytest.mark.parametrize("temperature", [0.07, 0.5, 1.0])
def test_equals_the_formula_in_value_and_gradient(pairs: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(pairs)
    a = torch.randn(pairs, 5, dtype=torch.float64, generator=generator).requires_grad_()
    b = torch.randn(pairs, 5, dtype=torch.float64, generator=generator).requires_grad_()
    ours, theirs = nt_xent(a, b, temperature), naive(a, b, temperature)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    for mine, its in zip(torch.autograd.grad(ours, (a, b)), torch.autograd.grad(theirs, (a, b)), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("pairs", [2, 48])
def test_closed_forms(pairs: int) -> None:
    same = torch.ones(pairs, 3, dtype=torch.float64)
    assert nt_xent(same, same).item() == pytest.approx(trivial_loss(pairs), abs=1e-12)
    orthogonal = torch.eye(pairs, dtype=torch.float64)
    expected = -math.log(math.e**2 / (math.e**2 + 2 * pairs - 2))
    assert nt_xent(orthogonal, orthogonal, 0.5).item() == pytest.approx(expected, abs=1e-12)


def test_scale_and_order_do_not_matter() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 6, 4, dtype=torch.float64, generator=generator)
    shuffled = torch.randperm(6, generator=generator)
    loss = nt_xent(a, b).item()
    assert nt_xent(b, a).item() == pytest.approx(loss, abs=1e-12)
    assert nt_xent(3 * a[shuffled], 7 * b[shuffled]).item() == pytest.approx(loss, abs=1e-12)


def test_leaves_its_arguments_alone() -> None:
    a, b = torch.randn(2, 4, 3)
    before = a.clone(), b.clone()
    nt_xent(a, b)
    assert torch.equal(a, before[0]) and torch.equal(b, before[1])


def test_zero_rows_stay_finite() -> None:
    a = torch.zeros(3, 4, requires_grad=True)
    loss = nt_xent(a, torch.zeros(3, 4))
    loss.backward()
    assert loss.item() == pytest.approx(trivial_loss(3)) and a.grad is not None and a.grad.isfinite().all()


def test_is_float32_under_autocast() -> None:
    a, b = torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(nt_xent(a, b), nt_xent(a, b).float())
        inside = nt_xent(a, b)
    assert inside.dtype == torch.float32
    assert inside.item() == pytest.approx(nt_xent(a, b).item(), abs=1e-6)
    assert nt_xent(a.bfloat16(), b.bfloat16()).dtype == torch.float32


def test_never_makes_pairs_times_pairs_times_dimension() -> None:
    """Every tensor that the forward and backward pass make has at most 2B × 2B or 2B × D numbers."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for tensor in out if isinstance(out, (tuple, list)) else [out]:
                if isinstance(tensor, Tensor):
                    self.numbers = max(self.numbers, tensor.numel())
            return out

    a, b = (torch.randn(64, 256).requires_grad_() for _ in range(2))
    with Largest() as largest:
        nt_xent(a, b).backward()
    assert largest.numbers <= max(128 * 128, 128 * 256)


@pytest.mark.parametrize("temperature", [0, -0.5, math.nan])
def test_refuses_a_temperature_that_is_not_positive(temperature: float) -> None:
    with pytest.raises(UserError, match=r"temperature .* above 0"):
        nt_xent(torch.ones(2, 2), torch.ones(2, 2), temperature)


@pytest.mark.parametrize("function", [nt_xent, similarity_statistics])
def test_refuses_other_shapes(function) -> None:
    with pytest.raises(UserError, match=r"\(B, D\) are wanted; came \(2, 3\) and \(3, 3\)"):
        function(torch.ones(2, 3), torch.ones(3, 3))
    with pytest.raises(UserError, match=r"came \(2, 3, 1\)"):
        function(torch.ones(2, 3, 1), torch.ones(2, 3, 1))
    with pytest.raises(UserError, match="2 or more"):
        function(torch.ones(1, 3), torch.ones(1, 3))


def test_similarities_equal_the_mean_over_pairs() -> None:
    generator = torch.Generator().manual_seed(3)
    a, b = torch.randn(2, 5, 4, generator=generator)
    z = torch.nn.functional.normalize(torch.cat([a, b]), dim=1).double()
    cosine = z @ z.T
    positive = [cosine[i, (i + 5) % 10].item() for i in range(10)]
    negative = [cosine[i, k].item() for i in range(10) for k in range(10) if (i - k) % 5]
    assert similarity_statistics(a, b) == pytest.approx((np.mean(positive), np.mean(negative)), abs=1e-6)


@pytest.mark.parametrize("strength", [[1.0], [1, 1], [1, 1, 1, 1], [4, 2, 1, 1]])
def test_effective_rank_is_the_exponential_of_the_entropy(strength: list[float]) -> None:
    left, _ = torch.linalg.qr(torch.randn(9, len(strength), dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(6, len(strength), dtype=torch.float64))
    share = np.array(strength) / np.sum(strength)
    expected = math.exp(-(share * np.log(share)).sum())
    assert effective_rank(left @ torch.diag(torch.tensor(strength).double()) @ right.T) == pytest.approx(expected)


def test_effective_rank_of_nothing_and_of_a_vector() -> None:
    assert effective_rank(torch.zeros(4, 3)) == 0.0
    with pytest.raises(UserError, match=r"\(N, D\)"):
        effective_rank(torch.ones(4))
