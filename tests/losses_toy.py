"""What the tests of the losses share: embeddings to try them on, and equality with a naive loop."""

from collections.abc import Callable

import torch
from torch import Tensor


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def assert_equal_to(
    naive: Callable[..., Tensor], ours: Callable[..., Tensor], *arguments: Tensor, tolerance: float = 1e-11
) -> None:
    """Both functions of the same arguments, in float64: their values and their gradients by every argument."""
    leaves = [argument.detach().clone().requires_grad_() for argument in arguments]
    mine, its = ours(*leaves), naive(*leaves)
    assert mine.shape == () and mine.dtype == torch.float64
    torch.testing.assert_close(mine, its, rtol=tolerance, atol=tolerance)
    for left, right in zip(torch.autograd.grad(mine, leaves), torch.autograd.grad(its, leaves), strict=True):
        torch.testing.assert_close(left, right, rtol=tolerance, atol=tolerance)


def cosine(u: Tensor, v: Tensor) -> Tensor:
    return (u * v).sum() / (u.square().sum().sqrt() * v.square().sum().sqrt())


def guess(own: Tensor, all_of_them: list[Tensor]) -> Tensor:
    """−log of the share of exp(own) in the sum of exp over all of them."""
    return -torch.log(torch.exp(own) / torch.stack([torch.exp(score) for score in all_of_them]).sum())
