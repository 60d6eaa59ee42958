"""Exponential moving average of the weights: what is validated, and what a training leaves."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_music.errors import UserError


class Average(Callback):
    """Keeps average ← d · average + (1 − d) · weights behind every optimizer step, from the first weights on.

    d is `decay`, but in step t = 1, 2, … at most (1 + t) / (10 + t), so that the random weights at the beginning are
    soon forgotten (as TensorFlow's ExponentialMovingAverage does with a count of steps): with a constant 0.999 they
    would still be a third of what a run of 1000 steps leaves.

    The average is in the method's place from the beginning to the end of each validation, and from the end of the
    training on; what the training itself works on is put back bit for bit. Averaged are the parameters that learn,
    and the running statistics of the batch norms among them (as in torch's AveragedModel with buffers, and in
    EfficientNet, Tan & Le 2019, arXiv 1905.11946): statistics of the last weights would not fit the average of many.
    Queues and momentum encoders follow the weights of the training.

    Not Lightning's WeightAveraging (2.6): it puts the weights back before `Best` writes them, and averages every
    buffer, a queue and a momentum encoder too.

    It stands behind what looks at a validation in the list of callbacks, and before what writes at the end.
    """

    def __init__(self, decay: float) -> None:
        if not 0 < decay < 1:
            raise UserError(f"ema_decay {decay}; wanted between 0 and 1, such as 0.999, or nothing for no average")
        self.decay = decay
        self.tensors: dict[str, Tensor] = {}  #: the average; while it is in the method's place, what that held
        self._step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.tensors:
            self.tensors = {name: tensor.detach().clone() for name, tensor in averaged(pl_module)}
            self._step = trainer.global_step
        # from a checkpoint they come on the CPU
        self.tensors = {name: self.tensors[name].to(tensor.device) for name, tensor in averaged(pl_module)}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self._step:  # gradients are being accumulated
            return
        self._step = trainer.global_step
        decay = min(self.decay, (1 + self._step) / (10 + self._step))
        with torch.no_grad():
            for name, tensor in averaged(pl_module):
                self.tensors[name].lerp_(tensor, 1 - decay)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._swap(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._swap(pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._swap(pl_module)

    @contextmanager
    def in_place(self, module: nn.Module) -> Iterator[None]:
        """The average in the method's place, and then what was there before."""
        self._swap(module)
        try:
            yield
        finally:
            self._swap(module)

    def state_dict(self) -> dict[str, Any]:
        return {"tensors": self.tensors, "step": self._step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.tensors, self._step = dict(state_dict["tensors"]), state_dict["step"]

    @torch.no_grad()
    def _swap(self, module: nn.Module) -> None:
        for name, tensor in averaged(module):
            held = tensor.clone()
            tensor.copy_(self.tensors[name])
            self.tensors[name].copy_(held)


def averaged(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What learns in `module`, by name: parameters, and the statistics of batch norms beside them.

    A part in which nothing learns is a copy of another one, or frozen: its statistics are its own.

    >>> part = lambda: nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, affine=False))
    >>> module = nn.ModuleDict({"encoder": part(), "teacher": part().requires_grad_(False)})
    >>> [name for name, _ in averaged(module)]
    ['encoder.0.weight', 'encoder.0.bias', 'encoder.1.running_mean', 'encoder.1.running_var']
    """
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            yield name, parameter
    for part, child in module.named_children():
        if not any(parameter.requires_grad for parameter in child.parameters()):
            continue
        for name, norm in child.named_modules(prefix=part):
            if isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.running_var is not None:
                yield f"{name}.running_mean", norm.running_mean
                yield f"{name}.running_var", norm.running_var
