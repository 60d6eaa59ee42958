"""BYOL's regression and VICReg against their formulas' own loops and closed forms."""

import math

import pytest
import torch
from losses_toy import assert_equal_to, draw
from torch import Tensor

from ssl_music.errors import UserError
from ssl_music.losses import byol_regression, vicreg


def naive_byol(p: Tensor, z: Tensor) -> Tensor:
    """Equation 2: the squared distance of the normalised vectors, which is 2 − 2 cos."""
    terms = []
    for u, v in zip(p, z, strict=True):
        apart = u / u.square().sum().sqrt() - v / v.square().sum().sqrt()
        terms.append(apart.square().sum())
    return torch.stack(terms).mean()


def naive_terms(a: Tensor, b: Tensor, epsilon: float = 1e-4) -> tuple[Tensor, Tensor, Tensor]:
    """Equations 1 to 5, number by number."""
    rows, columns = a.shape
    invariance = sum((a[i, j] - b[i, j]) ** 2 for i in range(rows) for j in range(columns)) / (rows * columns)
    variance, covariance = torch.zeros((), dtype=a.dtype), torch.zeros((), dtype=a.dtype)
    for z in (a, b):
        means = [sum(z[i, j] for i in range(rows)) / rows for j in range(columns)]
        for j in range(columns):
            for k in range(columns):
                shared = sum((z[i, j] - means[j]) * (z[i, k] - means[k]) for i in range(rows)) / (rows - 1)
                if j == k:
                    variance = variance + torch.clamp(1 - torch.sqrt(shared + epsilon), min=0) / columns
                else:
                    covariance = covariance + shared**2 / columns
    return invariance, variance, covariance


def test_byol_regression_is_its_formula() -> None:
    assert_equal_to(naive_byol, byol_regression, *draw(2, 5, 4))


def test_byol_regression_of_parallel_orthogonal_and_opposite_rows() -> None:
    axes = torch.eye(4, dtype=torch.float64)
    assert byol_regression(axes, 5 * axes).item() == pytest.approx(0, abs=1e-12)
    assert byol_regression(axes, axes.roll(1, 0)).item() == pytest.approx(2, abs=1e-12)
    assert byol_regression(axes, -0.1 * axes).item() == pytest.approx(4, abs=1e-12)


@pytest.mark.parametrize(("rows", "columns"), [(2, 3), (6, 4), (3, 7)])
@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_vicreg_is_its_formula(rows: int, columns: int, scale: float) -> None:
    """Scaled so that some standard deviations lie below the hinge and, at 1, some above."""
    views = scale * draw(2, rows, columns, seed=rows)
    for number, name in enumerate(("invariance", "variance", "covariance")):
        assert_equal_to(
            lambda a, b, number=number: naive_terms(a, b)[number],
            lambda a, b, name=name: getattr(vicreg(a, b), name),
            *views,
        )

    def weighted(a: Tensor, b: Tensor) -> Tensor:
        alike, spread, apart = naive_terms(a, b, epsilon=0.01)
        return 3 * alike + 5 * spread + 7 * apart

    assert_equal_to(
        weighted, lambda a, b: vicreg(a, b, invariance=3, variance=5, covariance=7, epsilon=0.01).loss, *views
    )


def test_vicreg_of_parallel_and_of_orthogonal_embeddings() -> None:
    same = torch.ones(4, 3, dtype=torch.float64)
    loss, *terms = vicreg(same, same)
    assert [term.item() for term in terms] == pytest.approx([0, 2 * (1 - math.sqrt(1e-4)), 0], abs=1e-12)
    assert loss.item() == pytest.approx(49.5, abs=1e-12)
    # N unit axes: variance of each dimension 1/N, covariance −1/(N(N−1)) of each two
    rows = 4
    axes = torch.eye(rows, dtype=torch.float64)
    _, alike, spread, apart = vicreg(axes, 3 * axes)
    assert alike.item() == pytest.approx(4 / rows)
    assert spread.item() == pytest.approx(1 - math.sqrt(1 / rows + 1e-4))  # the second view's 9/4 is above the hinge
    assert apart.item() == pytest.approx((rows - 1) * (1 + 81) / (rows * (rows - 1)) ** 2)


def test_vicreg_is_at_its_least_for_whitened_views() -> None:
    left, _ = torch.linalg.qr(draw(16, 16) - draw(16, 16).mean(dim=0))
    centred = left - left.mean(dim=0)
    white = torch.linalg.qr(centred)[0][:, :5] * math.sqrt(15)
    assert vicreg(white, white).loss.item() == pytest.approx(0, abs=1e-9)


def test_vicreg_never_makes_batch_times_matrix() -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for tensor in out if isinstance(out, (tuple, list)) else [out]:
                if isinstance(tensor, Tensor):
                    self.numbers = max(self.numbers, tensor.numel())
            return out

    a, b = (torch.randn(64, 128).requires_grad_() for _ in range(2))
    with Largest() as largest:
        vicreg(a, b).loss.backward()
    assert largest.numbers <= 128 * 128


def test_refuse_other_shapes() -> None:
    two, three = torch.ones(2, 3), torch.ones(3, 3)
    for p, z in [(two, three), (two[0], two[0]), (two[:0], two[:0])]:
        with pytest.raises(UserError, match=r"byol_regression: .* \(B, D\) are wanted; came"):
            byol_regression(p, z)
    with pytest.raises(
        UserError, match=r"vicreg: two views of shape \(B, D\) are wanted; came \(2, 3\) and \(3, 3\)"
    ):
        vicreg(two, three)
    with pytest.raises(UserError, match="2 or more"):
        vicreg(two[:1], two[:1])
