"""Says loudly when a training has stopped learning anything, which a falling or resting loss does not tell.

An encoder that gives the same for everything is the way in which self-supervised learning fails, and its loss looks
like that of a slow one, or, where nothing is contrasted, like a perfect one. So the embeddings of the batch are
looked at whenever metrics are logged.
"""

import math
import warnings
from collections.abc import Mapping
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from ssl_music.errors import UserError
from ssl_music.losses import alignment, effective_rank, similarity_statistics, uniformity
from ssl_music.methods.base import Method

#: Below this all embeddings lie on a line. A healthy projection of 64 dimensions has 10 and more.
LEAST_RANK = 2.0
#: Rows among which a rank of 2 is nothing special.
LEAST_ROWS = 8
#: The least deviation of the rows from their mean, over their length. Random weights give 0.01 and more.
LEAST_SPREAD = 1e-3
#: The least lead of positive over negative similarity; with temperature 0.5 a lead of 0.01 moves the loss by 0.02.
LEAST_LEAD = 0.01
#: How near the loss is to that of a guess, as a share of it, where nothing has been learnt. A higher one is that
#: of embeddings that differ and are sure of something wrong: 1.6 times, MoCo v3's in its first steps at a batch of 8.
NEAR_TRIVIAL = 0.005
#: |momentum encoder − encoder| / |encoder| above which one does not follow the other: strangers are at √2, or at 1
#: where the encoder has grown much; with decays of 0.99 to 0.9999, 0.02 to 0.22 was measured over 400 steps.
MOST_DRIFT = 0.9
#: rows that a singular value decomposition looks at: more cost time and say nothing new
MOST_ROWS = 512


class CollapseWarning(UserWarning):
    """The encoder gives nearly the same embedding for everything, or the loss is that of a guess."""


