"""PASE's workers: small networks behind an encoder, each with a question about a segment that its wave answers.

Regression workers tell what the segment sounds like (`worker_targets` says in which numbers), mutual information
workers whether two embeddings come from one track.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ssl_music.losses.base import at_least_float32, check_several
from ssl_music.methods.parts.heads import mlp

#: hidden units: those of the published settings, of every worker but the waveform's
HIDDEN = 256
#: a number that differs less than this from row to row (dB, ln Hz, full scale) has nothing to tell
LEAST_DEVIATION = 1e-3
#: hidden numbers of pairs in one block: 64 MiB in float32
BLOCK_NUMBERS = 2**24


def standardised(rows: Tensor) -> Tensor:
    """Every column at mean 0 and standard deviation 1 over the rows; a column that hardly varies stays near 0.

    The statistics are those of the whole batch, on all devices, so nothing has to be remembered from step to step.

    >>> standardised(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    tensor([[-1.,  0.],
            [ 1.,  0.]])
    """
    deviation, mean = torch.std_mean(rows, dim=0, correction=0)
    return (rows - mean) / deviation.clamp(min=LEAST_DEVIATION)


class RegressionWorker(nn.Module):
    """Tells numbers of a segment from its embedding, with one hidden layer.

    Returns the mean error, and the error of whoever tells nothing and says 0, the batch's mean.

    Shape: embedding (N, D), target (N, numbers) → (), ().

    >>> loss, trivial = RegressionWorker(4, 2, functional.mse_loss)(torch.zeros(3, 4), torch.ones(3, 2))
    >>> trivial
    tensor(1.)
    """

    def __init__(self, embedding_dim: int, numbers: int, error: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.network = mlp(embedding_dim, HIDDEN, numbers)
        self.error = error

    def forward(self, embedding: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        told, target = at_least_float32(self.network(embedding), target)
        return self.error(told, target), self.error(torch.zeros_like(target), target)


class MutualInformationWorker(nn.Module):
    """Tells whether two embeddings belong together: a binary classifier of pairs, with one hidden layer.

    For each anchor the positive is the embedding of the same number among `others` (the same track), and negatives
    are those of all other tracks of the batch; each kind has half the weight. The paper draws one negative; its
    expectation is what is computed here, so nothing is drawn and the order of tracks does not matter. Whoever tells
    nothing pays ln 2. Pairs are made in blocks of anchors: memory is linear in N.

    Shape: anchors (V, N, D), others (V, N, D) → (), ().

    >>> loss, trivial = MutualInformationWorker(4)(torch.ones(1, 3, 4), torch.ones(1, 3, 4))
    >>> bool(loss >= trivial), round(trivial.item(), 3)
    (True, 0.693)
    """

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.network = mlp(2 * embedding_dim, HIDDEN, 1)

    def forward(self, anchors: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        views, count, width = anchors.shape
        check_several(count, "mutual information")
        # the first layer of a pair is the sum of what it makes of each: N rows of work in place of N²
        first = self.network[0]
        assert isinstance(first, nn.Linear)
        a = functional.linear(anchors, first.weight[:, :width], first.bias)  # (V, N, H)
        b = functional.linear(others, first.weight[:, width:])
        size = max(1, BLOCK_NUMBERS // b.numel())
        if size >= count:
            total = self._costs(a, b, 0)
        else:
            blocks = enumerate(a.split(size, dim=1))
            costs = [checkpoint(self._costs, rows, b, number * size, use_reentrant=False) for number, rows in blocks]
            total = torch.stack(costs).sum()
        return total / (2 * views * count), total.new_tensor(math.log(2))

    def _costs(self, a: Tensor, b: Tensor, first: int) -> Tensor:
        """The sum over some anchors, the first of which has the number `first`: (V, R, H), (V, N, H) → ()."""
        logits = self.network[1:](a[:, :, None] + b[:, None])[..., 0]  # (V, R, N)
        (logits,) = at_least_float32(logits)
        own = torch.zeros(logits.shape[1:], dtype=torch.bool, device=logits.device)
        own.diagonal(first).fill_(True)
        negatives = functional.softplus(logits) / (logits.shape[2] - 1)
        return torch.where(own, functional.softplus(-logits), negatives).sum()
