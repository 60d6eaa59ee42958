"""The numbers that tell of collapse, against means over pairs and closed forms."""

import math

import numpy as np
import pytest
import torch
from losses_toy import draw

from ssl_music.errors import UserError
from ssl_music.losses import alignment, base, effective_rank, similarity_statistics, uniformity


def test_similarities_equal_the_mean_over_pairs() -> None:
    a, b = draw(2, 5, 4).float()
    z = torch.nn.functional.normalize(torch.cat([a, b]), dim=1).double()
    cosine = z @ z.T
    positive = [cosine[i, (i + 5) % 10].item() for i in range(10)]
    negative = [cosine[i, k].item() for i in range(10) for k in range(10) if (i - k) % 5]
    assert similarity_statistics(a, b) == pytest.approx((np.mean(positive), np.mean(negative)), abs=1e-6)


@pytest.mark.parametrize("strength", [[1.0], [1, 1], [1, 1, 1, 1], [4, 2, 1, 1]])
def test_effective_rank_is_the_exponential_of_the_entropy(strength: list[float]) -> None:
    left, _ = torch.linalg.qr(draw(9, len(strength)))
    right, _ = torch.linalg.qr(draw(6, len(strength), seed=1))
    share = np.array(strength) / np.sum(strength)
    expected = math.exp(-(share * np.log(share)).sum())
    assert effective_rank(left @ torch.diag(torch.tensor(strength).double()) @ right.T) == pytest.approx(expected)


def test_effective_rank_of_nothing_and_of_a_vector() -> None:
    assert effective_rank(torch.zeros(4, 3)) == 0.0
    with pytest.raises(UserError, match=r"\(N, D\)"):
        effective_rank(torch.ones(4))


def unit(z: torch.Tensor) -> np.ndarray:
    return (z / z.square().sum(dim=1, keepdim=True).sqrt()).numpy()


def test_alignment_is_the_mean_squared_distance() -> None:
    a, b = draw(2, 6, 3)
    expected = np.mean([((u - v) ** 2).sum() for u, v in zip(unit(a), unit(b), strict=True)])
    assert alignment(a, b) == pytest.approx(expected, abs=1e-12)
    assert alignment(a, 5 * a) == pytest.approx(0, abs=1e-12) and alignment(a, -a) == pytest.approx(4, abs=1e-12)


@pytest.mark.parametrize("numbers", [2**24, 30, 1])
def test_uniformity_is_the_log_mean_over_pairs_in_blocks_of_any_size(numbers: int, monkeypatch) -> None:
    monkeypatch.setattr(base, "BLOCK_NUMBERS", numbers)
    z = draw(9, 3)
    rows = unit(z)
    pairs = [math.exp(-2 * ((rows[i] - rows[k]) ** 2).sum()) for i in range(9) for k in range(i)]
    assert uniformity(z) == pytest.approx(math.log(np.mean(pairs)), abs=1e-12)


@pytest.mark.parametrize("same", [torch.ones(6, 3), torch.zeros(6, 3), -7e-3 * torch.ones(6, 1)])
def test_collapse_has_uniformity_zero(same: torch.Tensor) -> None:
    assert uniformity(same) == pytest.approx(0, abs=1e-12)


def test_uniformity_of_orthogonal_and_of_random_directions() -> None:
    assert uniformity(torch.eye(6)) == pytest.approx(-4, abs=1e-12)
    assert uniformity(draw(1000, 64)) == pytest.approx(-4 + 8 / 64, abs=0.01)


def test_nothing_asks_for_a_gradient() -> None:
    a, b = (view.requires_grad_() for view in draw(2, 4, 3))
    assert isinstance(uniformity(a), float) and isinstance(alignment(a, b), float)
    assert isinstance(effective_rank(a), float) and isinstance(similarity_statistics(a, b)[0], float)


@pytest.mark.parametrize("function", [similarity_statistics, alignment])
def test_two_views_refuse_other_shapes(function) -> None:
    with pytest.raises(UserError, match=r"\(B, D\) are wanted; came \(2, 3\) and \(3, 3\)"):
        function(torch.ones(2, 3), torch.ones(3, 3))
    with pytest.raises(UserError, match=r"came \(2, 3, 1\)"):
        function(torch.ones(2, 3, 1), torch.ones(2, 3, 1))
    with pytest.raises(UserError, match="2 or more"):
        function(torch.ones(1, 3), torch.ones(1, 3))


def test_uniformity_refuses_other_shapes() -> None:
    with pytest.raises(UserError, match=r"\(N, D\); came \(4,\)"):
        uniformity(torch.ones(4))
    with pytest.raises(UserError, match="2 or more"):
        uniformity(torch.ones(1, 4))
