"""Which rows of a batch are compared with which, where tags say what is alike.

Mining is that of the multi-similarity loss (Wang et al. 2019, arXiv 1904.06627), for any two masks: the miner of
pytorch-metric-learning wants one label a row.
"""

import torch
from torch import Tensor


def tag_pairs(targets: Tensor, positive_overlap: float) -> tuple[Tensor, Tensor]:
    """Which pairs of rows are positive, and which are negative: (B, B) bool each.

    Shape: targets (B, K) → (B, B), (B, B).

    >>> positive, negative = tag_pairs(torch.tensor([[1.0, 0], [1, 1], [0, 1]]), 0.5)
    >>> positive.int().tolist(), negative.int().tolist()
    ([[0, 1, 0], [1, 0, 1], [0, 1, 0]], [[0, 0, 1], [0, 0, 0], [1, 0, 0]])
    """
    targets = targets.to(torch.float64)  # counts: exact
    shared, count = targets @ targets.T, targets.sum(dim=1)
    either = count[:, None] + count[None] - shared
    others = ~torch.eye(len(targets), dtype=torch.bool, device=targets.device)
    return (shared >= positive_overlap * either) & (shared > 0) & others, shared == 0


def hard_pairs(similarity: Tensor, positive: Tensor, negative: Tensor, epsilon: float) -> Tensor:
    """Which of the pairs tell something: (B, B) bool.

    A positive pair does if it is less similar than the most similar negative one of its row plus ε; a negative pair
    if it is more similar than the least similar positive one minus ε. A row without either has none.

    Shape: three times (B, B) → (B, B).

    >>> apart = torch.tensor([[1.0, 0.9, 0.1], [0.9, 1.0, 0.1], [0.1, 0.1, 1.0]])
    >>> positive, negative = tag_pairs(torch.tensor([[1.0, 0], [1, 0], [0, 1]]), 0.5)
    >>> (hard_pairs(apart, positive, negative, 0.1) & (positive | negative)).any()
    tensor(False)
    """
    nearest_negative = similarity.masked_fill(~negative, -torch.inf).amax(dim=1, keepdim=True)
    farthest_positive = similarity.masked_fill(~positive, torch.inf).amin(dim=1, keepdim=True)
    return torch.where(positive, similarity - epsilon < nearest_negative, similarity + epsilon > farthest_positive)
