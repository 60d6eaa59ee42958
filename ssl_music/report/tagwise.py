"""One task tag by tag: how well each is read, the curves behind it, and what is taken for what."""

from collections.abc import Mapping, Sequence

from ssl_music._records import Record
from ssl_music.probe import NAMES, ProbeResult, TagScore
from ssl_music.report.bars import tag_figures
from ssl_music.report.beside import Beside
from ssl_music.report.calibration import calibration_figure, calibration_rows
from ssl_music.report.confused import confused_figure, confused_rows
from ssl_music.report.confusion import (
    confusion_figure,
    confusion_rows,
    soft_confusion_figure,
    soft_confusion_rows,
)
from ssl_music.report.curves import precision_recall_figure, precision_recall_rows, roc_figure, roc_rows
from ssl_music.report.tasks import Task
from ssl_music.report.text import escaped, folded, paragraph, spelled, table

OPEN_UP_TO = 12  #: tags; a longer table is folded
TOLD = ("roc_auc", "pr_auc", "f1", "r2", "mean_absolute_error")  #: metrics of a tag, as far as it has them
LEGIBLE_CLASSES = 120  #: more have no names beside a confusion matrix: the strongest confusions are listed instead


def curves(task: Task, shown: Sequence[str], beside: Beside, colours: Mapping[str, str]) -> str:
    """ROC, precision against recall, and calibration of these encoders."""
    records: dict[str, Record] = {name: task.records[name] for name in shown}
    drawn = []
    for what, figure, rows, label in (
        ("roc", roc_figure, roc_rows, "ROC curves"),
        ("precision-recall", precision_recall_figure, precision_recall_rows, "precision against recall"),
        ("calibration", calibration_figure, calibration_rows, "how often a tag is there, against what was predicted"),
    ):
        beside.rows(what, rows(records))
        drawn.append(beside.figure(what, figure(records, colours=colours), label=f"{task.name}: {label}"))
    return "".join(drawn)


def tags(task: Task, shown: str, drawn: Sequence[str], beside: Beside, colours: Mapping[str, str]) -> str:
    """The tags with most tracks first: as dots on intervals beside other encoders, and in numbers."""
    own = task.results[shown]
    if not own.per_tag:
        return ""
    rows = [row for who, result in task.results.items() for row in tag_rows(who, result)]
    beside.rows("tags", rows)
    told = {name: task.records[name].facts for name in drawn}
    figures = beside.figures(
        "tags",
        tag_figures(told, shown=list(drawn), colours=colours),
        label=f"{task.name}: how well each tag is read, tags with most tracks first",
    )
    grouped = own.unit == "groups"
    metrics = told_metrics(own.per_tag)
    limits = any(tag.threshold is not None for tag in own.per_tag)
    heading = ["tag", "tracks", *(["groups"] if grouped else []), *(NAMES[metric] for metric in metrics)]
    lines = [
        tag_line(tag, metrics, grouped)
        + (["–" if tag.threshold is None else f"{tag.threshold:.3f}"] if limits else [])
        for tag in by_support(own.per_tag)
    ]
    dropped = [f"not scored in {split}: {', '.join(names)}" for split, names in own.left_out.items() if names]
    return figures + folded(
        f"Every tag, read from {shown}",
        f"{len(lines)} tags",
        table([*heading, *(["threshold"] if limits else [])], lines, kind="tags"),
        paragraph(escaped("; ".join(dropped)), kind="note") if dropped else "",
        opened=len(lines) <= OPEN_UP_TO,
    )


def tag_rows(encoder: str, result: ProbeResult) -> list[dict[str, object]]:
    """Every metric of every tag, a row each, tags with most tracks first."""
    return [
        {"encoder": encoder, "tag": tag.tag, "tracks": tag.support, "units": tag.units, "metric": metric}
        | {"value": interval.value, "low": interval.low, "high": interval.high, "threshold": tag.threshold}
        for tag in by_support(result.per_tag)
        for metric, interval in tag.scores.items()
    ]


def confusions(task: Task, shown: str, beside: Beside) -> str:
    """What one encoder took for what: matrices as long as they are legible, then the strongest confusions."""
    record, name = task.records[shown], task.name
    single = task.first.kind == "single"
    beside.rows("soft-confusion", soft_confusion_rows(record))
    drawn = []
    if single:
        beside.rows("confusion", confusion_rows(record))
    if len(task.first.tags) <= LEGIBLE_CLASSES:
        if single:
            drawn.append(
                beside.figure("confusion", confusion_figure(record), label=f"{name}: what {shown} took for what")
            )
        drawn.append(
            beside.figure(
                "soft-confusion",
                soft_confusion_figure(record),
                label=f"{name}: what {shown} says of the songs of each tag, as shares of all it says",
            )
        )
    beside.rows("confused", confused_rows(record))
    if len(task.first.tags) > OPEN_UP_TO:
        drawn.append(beside.figure("confused", confused_figure(record), label=f"{name}: the strongest confusions"))
    return "".join(drawn)


def told_metrics(per_tag: Sequence[TagScore]) -> list[str]:
    """The metrics of a tag that a table has room for; every one is in the CSV."""
    return [metric for metric in TOLD if metric in per_tag[0].scores]


def tag_line(tag: TagScore, metrics: Sequence[str], grouped: bool) -> list[str]:
    """Name, tracks, groups where there are any, and the metrics of a tag."""
    units = [f"{tag.units:,}"] if grouped else []
    return [tag.tag, f"{tag.support:,}", *units, *(spelled(tag.scores.get(metric)) for metric in metrics)]


def by_support(per_tag: Sequence[TagScore]) -> list[TagScore]:
    """Those with most tracks first."""
    return sorted(per_tag, key=lambda tag: (-tag.support, tag.tag))
