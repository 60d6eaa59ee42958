"""Losses against probabilities: naive loops over the formulas, closed forms, and logits that overflow exp."""

import math

import pytest
import torch
from losses_toy import assert_equal_to, draw
from torch import Tensor

from ssl_music.errors import UserError
from ssl_music.losses import divergence, entropy, soft_binary_cross_entropy, soft_cross_entropy


def softmax(row: Tensor) -> list[Tensor]:
    total = torch.stack([torch.exp(value) for value in row]).sum()
    return [torch.exp(value) / total for value in row]


def sigmoid(value: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-value))


def beliefs(logits: Tensor, multi_label: bool) -> list[list[Tensor]]:
    """Distributions: one of K chances for each row, or one of two chances for each row and tag."""
    if multi_label:
        return [[sigmoid(value), 1 - sigmoid(value)] for value in logits.flatten()]
    return [softmax(row) for row in logits]


def mean_over(pairs, term) -> Tensor:
    return torch.stack([torch.stack([term(p, q) for p, q in zip(*pair, strict=True)]).sum() for pair in pairs]).mean()


def test_soft_cross_entropy_is_its_formula() -> None:
    def naive(logits: Tensor, probabilities: Tensor) -> Tensor:
        return mean_over(zip(probabilities, beliefs(logits, False), strict=True), lambda p, q: -p * torch.log(q))

    assert_equal_to(naive, soft_cross_entropy, draw(5, 4), draw(5, 4, seed=1).softmax(dim=1))


def test_soft_binary_cross_entropy_is_its_formula() -> None:
    def naive(logits: Tensor, probabilities: Tensor) -> Tensor:
        tags = [(p, 1 - p) for p in probabilities.flatten()]
        return mean_over(zip(tags, beliefs(logits, True), strict=True), lambda p, q: -p * torch.log(q))

    assert_equal_to(naive, soft_binary_cross_entropy, draw(5, 4), draw(5, 4, seed=1).sigmoid())


@pytest.mark.parametrize("multi_label", [False, True])
def test_entropy_is_its_formula(multi_label: bool) -> None:
    def naive(logits: Tensor) -> Tensor:
        believed = beliefs(logits, multi_label)
        return mean_over(zip(believed, believed, strict=True), lambda p, q: -p * torch.log(q))

    assert_equal_to(naive, lambda logits: entropy(logits, multi_label=multi_label), 2 * draw(5, 4))


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_divergence_is_its_formula(multi_label: bool, temperature: float) -> None:
    def naive(student: Tensor, teacher: Tensor) -> Tensor:
        pairs = zip(
            beliefs(teacher / temperature, multi_label), beliefs(student / temperature, multi_label), strict=True
        )
        return temperature**2 * mean_over(pairs, lambda p, q: p * torch.log(p / q))

    assert_equal_to(
        naive,
        lambda student, teacher: divergence(student, teacher, multi_label=multi_label, temperature=temperature),
        2 * draw(5, 4),
        2 * draw(5, 4, seed=1),
    )


@pytest.mark.parametrize("multi_label", [False, True])
def test_divergence_is_cross_entropy_less_the_teachers_entropy(multi_label: bool) -> None:
    student, teacher = draw(2, 6, 5)
    cross = (
        soft_binary_cross_entropy(student, teacher.sigmoid())
        if multi_label
        else soft_cross_entropy(student, teacher.softmax(dim=1))
    )
    expected = cross - entropy(teacher, multi_label=multi_label)
    torch.testing.assert_close(
        divergence(student, teacher, multi_label=multi_label), expected, rtol=1e-12, atol=1e-12
    )


def test_soft_losses_of_hard_labels_are_torchs() -> None:
    logits, classes = draw(6, 4), torch.tensor([0, 3, 1, 1, 2, 0])
    hard = torch.nn.functional.one_hot(classes, 4).double()
    torch.testing.assert_close(soft_cross_entropy(logits, hard), torch.nn.functional.cross_entropy(logits, classes))
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, hard)
    torch.testing.assert_close(soft_binary_cross_entropy(logits, hard), expected)


def test_closed_forms() -> None:
    flat, sure = torch.zeros(3, 8), torch.tensor([[200.0] + [-200.0] * 7] * 3)
    assert entropy(flat, multi_label=False).item() == pytest.approx(math.log(8))
    assert entropy(flat, multi_label=True).item() == pytest.approx(math.log(2))
    assert entropy(sure, multi_label=False).item() == entropy(sure, multi_label=True).item() == 0
    for multi_label, guess in ((False, math.log(8)), (True, math.log(2))):
        assert divergence(sure, sure, multi_label=multi_label).item() == 0
        assert divergence(flat, sure, multi_label=multi_label).item() == pytest.approx(guess)


@pytest.mark.parametrize("multi_label", [False, True])
def test_logits_that_overflow_exp_keep_value_and_gradient_finite(multi_label: bool) -> None:
    """A student certain of the wrong class: the loss is its distance in logits, and its gradient is not lost."""
    student = torch.tensor([[1000.0, -1000.0]], requires_grad=True)
    teacher = torch.tensor([[-1000.0, 1000.0]])
    loss = divergence(student, teacher, multi_label=multi_label)
    loss.backward()
    assert loss.item() == pytest.approx(1000 if multi_label else 2000)
    share = 0.5 if multi_label else 1.0
    assert student.grad is not None and student.grad.tolist() == [[share, -share]]
    certain = entropy(student, multi_label=multi_label)
    (gradient,) = torch.autograd.grad(certain, student)
    assert certain.item() == 0 and gradient.isfinite().all()


def test_temperature_keeps_the_size_of_the_gradient() -> None:
    """For logits small against T and of mean 0, the gradient times T² is that of half the mean squared distance."""
    student, teacher = draw(2, 4, 6)
    student, teacher = student - student.mean(1, keepdim=True), teacher - teacher.mean(1, keepdim=True)
    student.requires_grad_()
    (hot,) = torch.autograd.grad(divergence(student, teacher, multi_label=False, temperature=1e4), student)
    torch.testing.assert_close(hot, ((student - teacher) / 6 / 4).detach(), rtol=1e-3, atol=1e-6)


def test_refuse_other_shapes() -> None:
    two, three = torch.ones(2, 3), torch.ones(3, 3)
    for first, second in [(two, three), (two[0], two[0]), (two[:0], two[:0]), (two[:, :0], two[:, :0])]:
        with pytest.raises(UserError, match=r"soft_cross_entropy: two of shape \(N, K\).* came"):
            soft_cross_entropy(first, second)
        with pytest.raises(UserError, match=r"soft_binary_cross_entropy: two of shape \(N, K\).* came"):
            soft_binary_cross_entropy(first, second)
        with pytest.raises(UserError, match=r"divergence: two of shape \(N, K\).* came"):
            divergence(first, second, multi_label=True)
    with pytest.raises(UserError, match="entropy: logits"):
        entropy(two[0], multi_label=False)
    with pytest.raises(UserError, match="divergence: temperature 0"):
        divergence(two, two, multi_label=False, temperature=0)