class CollapseWatch(Callback):
    """Logs how much the embeddings of a method differ, and warns once when they have collapsed.

    A symptom is any of these, an alarm one at `patience` looks in a row after `grace_steps` steps. An encoder at
    random initialisation often starts with nearly parallel embeddings, and leaves that state within some tens of
    steps; hence the grace.

    - What the method left in `watched` deviates from its mean by less than a thousandth of its length; or, where the
      clips carry no targets, has an effective rank below 2. Two classes may well lie on a line.
    - Two views of one track (`pairs`) are no more alike than those of different tracks: positive minus negative
      cosine similarity below 0.01. Logged beside them are alignment and uniformity (Wang & Isola 2020, arXiv
      2005.10242): a uniformity above −0.04 means a mean similarity above 0.99, and so the same.
    - The loss is what a guess costs, up to 0.5 %, where the method gives "loss_over_trivial".
    - The momentum encoder does not follow, or never differs, where `measures` give "momentum_drift".

    A loss that is not finite ends the training at once.

    >>> import torch
    >>> watch = CollapseWatch(grace_steps=0, patience=1)
    >>> same = torch.ones(8, 4)
    >>> watch.look({"projection": same}, over_trivial=1.0, step=1)["collapsed"]
    1.0
    >>> watch.symptoms[1]
    'loss 100.0% of what guessing costs'
    """

    def __init__(self, *, grace_steps: int = 100, patience: int = 3) -> None:
        self.grace_steps = grace_steps
        self.patience = patience
        self.symptoms: list[str] = []  #: of the last look
        self.collapsed = False  #: whether the alarm holds now
        self.alarms: list[str] = []  #: every alarm of the run
        self._looks_in_a_row = 0
        self._step = 0

    def look(
        self,
        watched: Mapping[str, Tensor],
        pairs: tuple[Tensor, Tensor] | None = None,
        *,
        labelled: bool = False,
        over_trivial: float | None = None,
        measures: Mapping[str, float] | None = None,
        step: int,
    ) -> dict[str, float]:
        """What one batch shows: embeddings, name → (N, D), two views (B, D) each, and what the method measured."""
        facts: dict[str, float] = dict(measures or {})
        symptoms = []
        for name, embeddings in watched.items():
            rows = embeddings[:MOST_ROWS].float()
            facts[f"effective_rank_{name}"] = rank = effective_rank(rows)
            if len(rows) > 1 and (deviation := spread(rows)) < LEAST_SPREAD:
                symptoms.append(f"the {name} is the same for everything, up to {deviation:.2%} of its length")
            elif not labelled and len(rows) >= LEAST_ROWS and rank < LEAST_RANK:
                symptoms.append(f"effective rank of the {name} {rank:.1f} of {rows.shape[1]}")
        if pairs is not None and len(pairs[0]) > 1:
            own, others = similarity_statistics(*pairs)
            even = sum(uniformity(view[:MOST_ROWS]) for view in pairs) / 2
            near = alignment(*pairs)
            facts |= {"positive_similarity": own, "negative_similarity": others}
            facts |= {"alignment": near, "uniformity": even}
            if own - others < LEAST_LEAD:
                alike = f"similarity of views of one track {own:.3f}, of different tracks {others:.3f}"
                symptoms.append(f"{alike} (alignment {near:.3g}, uniformity {even:.3g})")
        elif watched and len(last := list(watched.values())[-1][:MOST_ROWS]) > 1:
            facts["uniformity"] = uniformity(last)
        if over_trivial is not None and abs(over_trivial - 1) < NEAR_TRIVIAL:
            symptoms.append(f"loss {over_trivial:.1%} of what guessing costs")
        drift = facts.get("momentum_drift")
        if drift == 0:
            symptoms.append("the momentum encoder is the encoder: it keeps nothing of the past, or nothing learns")
        elif drift is not None and not drift <= MOST_DRIFT:
            symptoms.append(
                f"the momentum encoder does not follow: {drift:.1f} times the encoder's length away from it"
            )
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
        assert isinstance(pl_module, Method)
        before = self.collapsed
        over_trivial = outputs.get("loss_over_trivial")
        facts = self.look(
            pl_module.watched,
            pl_module.pairs,
            labelled=batch.targets is not None,
            over_trivial=None if over_trivial is None else float(over_trivial),
            measures=pl_module.measures(),
            step=step,
        )
        for name, value in facts.items():
            pl_module.log(f"train/{name}", value, on_step=True, on_epoch=False)
        if self.collapsed and not before:
            # what it was goes into run.json, whoever silences warnings
            self.alarms.append(f"COLLAPSED at step {step}: {self.advice(pl_module.advice)}")
            if trainer.is_global_zero:
                warnings.warn(self.alarms[-1], CollapseWarning, stacklevel=2)

    def advice(self, remedies: str) -> str:
        """What was seen, and what helps."""
        return f"{'; '.join(self.symptoms)}. Going on seldom mends it: try {remedies}."

    def state_dict(self) -> dict[str, Any]:
        return {
            "looks_in_a_row": self._looks_in_a_row,
            "collapsed": self.collapsed,
            "symptoms": self.symptoms,
            "alarms": self.alarms,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._looks_in_a_row = state_dict["looks_in_a_row"]
        self.collapsed = state_dict["collapsed"]
        self.symptoms = state_dict["symptoms"]
        self.alarms = state_dict["alarms"]


def spread(rows: Tensor) -> float:
    """How far rows deviate from their mean, over their length, both as root mean squares; 0 where all are zero.

    Shape: rows (N, D) → a number.

    >>> import torch
    >>> spread(torch.ones(4, 3)), round(spread(torch.tensor([[1.0, 1.0], [1.0, -1.0]])), 4)
    (0.0, 0.7071)
    """
    rows = rows.double()
    length = rows.square().sum()
    return ((rows - rows.mean(dim=0)).square().sum() / length).sqrt().item() if length > 0 else 0.0
