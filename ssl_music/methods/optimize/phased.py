"""torch's optimizers from a name, and several of them one after the other as one."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import torch

from ssl_music.errors import UserError


class Kind(NamedTuple):
    """What makes an optimizer, but for its rate and its parameters."""

    name: str
    momentum: float | None = None
    nesterov: bool = False

    def optimizer(self, groups: Sequence[dict[str, Any]], learning_rate: float) -> torch.optim.Optimizer:
        """A new optimizer of `groups`, each of which says its weight decay.

        >>> Kind("sgd").optimizer([{"params": [torch.nn.Parameter(torch.zeros(2))], "weight_decay": 0.1}], 0.5)
        SGD (
        ...
            lr: 0.5
        ...
        """
        groups = [dict(group) for group in groups]  # torch writes into them
        if self.name == "adam":
            return torch.optim.Adam(groups, lr=learning_rate)
        if self.name == "adamw":
            return torch.optim.AdamW(groups, lr=learning_rate)
        momentum = 0.9 if self.momentum is None else self.momentum
        if self.name == "sgd":
            return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum, nesterov=self.nesterov)
        return _lars()(groups, lr=learning_rate, momentum=momentum, nesterov=self.nesterov)


def _lars() -> Callable[..., torch.optim.Optimizer]:
    try:
        from pytorch_optimizer import LARS
    except ImportError as error:
        raise UserError(f"optimizer lars wants the extra `lars`: pip install 'ssl-music[lars]' ({error})") from error
    return LARS


class Phased(torch.optim.Optimizer):
    """Optimizers that follow each other, as the one that Lightning steps by itself.

    Neighbours of the same kind are one optimizer, which goes on with its momenta at another rate. `phase` says which
    is at work, and whoever trains sets it; the states of the others are dropped.

    >>> weight = torch.nn.Parameter(torch.ones(1))
    >>> phased = Phased([Kind("adam"), Kind("sgd"), Kind("sgd")], [{"params": [weight], "weight_decay": 0.0}], 0.1)
    >>> phased.phase = 2
    >>> len(phased.optimizers), type(phased.at_work).__name__
    (2, 'SGD')
    """

    def __init__(self, kinds: Sequence[Kind], groups: Sequence[dict[str, Any]], learning_rate: float) -> None:
        super().__init__([dict(group) for group in groups], {"lr": learning_rate})
        runs = [(kind, len(list(same))) for kind, same in groupby(kinds)]
        self.optimizers = [kind.optimizer(groups, learning_rate) for kind, _ in runs]
        self._places = [place for place, (_, count) in enumerate(runs) for _ in range(count)]
        self._phase = 0

    @property
    def at_work(self) -> torch.optim.Optimizer:
        """The optimizer of this phase."""
        return self.optimizers[self._places[self._phase]]

    @property
    def phase(self) -> int:
        return self._phase

    @phase.setter
    def phase(self, phase: int) -> None:
        self._phase = phase
        for optimizer in self.optimizers:
            if optimizer is not self.at_work:
                optimizer.state.clear()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """A step of the optimizer at work, at this one's rate."""
        for own, theirs in zip(self.param_groups, self.at_work.param_groups, strict=True):
            theirs["lr"] = own["lr"]
        return self.at_work.step(closure)

    def state_dict(self) -> dict[str, Any]:
        return {"phase": self._phase, "optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._phase = state_dict["phase"]
        for optimizer, state in zip(self.optimizers, state_dict["optimizers"], strict=True):
            optimizer.load_state_dict(state)
