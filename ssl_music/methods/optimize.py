"""Which optimizer turns gradients into steps, and at what rate: one object in a recipe, the same for every method."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

Name = Literal["adam", "adamw", "sgd", "lars"]


@dataclass(frozen=True)
class Phase:
    """What takes over after so many epochs, until the next one does.

    Args:
        after_epochs: the epochs that come before it.
        learning_rate: its rate.
        name: which optimizer; one like that before goes on with its momenta.
        momentum: of sgd and lars; 0.9 by default.
        nesterov: sgd and lars that look ahead.
    """

    after_epochs: int
    learning_rate: float
    name: Name = "sgd"
    momentum: float | None = None
    nesterov: bool = False


@dataclass(frozen=True)
class Optimization:
    """Adam with a constant rate unless told otherwise, as CLMR (3e-4) and the 2020 comparison (1e-4) train.

    Args:
        name: adam, adamw, sgd, or lars of the extra `lars`; rate and weight decay are the method's.
        momentum: of sgd and lars; 0.9 by default.
        nesterov: sgd and lars that look ahead.
        decay_norms_and_biases: weight decay on parameters of one axis too; by default for all but lars.
        schedule: of the rate: constant, a cosine over the run, or divided when the validation loss is flat (plateau).
        warmup_steps: steps in which the rate grows linearly.
        final_learning_rate: where the cosine ends; 0 by default.
        factor: of the rate when the loss has been flat; 0.1 by default.
        patience: flat validations before that; 2 by default.
        then: what takes over later, in order.
    """

    name: Name = "adam"
    momentum: float | None = None
    nesterov: bool = False
    decay_norms_and_biases: bool | None = None
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    warmup_steps: int = 0
    final_learning_rate: float | None = None
    factor: float | None = None
    patience: int | None = None
    then: Sequence[Phase] = ()

    def optimizer(self, model: nn.Module, *, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
        """The optimizer of everything in `model` that learns."""
        learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return torch.optim.Adam(learning, lr=learning_rate, weight_decay=weight_decay)
