"""What a probe found, how it is printed, and how several are compared."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from ssl_music.errors import UserError, unknown_name
from ssl_music.metrics import Interval

NAMES = {
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "recall": "recall",
}


class TagScore(NamedTuple):
    """How well one tag is read: `support` of the tracks scored have it, and they are of `units` groups or tracks.

    With one unit there is no telling how it would go with others: an interval from it means nothing.
    """

    tag: str
    support: int
    units: int
    scores: dict[str, Interval]


@dataclass(frozen=True)
class ProbeResult:
    """The scores of one probe on the tracks it was not fitted on, with everything a reader needs to repeat it.

    `metrics` are over the whole column (ROC-AUC and PR-AUC as unweighted means over tags), the one that the L2
    strength was chosen by first; intervals are 95 % percentile bootstrap intervals over `units` of the `unit`.
    `left_out` names, for each split, the tags that could not be scored there.
    """

    column: str
    multi_label: bool
    kind: str
    tags: list[str]
    metrics: dict[str, Interval]
    chance: dict[str, float]
    per_tag: list[TagScore]
    tracks: dict[str, int]  #: split → how many of its tracks have the column
    unit: str  #: what the bootstrap draws: "tracks" or "groups"
    units: int
    left_out: dict[str, list[str]]
    shared_groups: list[str]  #: groups on both sides of the test split: a leak
    l2: float | None  #: chosen on the validation split; None where the kind has no such penalty
    seed: int
    bootstrap: int
    split_name: str
    catalog_fingerprint: str
    encoder: str
    digest: str

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and names, for JSON; an interval is [value, low, high]."""
        facts = asdict(self)
        facts["metrics"] = {name: list(interval) for name, interval in self.metrics.items()}
        facts["per_tag"] = [
            {**tag._asdict(), "scores": {name: list(interval) for name, interval in tag.scores.items()}}
            for tag in self.per_tag
        ]
        return facts

    def __str__(self) -> str:
        return table(self)


def table(result: ProbeResult) -> str:
    """The result as text: what was measured on what, the metrics with chance levels, one line a tag."""
    lines = [
        f"{result.column}: {result.kind} probe"
        + ("" if result.l2 is None else f" (L2 {result.l2:g})")
        + f" on vectors of {result.encoder} {result.digest}",
        _provenance(result),
        "",
    ]
    rows = [["metric", "value", "95 % interval", "chance"]]
    for name, interval in result.metrics.items():
        rows.append([NAMES[name], f"{interval.value:.3f}", _bounds(interval), f"{result.chance[name]:.3f}"])
    lines += [*_aligned(rows), ""]
    scores = list(result.per_tag[0].scores) if result.per_tag else []
    units = ["groups"] if result.unit == "groups" else []
    rows = [["tag", "tracks", *units, *(heading for name in scores for heading in (NAMES[name], ""))]]
    for tag in result.per_tag:
        cells = [cell for name in scores for cell in (f"{tag.scores[name].value:.3f}", _bounds(tag.scores[name]))]
        rows.append([tag.tag, str(tag.support), *(str(tag.units) for _ in units), *cells])
    lines += _aligned(rows)
    lines += [f"not scored in {split}: {', '.join(tags)}" for split, tags in result.left_out.items() if tags]
    if result.shared_groups:
        lines.append(f"LEAK: {len(result.shared_groups)} groups lie on both sides of the test split")
    return "\n".join(lines)


def compare(results: Sequence[tuple[str, ProbeResult]]) -> str:
    """One table of several encoders' results on the same column and split, a line each, with intervals.

    Results of different tracks cannot be compared: those are an error that names the difference.
    """
    if not results:
        raise UserError("no results to compare; give one or more (name, result)")
    first = results[0][1]
    for name, result in results:
        for fact in ("column", "split_name", "catalog_fingerprint", "tracks", "tags"):
            mine, theirs = getattr(result, fact), getattr(first, fact)
            if mine != theirs:
                raise UserError(f"{name} and {results[0][0]} are not comparable: {fact} is {mine} and {theirs}")
    metrics = list(first.metrics)
    rows = [[first.column, "probe", *(heading for name in metrics for heading in (NAMES[name], "95 % interval"))]]
    for name, result in results:
        cells = [
            cell
            for metric in metrics
            for cell in (f"{result.metrics[metric].value:.3f}", _bounds(result.metrics[metric]))
        ]
        rows.append([name, result.kind, *cells])
    rows.append(["chance", "", *(cell for metric in metrics for cell in (f"{first.chance[metric]:.3f}", ""))])
    return "\n".join([_provenance(first), "", *_aligned(rows)])


def intervals_apart(a: ProbeResult, b: ProbeResult, metric: str) -> bool:
    """Whether the intervals of two results do not touch: a difference that no reader need doubt.

    Stricter than a test of the difference: intervals that overlap a little may still differ.
    """
    for result in (a, b):
        if metric not in result.metrics:
            raise unknown_name("metric", metric, list(result.metrics))
    first, second = a.metrics[metric], b.metrics[metric]
    return first.low > second.high or second.low > first.high


def _provenance(result: ProbeResult) -> str:
    tracks = " / ".join(f"{count} {split}" for split, count in result.tracks.items())
    return (
        f"split {result.split_name}, catalog {result.catalog_fingerprint}; tracks: {tracks}; "
        f"95 % intervals over {result.units} {result.unit}"
    )


def _bounds(interval: Interval) -> str:
    return f"[{interval.low:.3f}, {interval.high:.3f}]"


def _aligned(rows: list[list[str]]) -> list[str]:
    """Columns of equal width, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
