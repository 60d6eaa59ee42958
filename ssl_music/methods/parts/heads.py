"""What stands behind an encoder while it learns, and is thrown away after it: projectors and predictors."""

from itertools import pairwise

from torch import nn


def mlp(*widths: int, norm: bool = False, last_norm: bool = False, bias: bool = True) -> nn.Sequential:
    """Linear layers of these widths with ReLU between; `norm` puts a batch norm before each ReLU, `last_norm` one
    without scale and shift behind the last layer. A layer before a norm has no bias: the norm would take it away.

    Shape: (B, widths[0]) → (B, widths[-1]).

    >>> [type(layer).__name__ for layer in mlp(4, 8, 2, norm=True)]
    ['Linear', 'BatchNorm1d', 'ReLU', 'Linear']
    """
    layers: list[nn.Module] = []
    for number, (width, following) in enumerate(pairwise(widths), 1):
        last = number == len(widths) - 1
        normed = last_norm if last else norm
        layers.append(nn.Linear(width, following, bias=bias and not normed))
        if normed:
            layers.append(nn.BatchNorm1d(following, affine=not last))
        if not last:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)
