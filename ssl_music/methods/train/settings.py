"""What a run is told beside its method and its music, checked before anything is read or written."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from ssl_music.errors import UserError
from ssl_music.methods.base import Method
from ssl_music.methods.optimize import Optimization
from ssl_music.methods.train.online import OnlineProbe
from ssl_music.methods.train.trainer import check_options

#: split and seed stand in run.json by themselves; when a run saves does not change what it learns
NOT_FACTS = {"split", "seed", "checkpoint_every_steps"}


@dataclass(frozen=True)
class Settings:
    """The arguments of `train`, of every stage of a run alike.

    >>> Settings(batch_size=4, trainer_options={"max_epochs": 1}, chunk_size=0)
    Traceback (most recent call last):
    ...
    ssl_music.errors.UserError: chunk_size 0; wanted 1 or more rows, or nothing for the whole batch at once
    """

    batch_size: int | Literal["auto"]
    trainer_options: Mapping[str, Any]
    seed: int = 42
    split: str = "train"
    valid_split: str | None = "valid"
    short: Literal["pad", "loop", "drop"] = "loop"
    epoch_of: Literal["tracks", "seconds"] = "tracks"
    early_stop_epochs: int | None = None
    checkpoint_every_steps: int | None = None
    chunk_size: int | None = None
    optimizer: Optimization = field(default_factory=Optimization)
    ema_decay: float | None = None
    online: OnlineProbe | None = None

    def __post_init__(self) -> None:
        check_options(self.trainer_options)
        if self.early_stop_epochs is not None and self.valid_split is None:
            raise UserError(
                "early_stop_epochs needs a validation loss: give valid_split, or leave early_stop_epochs out"
            )
        if self.chunk_size is not None and self.chunk_size < 1:
            raise UserError(
                f"chunk_size {self.chunk_size}; wanted 1 or more rows, or nothing for the whole batch at once"
            )
        if isinstance(self.batch_size, str) and self.batch_size != "auto":
            raise UserError(f"batch_size {self.batch_size!r}; wanted a number, or auto")

    @property
    def max_steps(self) -> int | None:
        """Optimizer steps after which the run ends, if they are what ends it."""
        steps = self.trainer_options.get("max_steps")
        return None if steps == -1 else steps

    def facts(self, method: Method) -> dict[str, Any]:
        """What the weights depend on, for run.json: a run with other facts is another run."""
        chosen = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in NOT_FACTS}
        chosen["trainer"] = chosen.pop("trainer_options")
        return {"method": method, **chosen}
