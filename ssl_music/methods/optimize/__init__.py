"""Which optimizer turns gradients into steps, and at what rate: one object in a recipe, the same for every method.

phased   torch's optimizers from a name, and several of them one after the other as one
"""

import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import nn

from ssl_music.errors import UserError, unknown_name
from ssl_music.methods.optimize.phased import Kind, Phased

Name = Literal["adam", "adamw", "sgd", "lars"]
Schedule = Literal["constant", "cosine", "plateau"]


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

    def __post_init__(self) -> None:
        if self.after_epochs < 1 or not self.learning_rate > 0:
            raise UserError(
                f"optimizer.then: after_epochs {self.after_epochs}, learning_rate {self.learning_rate}; wanted 1 or "
                "more, and above 0"
            )
        _check_kind("optimizer.then", self.name, self.momentum, self.nesterov)


@dataclass(frozen=True)
class Optimization:
    """Adam with a constant rate unless told otherwise, as CLMR (3e-4) and the 2020 comparison (1e-4) train.

    A schedule is a function of the step alone, and so is the phase: a run that resumes goes on at the rate that it
    would have had. Only a plateau has a past, which `train` keeps in last.ckpt.

    `then` is for the 2020 comparison (Won et al., arXiv 2006.00751, and their code): Adam 1e-4 for 80 epochs, SGD
    with Nesterov's momentum 0.9 at 1e-3 for 20, at 1e-4 for 20, at 1e-5 to the end. Their code means to go back to
    the best weights at each switch and does not (it overwrites its function `load` with the file's name); neither
    does this.

    `decay_norms_and_biases=False` leaves every parameter of one axis out of the weight decay: the gains and shifts of
    norms, and biases. The published sources of this package's recipes decay everything (the default) but for LARS
    (You et al. 2017, arXiv 1708.03888), which in CLMR's code and in the library leaves them out of the decay and of
    its own scaling of the rates.

    Args:
        name: adam, adamw, sgd, or lars of the extra `lars`; rate and weight decay are the method's.
        momentum: of sgd and lars; 0.9 by default.
        nesterov: sgd and lars that look ahead.
        decay_norms_and_biases: weight decay on parameters of one axis too; by default for all but lars.
        schedule: constant, a cosine over the run, or a rate cut when the validation loss is flat (plateau).
        warmup_steps: first steps, in which the rate grows linearly.
        final_learning_rate: where the cosine ends; 0 by default.
        factor: of the rate when the loss has been flat; 0.1 by default.
        patience: flat validations before that; 2 by default.
        then: what takes over later, in order.

    >>> warm = Optimization(schedule="cosine", warmup_steps=2)
    >>> [round(warm.rate(1.0, step=step, epoch=0, total_steps=6), 2) for step in range(6)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """

    name: Name = "adam"
    momentum: float | None = None
    nesterov: bool = False
    decay_norms_and_biases: bool | None = None
    schedule: Schedule = "constant"
    warmup_steps: int = 0
    final_learning_rate: float | None = None
    factor: float | None = None
    patience: int | None = None
    then: Sequence[Phase] = ()

    def __post_init__(self) -> None:
        _check_kind("optimizer", self.name, self.momentum, self.nesterov)
        if self.schedule not in get_args(Schedule):
            raise unknown_name("optimizer.schedule", self.schedule, list(get_args(Schedule)))
        for name, schedule in (("final_learning_rate", "cosine"), ("factor", "plateau"), ("patience", "plateau")):
            if getattr(self, name) is not None and self.schedule != schedule:
                raise UserError(f"optimizer.{name} is of schedule {schedule}, and the schedule is {self.schedule}")
        if self.warmup_steps < 0 or (self.final_learning_rate or 0) < 0:
            raise UserError(
                f"optimizer: warmup_steps {self.warmup_steps}, final_learning_rate {self.final_learning_rate}; "
                "wanted 0 or more"
            )
        if not 0 < self.plateau_factor < 1 or self.plateau_patience < 1:
            raise UserError(
                f"optimizer: factor {self.factor}, patience {self.patience}; wanted between 0 and 1, and 1 or more"
            )
        if self.then and self.schedule != "constant":
            raise UserError(f"optimizer: phases (then) have constant rates, and the schedule is {self.schedule}")
        starts = [phase.after_epochs for phase in self.then]
        if starts != sorted(set(starts)):
            raise UserError(f"optimizer.then: after_epochs {starts}; wanted in order, each later than the one before")
        if self.decay_norms_and_biases and "lars" in self._names:
            raise UserError("optimizer: lars decays no norms and biases; leave decay_norms_and_biases out")

    @property
    def plateau_factor(self) -> float:
        return 0.1 if self.factor is None else self.factor

    @property
    def plateau_patience(self) -> int:
        return 2 if self.patience is None else self.patience

    def check(self, *, learning_rate: float, trainer: Mapping[str, Any], validated: bool) -> None:
        """The error for a run that cannot be trained so, before anything of it is written."""
        if self.schedule == "plateau" and not validated:
            raise UserError(
                "optimizer: a plateau is one of the validation loss: give valid_split, or another schedule"
            )
        endless = all(trainer.get(name) in (None, -1) for name in ("max_epochs", "max_steps"))
        if self.schedule == "cosine" and endless:
            raise UserError(
                "optimizer: a cosine goes down to the end of the run: give the trainer max_epochs or max_steps"
            )
        if (self.final_learning_rate or 0) > learning_rate:
            raise UserError(
                f"optimizer: final_learning_rate {self.final_learning_rate} is above learning_rate {learning_rate}"
            )
        if "lars" in self._names and importlib.util.find_spec("pytorch_optimizer") is None:
            raise UserError("optimizer lars wants the extra `lars`: pip install 'ssl-music[lars]'")

    def optimizer(self, model: nn.Module, *, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
        """The optimizer of everything in `model` that learns."""
        learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        groups: list[dict[str, Any]] = [{"params": learning, "weight_decay": weight_decay}]
        if self.decay_norms_and_biases is False:
            matrices = [parameter for parameter in learning if parameter.ndim > 1]
            vectors = [parameter for parameter in learning if parameter.ndim <= 1]
            groups = [
                {"params": matrices, "weight_decay": weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ]
        groups = [group for group in groups if group["params"]]
        kinds = [Kind(self.name, self.momentum, self.nesterov)]
        kinds += [Kind(phase.name, phase.momentum, phase.nesterov) for phase in self.then]
        if not self.then:
            return kinds[0].optimizer(groups, learning_rate)
        return Phased(kinds, groups, learning_rate)

    def phase(self, epoch: int) -> int:
        """Which optimizer is at work in `epoch`, counted from 0: 0 is the first, 1 the first of `then`."""
        return sum(phase.after_epochs <= epoch for phase in self.then)

    def rate(
        self, learning_rate: float, *, step: int, epoch: int, total_steps: int | None = None, cuts: int = 0
    ) -> float:
        """The rate of the step behind `step` others; `cuts` is how often a plateau has cut it."""
        if phase := self.phase(epoch):
            learning_rate = self.then[phase - 1].learning_rate
        if step < self.warmup_steps:
            return learning_rate * (step + 1) / self.warmup_steps
        if self.schedule == "cosine":
            assert total_steps is not None
            final = self.final_learning_rate or 0.0
            share = min(1.0, (step - self.warmup_steps) / max(1, total_steps - self.warmup_steps))
            return final + (learning_rate - final) * (1 + math.cos(math.pi * share)) / 2
        return learning_rate * self.plateau_factor**cuts

    @property
    def _names(self) -> list[str]:
        return [self.name, *(phase.name for phase in self.then)]


def _check_kind(where: str, name: str, momentum: float | None, nesterov: bool) -> None:
    if name not in get_args(Name):
        raise unknown_name(f"{where}.name", name, list(get_args(Name)))
    if name in ("adam", "adamw") and (momentum is not None or nesterov):
        raise UserError(f"{where}: momentum and nesterov are of sgd and lars, and the optimizer is {name}")
    if momentum is not None and not 0 <= momentum < 1:
        raise UserError(f"{where}: momentum {momentum}; wanted 0 or more, below 1")
    if nesterov and momentum == 0:
        raise UserError(f"{where}: nesterov without momentum; leave one of them out")
