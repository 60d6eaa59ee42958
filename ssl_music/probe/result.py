"""What a probe found, and the record of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssl_music._records import Record, read_record, write_record
from ssl_music.errors import UserError
from ssl_music.metrics import Interval
from ssl_music.probe.features import TaskKind
from ssl_music.probe.predictions import Predictions
from ssl_music.probe.scoring import TagScore


class Origin(NamedTuple):
    """Where the numbers come from: which split of which catalog, whose weights."""

    split_name: str
    catalog_fingerprint: str
    encoder: str
    digest: str

    @classmethod
    def of(cls, header: Mapping[str, Any]) -> "Origin":
        """That of a store of vectors, from its header."""
        return cls(*(str(header[name]) for name in cls._fields))


@dataclass(frozen=True)
class ProbeResult:
    """The scores of one probe on the tracks it was not fitted on, with everything a reader needs to repeat it.

    `metrics` are over the whole column (those of tags as unweighted means over them), the one that choices were made
    by first; intervals are 95 % percentile bootstrap intervals over `units` of the `unit`. Of several runs they are
    means, and `over_runs` holds their 95 % Student-t intervals. `further` are numbers without an interval. `left_out`
    names, for each split, the tags that could not be scored there.
    """

    name: str  #: of the encoder, as tables call it
    column: str
    kind: TaskKind
    protocol: str
    pool: str  #: "vectors" or "scores": what was averaged over the chunks of a track
    settings: dict[str, float]  #: what the protocol chose: l2, epochs, neighbours; means over runs
    tags: list[str]
    metrics: dict[str, Interval]
    chance: dict[str, float]
    further: dict[str, float]
    per_tag: list[TagScore]
    runs: list[dict[str, float]]
    over_runs: dict[str, Interval]
    tracks: dict[str, int]  #: split → how many of its tracks have the column
    unit: str  #: what the bootstrap draws: "tracks" or "groups"
    units: int
    left_out: dict[str, list[str]]
    shared_groups: list[str]  #: groups on both sides of the test split: a leak
    seed: int
    bootstrap: int
    target_precision: float | None  #: that thresholds were chosen for; None: the highest F1
    origin: Origin
    test: list[Predictions] = field(compare=False, repr=False)  #: one a run
    valid: list[Predictions] = field(compare=False, repr=False)

    @property
    def primary(self) -> str:
        """The metric that choices were made by."""
        return next(iter(self.metrics))

    @property
    def multi_label(self) -> bool:
        """Whether one track may have several of the tags."""
        return self.kind == "multi"

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and names, for JSON; an interval is [value, low, high]; without the predictions."""
        held = {
            "name",
            "column",
            "protocol",
            "pool",
            "settings",
            "tags",
            "chance",
            "further",
            "runs",
            "tracks",
            "unit",
        }
        held |= {"units", "left_out", "shared_groups", "seed", "bootstrap", "target_precision"}
        facts = {one.name: getattr(self, one.name) for one in fields(self) if one.name in held}
        facts |= {"task": self.kind, **self.origin._asdict()}
        facts["metrics"] = _lists(self.metrics)
        facts["over_runs"] = _lists(self.over_runs)
        facts["per_tag"] = [
            {
                **tag._asdict(),
                "scores": _lists(tag.scores),
                "over_runs": _lists(tag.over_runs),
                "threshold": None if tag.threshold is None else _number(tag.threshold),
            }
            for tag in self.per_tag
        ]
        return facts

    def save(self, path: Path | str) -> None:
        """Writes a record: the facts as JSON, the predictions beside them."""
        arrays = {}
        for prefix, runs in (("", self.test), ("valid_", self.valid)):
            if runs:
                arrays[prefix + "ids"] = np.array(runs[0].ids)
                arrays[prefix + "groups"] = np.array(runs[0].groups)
                arrays[prefix + "targets"] = runs[0].targets
                same = [run.matched(runs[0].tags, runs[0].ids) for run in runs]
                arrays[prefix + "scores"] = np.stack([run.scores for run in same])  # (S, N, K)
        write_record(path, "probe", self.as_dict(), arrays)

    @classmethod
    def of(cls, record: Record) -> "ProbeResult":
        """What `save` wrote, from the record as it was read."""
        if record.kind != "probe":
            raise UserError(f"{record.path}: a record of kind {record.kind!r}, where one of a probe is wanted")
        try:
            return cls._of(record)
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{record.path}: not as ssl_music writes the record of a probe ({error!r}): changed, or of another "
                "version; probe again"
            ) from error

    @classmethod
    def _of(cls, record: Record) -> "ProbeResult":
        facts, arrays = {"target_precision": None, **record.facts}, record.arrays
        kind, origin = facts.pop("task"), Origin(*(facts.pop(name) for name in Origin._fields))
        facts["metrics"] = _intervals(facts["metrics"])
        facts["over_runs"] = _intervals(facts["over_runs"])
        facts["per_tag"] = [
            TagScore(**{**tag, "scores": _intervals(tag["scores"]), "over_runs": _intervals(tag["over_runs"])})
            for tag in facts["per_tag"]
        ]

        def runs(prefix: str) -> list[Predictions]:
            if prefix + "ids" not in arrays:
                return []
            ids, groups = arrays[prefix + "ids"].tolist(), arrays[prefix + "groups"].tolist()
            targets = arrays[prefix + "targets"]
            return [
                Predictions(facts["column"], kind, facts["tags"], ids, groups, targets, scores)
                for scores in arrays[prefix + "scores"]
            ]

        return cls(kind=kind, origin=origin, test=runs(""), valid=runs("valid_"), **facts)

    @classmethod
    def load(cls, path: Path | str) -> "ProbeResult":
        """What `save` wrote to `path`."""
        return cls.of(read_record(path))


def _lists(intervals: Mapping[str, Interval]) -> dict[str, list[float | None]]:
    return {name: [_number(value) for value in interval] for name, interval in intervals.items()}


def _number(value: float) -> float | None:
    """JSON knows no NaN and no infinity."""
    return float(value) if math.isfinite(value) else None


def _intervals(lists: Mapping[str, Sequence[float | None]]) -> dict[str, Interval]:
    return {
        name: Interval(*(math.nan if value is None else value for value in values)) for name, values in lists.items()
    }
