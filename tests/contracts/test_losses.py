"""What every loss keeps: a number that can be minimised, float32 or better, arguments left alone.

A function that is new in ssl_music.losses fails here until CASES knows how to call it.
"""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from ssl_music import losses

NUMBERS = {"alignment", "effective_rank", "similarity_statistics", "trivial_loss", "uniformity"}  # without gradient


class Case(NamedTuple):
    """How to call one loss, and the shapes of its arguments; those made into probabilities stand in `chances`."""

    loss: Callable[..., Tensor]
    shapes: list[tuple[int, ...]]
    chances: bool = False


CASES = {
    "nt_xent": Case(losses.nt_xent, [(6, 5), (6, 5)]),
    "nt_xent, decoupled": Case(lambda a, b: losses.nt_xent(a, b, decoupled=True), [(6, 5), (6, 5)]),
    "info_nce": Case(losses.info_nce, [(6, 5), (6, 5), (9, 5)]),
    "row_info_nce": Case(lambda query, key: losses.row_info_nce(query, key, 0.2), [(6, 5), (6, 5)]),
    "bilinear_cross_entropy": Case(losses.bilinear_cross_entropy, [(6, 5), (6, 4), (5, 4)]),
    "latent_info_nce": Case(losses.latent_info_nce, [(3, 4, 5), (3, 4, 5)]),
    "byol_regression": Case(losses.byol_regression, [(6, 5), (6, 5)]),
    "vicreg": Case(lambda a, b: losses.vicreg(a, b).loss, [(6, 5), (6, 5)]),
    "soft_cross_entropy": Case(losses.soft_cross_entropy, [(6, 5), (6, 5)], chances=True),
    "soft_binary_cross_entropy": Case(losses.soft_binary_cross_entropy, [(6, 5), (6, 5)], chances=True),
    "entropy": Case(lambda logits: losses.entropy(logits, multi_label=False), [(6, 5)]),
    "entropy, multi-label": Case(lambda logits: losses.entropy(logits, multi_label=True), [(6, 5)]),
    "divergence": Case(lambda *both: losses.divergence(*both, multi_label=False, temperature=2), [(6, 5), (6, 5)]),
    "divergence, multi-label": Case(lambda *both: losses.divergence(*both, multi_label=True), [(6, 5), (6, 5)]),
}
EVERY = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def arguments(case: Case, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(shape, generator=generator) for shape in case.shapes]
    if case.chances:
        drawn[1] = drawn[1].softmax(dim=1)
    return [tensor.to(dtype).requires_grad_() for tensor in drawn]


def test_every_loss_is_here() -> None:
    functions = {name for name in losses.__all__ if callable(getattr(losses, name)) and name[0].islower()}
    assert {name.split(",")[0] for name in CASES} | NUMBERS == functions


@EVERY
def test_is_one_number_with_a_gradient_by_every_argument(case: Case) -> None:
    given = arguments(case)
    loss = case.loss(*given)
    assert loss.shape == () and loss.dtype == torch.float32
    for gradient in torch.autograd.grad(loss, given):
        assert gradient.isfinite().all() and gradient.abs().max() > 0


@EVERY
def test_is_float64_in_float64(case: Case) -> None:
    assert case.loss(*arguments(case, torch.float64)).dtype == torch.float64


@EVERY
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_raised_to_float32(case: Case, dtype: torch.dtype) -> None:
    given = arguments(case, dtype)
    raised = case.loss(*given)
    assert raised.dtype == torch.float32
    assert torch.equal(raised, case.loss(*(tensor.float() for tensor in given)))


@EVERY
def test_autocast_changes_no_bit_of_value_or_gradient(case: Case) -> None:
    given = arguments(case)
    outside = case.loss(*given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = case.loss(*given)
    assert inside.dtype == torch.float32 and torch.equal(inside, outside)
    assert all(map(torch.equal, torch.autograd.grad(inside, given), torch.autograd.grad(outside, given)))


@EVERY
def test_leaves_its_arguments_alone(case: Case) -> None:
    given = [tensor.detach() for tensor in arguments(case)]
    before = [tensor.clone() for tensor in given]
    case.loss(*given)
    case.loss(*(tensor.requires_grad_() for tensor in given)).backward()
    assert all(map(torch.equal, given, before))


@EVERY
def test_zeros_and_equal_rows_stay_finite(case: Case) -> None:
    """What a collapsed network gives: its gradient may be 0, but never NaN."""
    for fill in (0.0, 1.0):
        given = [torch.full(shape, fill).requires_grad_() for shape in case.shapes]
        loss = case.loss(*given)
        assert loss.isfinite()
        assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss, given))
