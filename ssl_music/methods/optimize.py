"""Which optimizer turns gradients into steps: one object in a recipe, the same for every method."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Optimization:
    """Adam without schedule, as CLMR (3e-4) and the 2020 comparison (1e-4) train."""

    def optimizer(self, model: nn.Module, *, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
        """The optimizer of everything in `model` that learns."""
        learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return torch.optim.Adam(learning, lr=learning_rate, weight_decay=weight_decay)
