"""Losses against probabilities instead of labels: what a teacher believes, and what a student is sure of.

Single-label: one class of K, softmax over a row, a mean over rows. Multi-label: K tags that are there or not, a
sigmoid each, a mean over rows and tags. Logarithms are natural. It is the caller's to leave out rows without a label,
and to take a teacher's probabilities without gradient.
"""

from torch import Tensor
from torch.nn import functional

from ssl_music.errors import UserError
from ssl_music.losses.base import at_least_float32, check_temperature


def soft_cross_entropy(logits: Tensor, probabilities: Tensor) -> Tensor:
    """Cross-entropy of softmax(logits) against probabilities of K classes that sum to 1: mean of −Σ p log q.

    What the student of noisy student learns from soft pseudo-labels (Xie et al. 2020, arXiv 1911.04252, section 2).

    Shape: logits (N, K), probabilities (N, K) → ().

    >>> import torch
    >>> round(soft_cross_entropy(torch.zeros(2, 4), torch.eye(4)[:2]).item(), 4)  # ln 4
    1.3863
    """
    logits, probabilities = _pair("soft_cross_entropy", logits, probabilities)
    return -(probabilities * logits.log_softmax(dim=1)).sum(dim=1).mean()


def soft_binary_cross_entropy(logits: Tensor, probabilities: Tensor) -> Tensor:
    """Cross-entropy of sigmoid(logits) against a probability for each tag: mean of −p log q − (1 − p) log(1 − q).

    Shape: logits (N, K), probabilities (N, K) → ().

    >>> import torch
    >>> round(soft_binary_cross_entropy(torch.zeros(2, 4), torch.full((2, 4), 0.9)).item(), 4)  # ln 2
    0.6931
    """
    logits, probabilities = _pair("soft_binary_cross_entropy", logits, probabilities)
    return (probabilities * _surprise(logits) + (1 - probabilities) * _surprise(-logits)).mean()


def entropy(logits: Tensor, *, multi_label: bool) -> Tensor:
    """How unsure the logits are: from 0 to ln K for one class of K, to ln 2 for a tag.

    As a loss on unlabelled rows it is entropy minimisation (Grandvalet & Bengio 2004, "Semi-supervised learning by
    entropy minimization").

    Shape: logits (N, K) → ().

    >>> import torch
    >>> round(entropy(torch.zeros(3, 4), multi_label=False).item(), 4)  # ln 4
    1.3863
    >>> round(entropy(torch.zeros(3, 4), multi_label=True).item(), 4)  # ln 2
    0.6931
    """
    if logits.dim() != 2 or not logits.numel():
        raise UserError(f"entropy: logits of shape (N, K), not empty, are wanted; came {tuple(logits.shape)}")
    (logits,) = at_least_float32(logits)
    if multi_label:
        return soft_binary_cross_entropy(logits, logits.sigmoid())
    return soft_cross_entropy(logits, logits.softmax(dim=1))


def divergence(
    student_logits: Tensor, teacher_logits: Tensor, *, multi_label: bool, temperature: float = 1.0
) -> Tensor:
    """Kullback-Leibler divergence KL(teacher ‖ student) of both at temperature T, times T²: 0 where they agree.

    Distillation (Hinton et al. 2015, arXiv 1503.02531, section 2): logits are divided by T, and "since the magnitudes
    of the gradients produced by the soft targets scale as 1/T² it is important to multiply them by T²". It is the
    cross-entropy against the teacher less the teacher's own entropy, so the student's gradient is the same.

    Shape: student_logits (N, K), teacher_logits (N, K) → ().

    >>> import torch
    >>> logits = torch.tensor([[2.0, 0.0, -1.0]])
    >>> divergence(logits, logits + 3, multi_label=False).abs().item() < 1e-6
    True
    >>> round(divergence(torch.zeros(1, 2), torch.tensor([[0.0, 50.0]]), multi_label=False).item(), 4)  # ln 2
    0.6931
    """
    check_temperature(temperature, "divergence", "1 leaves the logits as they are")
    student, teacher = _pair("divergence", student_logits, teacher_logits)
    student, teacher = student / temperature, teacher / temperature
    if multi_label:
        there = teacher.sigmoid() * (_surprise(student) - _surprise(teacher))
        absent = (-teacher).sigmoid() * (_surprise(-student) - _surprise(-teacher))
        return (there + absent).mean() * temperature**2
    certain = teacher.log_softmax(dim=1)
    return (certain.exp() * (certain - student.log_softmax(dim=1))).sum(dim=1).mean() * temperature**2


def _surprise(logits: Tensor) -> Tensor:
    """−log sigmoid(logits), which never overflows."""
    return functional.softplus(-logits)


def _pair(who: str, logits: Tensor, other: Tensor) -> tuple[Tensor, ...]:
    if logits.dim() != 2 or logits.shape != other.shape or not logits.numel():
        came = f"{tuple(logits.shape)} and {tuple(other.shape)}"
        raise UserError(f"{who}: two of shape (N, K), none empty, are wanted; came {came}")
    return at_least_float32(logits, other)
