"""Says loudly when the embeddings have become all the same, the way in which self-supervised learning fails.

The loss of a collapsed encoder looks like that of a slow one, and a run can stay at it for days. So the embeddings
of the batch are looked at whenever metrics are logged: the mean similarity of positive and of negative pairs, the
effective rank, and the loss against that of a guess, ln(2B − 1).
"""

import math
import warnings
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from ssl_music.errors import UserError
from ssl_music.losses import effective_rank, similarity_statistics

#: Below this all embeddings lie on a line. A healthy projection of 64 dimensions has 10 and more.
LEAST_RANK = 2.0
#: The least lead of positive over negative similarity; with temperature 0.5 a lead of 0.01 moves the loss by 0.02.
LEAST_LEAD = 0.01
#: The loss over that of a guess, above which nothing has been learnt.
MOST_OF_TRIVIAL = 0.995
#: rows that a singular value decomposition looks at: more cost time and say nothing new
MOST_ROWS = 512


class CollapseWarning(UserWarning):
    """The encoder gives nearly the same embedding for everything."""


class CollapseWatch(Callback):
    """Logs how much the embeddings of a method differ, and warns once when they have collapsed.

    The rule: any of effective rank < 2, positive minus negative similarity < 0.01, or loss > 0.995 × ln(2B − 1), at
    `patience` looks in a row after `grace_steps` steps. An encoder at random initialisation often starts with nearly
    parallel embeddings and leaves that state within some tens of steps; hence the grace.

    A method takes part by leaving its two views in `watched`. A loss that is not finite ends the training at once.

    >>> import torch
    >>> watch = CollapseWatch(grace_steps=0, patience=1)
    >>> same = torch.ones(8, 4)
    >>> watch.look({"projection": same}, over_trivial=1.0, step=1)["collapsed"]
    1.0
    >>> watch.symptoms[0]
    'effective rank of the projection 1.0 of 4'
    """

    def __init__(self, *, grace_steps: int = 100, patience: int = 3) -> None:
        self.grace_steps = grace_steps
        self.patience = patience
        self.symptoms: list[str] = []  #: of the last look
        self.collapsed = False  #: whether the alarm holds now
        self._looks_in_a_row = 0
        self._step = 0

    def look(self, watched: dict[str, Tensor], *, over_trivial: float | None, step: int) -> dict[str, float]:
        """What the embeddings of one batch show; two views under each other, name → (2B, D)."""
        facts: dict[str, float] = {}
        symptoms = []
        for name, rows in watched.items():
            rank = effective_rank(rows[:MOST_ROWS].float())
            facts[f"effective_rank_{name}"] = rank
            if rank < LEAST_RANK:
                symptoms.append(f"effective rank of the {name} {rank:.1f} of {rows.shape[1]}")
        # the last in the chain is where the loss compares
        own, others = similarity_statistics(*list(watched.values())[-1].chunk(2))
        facts |= {"positive_similarity": own, "negative_similarity": others}
        if own - others < LEAST_LEAD:
            symptoms.append(f"similarity of views of one track {own:.3f}, of different tracks {others:.3f}")
        if over_trivial is not None and over_trivial > MOST_OF_TRIVIAL:
            symptoms.append(f"loss {over_trivial:.1%} of ln(2B − 1), which guessing costs")
        self.symptoms = symptoms
        self._looks_in_a_row = self._looks_in_a_row + 1 if symptoms and step >= self.grace_steps else 0
        self.collapsed = self._looks_in_a_row >= self.patience
        return {**facts, "collapsed": float(self.collapsed)}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        # exactly where Lightning logs; with accumulation several batches share one step
        if step == self._step or step % max(1, trainer.log_every_n_steps):  # type: ignore[attr-defined]
            return
        self._step = step
        loss = float(outputs["loss"])
        if not math.isfinite(loss):
            raise UserError(
                f"the loss is {loss} at step {step}: the training has diverged; take a lower learning_rate, or "
                "gradient_clip_val: 1.0, or a precision with more range (bf16-mixed or 32-true instead of 16-mixed)"
            )
        watched = getattr(pl_module, "watched", {})
        if not watched:
            return
        before = self.collapsed
        over_trivial = outputs.get("loss_over_trivial")
        facts = self.look(watched, over_trivial=None if over_trivial is None else float(over_trivial), step=step)
        for name, value in facts.items():
            pl_module.log(f"train/{name}", value, on_step=True, on_epoch=False)
        if self.collapsed and not before and trainer.is_global_zero:
            warnings.warn(f"COLLAPSED at step {step}: {self.advice()}", CollapseWarning, stacklevel=2)

    def advice(self) -> str:
        """What was seen, and what helps."""
        return (
            f"{'; '.join(self.symptoms)}. The embeddings tell tracks hardly apart, and going on seldom mends it. "
            "Try a lower learning_rate, a higher temperature, weaker augmentations, or a larger batch."
        )

    def state_dict(self) -> dict[str, Any]:
        return {"looks_in_a_row": self._looks_in_a_row, "collapsed": self.collapsed, "symptoms": self.symptoms}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._looks_in_a_row = state_dict["looks_in_a_row"]
        self.collapsed = state_dict["collapsed"]
        self.symptoms = state_dict["symptoms"]
