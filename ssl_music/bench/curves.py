"""What gives a score for a choice of labels, a probe or a network that learns them, and the scores that are there."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ssl_music._files import replacing
from ssl_music.bench.asked import key_of
from ssl_music.bench.finetune import finetune
from ssl_music.bench.training import Training
from ssl_music.catalogs import Catalog
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.probe import fit
from ssl_music.probe.fitted import SEEDED, criterion
from ssl_music.vectors import Vectors


class Curve(Protocol):
    """A line of a figure: scores over labels."""

    @property
    def name(self) -> str:
        """What the figure calls it."""

    def key(self, chosen: frozenset[str], seed: int) -> str:
        """16 hex digits over all that the score depends on; equal ones are scores that cannot but be equal."""

    def score(self, chosen: frozenset[str], seed: int) -> float:
        """On the test split, by the metric that stands first in results, where these tracks of train have labels."""


@dataclass(frozen=True)
class Probed:
    """A probe on the vectors of a store; `asked` are further arguments of `fit`."""

    name: str
    vectors: Vectors
    column: str | Sequence[str] | None
    protocol: str
    asked: dict[str, Any]

    def key(self, chosen: frozenset[str], seed: int) -> str:
        facts = {**self.vectors.header, **self.asked, "column": self.column, "protocol": self.protocol}
        return key_of({**facts, "chosen": sorted(chosen), "seed": seed if self.protocol in SEEDED else None})

    def score(self, chosen: frozenset[str], seed: int) -> float:
        fitted = fit(
            self.vectors, self.column, protocol=self.protocol, seed=seed, among=set(chosen), refit=False, **self.asked
        )
        told = fitted.predictions(self.vectors, fitted.task.parts["test"].rows)
        return criterion(told.kind, told.targets, told.scores)


@dataclass(frozen=True)
class Trained:
    """A network that shall learn the labels itself: all of it fine-tuned, or from scratch.

    `catalog` must hold the tracks that were embedded, with the same labels and splits.
    """

    name: str
    encoder: Encoder
    catalog: Catalog
    from_scratch: bool = True
    training: Training = field(default_factory=Training)
    device: str = "auto"


@dataclass(frozen=True)
class Learnt:
    """A network that learns, in a folder of its own for each choice of labels; `asked` go to `finetune`."""

    name: str
    trained: Trained
    column: str
    test_ids: frozenset[str]  #: the tracks that the other curves are scored on
    asked: dict[str, Any]
    out: Path
    progress: bool

    def key(self, chosen: frozenset[str], seed: int) -> str:
        one = self.trained
        facts: dict[str, Any] = {"encoder": one.encoder.facts() if one.from_scratch else one.encoder.digest()}
        facts |= {**self.asked, "from_scratch": one.from_scratch, "training": asdict(one.training)}
        facts |= {"column": self.column, "catalog": one.catalog.fingerprint()}
        return key_of({**facts, "chosen": sorted(chosen), "seed": seed})

    def score(self, chosen: frozenset[str], seed: int) -> float:
        one = self.trained
        result = finetune(
            one.encoder,
            one.catalog,
            self.column,
            out=self.out / self.key(chosen, seed),
            from_scratch=one.from_scratch,
            among=chosen,
            training=one.training,
            seed=seed,
            bootstrap=1,  # the interval that is wanted is that over draws of labels
            device=one.device,
            progress=self.progress,
            **self.asked,
        )
        if set(result.test[0].ids) != self.test_ids:
            raise UserError(
                f"{self.name}: its catalog tests {self.column!r} on {len(result.test[0].ids)} tracks, the stores of "
                f"vectors on {len(self.test_ids)}, not the same; give the catalog that was embedded"
            )
        return result.runs[0][result.primary]


class Kept:
    """Scores that are there already, in a file that is whole at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.held: dict[str, dict[str, Any]] = {}
        if path.is_file():
            try:
                self.held = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise UserError(f"{path}: cannot be read ({error}); delete it to have all scores anew") from error

    def score(self, curve: Curve, chosen: frozenset[str], seed: int) -> float:
        """What is there under the curve's key, or else the score, written down at once."""
        key = curve.key(chosen, seed)
        if key not in self.held:
            value = curve.score(chosen, seed)
            self.held[key] = {"curve": curve.name, "tracks": len(chosen), "seed": seed, "value": value}
            with replacing(self.path) as temporary:
                temporary.write_text(json.dumps(self.held, indent=1), encoding="utf-8")
        return self.held[key]["value"]
