"""How a network is trained on labels."""

from dataclasses import dataclass

from ssl_music.errors import UserError


@dataclass(frozen=True)
class Training:
    """How long and how fast: Adam 1e-4, batches of 16, at most 100 epochs, stopped after 10 without a better one.

    Rate and batch are those of the 2020 comparison (Won et al., arXiv 2006.00751), the patience that of CLMR's probe.
    An epoch is as many clips as train has labelled tracks, however few of them are learnt from: fewer labels do not
    mean fewer steps between two validations.

    >>> Training(epochs=0)
    Traceback (most recent call last):
    ...
    ssl_music.errors.UserError: epochs 0, patience_epochs 10, batch_size 16: wanted 1 or more of each
    """

    epochs: int = 100
    patience_epochs: int = 10
    batch_size: int = 16
    learning_rate: float = 1e-4
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if min(self.epochs, self.patience_epochs, self.batch_size) < 1:
            raise UserError(
                f"epochs {self.epochs}, patience_epochs {self.patience_epochs}, batch_size {self.batch_size}: wanted "
                "1 or more of each"
            )
