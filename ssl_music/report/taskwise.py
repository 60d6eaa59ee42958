"""Each task in full, folded: every encoder by every metric, and one encoder tag by tag."""

from collections.abc import Sequence

from ssl_music.metrics import Interval
from ssl_music.probe import NAMES
from ssl_music.report.beside import Beside
from ssl_music.report.comparison import difference_figure, difference_rows
from ssl_music.report.findings import DRAWN, Findings
from ssl_music.report.tagwise import OPEN_UP_TO, confusions, curves, tags
from ssl_music.report.tasks import Task, asked
from ssl_music.report.text import escaped, facts, folded, paragraph, section, spelled, table


def taskwise(findings: Findings, beside: Beside) -> str:
    """Every task, the first open where it is short."""
    parts = [
        _task(findings, task, beside, opened=not number and len(task.first.tags) <= OPEN_UP_TO)
        for number, task in enumerate(findings.tasks)
    ]
    note = (
        f"Curves and tags are drawn for up to {DRAWN} encoders a task: the one shown, the best of the others, and "
        "those that learned nothing. Every encoder is in the tables and in the CSV files beside this page."
    )
    crowded = any(len(task.results) > DRAWN for task in findings.tasks)
    return section("Task by task", paragraph(note, kind="note") if crowded else "", *parts, id="tasks")


def _task(findings: Findings, task: Task, beside: Beside, *, opened: bool) -> str:
    shown, drawn, beside = findings.shown(task), findings.drawn(task), beside.within(task.name)
    name, colours = task.name, findings.colours
    parts = [f'<div class="provenance">{facts(asked(task))}</div>', _metrics(task, beside)]
    if len(task.results) > 1:
        gaps = {other: _turned(gap) for other, gap in task.differences(shown).items()}
        beside.rows("differences", difference_rows(gaps, reference=shown))
        parts.append(
            beside.figure(
                "differences",
                difference_figure(gaps, reference=shown, metric=task.metric, colours=colours),
                label=f"{name}: how far each encoder is from {shown}, paired over the same tracks",
            )
        )
    parts.append(tags(task, shown, drawn, beside, colours))
    if task.first.kind != "numbers":
        figures = curves(task, drawn, beside, colours) + confusions(task, shown, beside)
        parts.append(f'<div class="figures in-pairs">{figures}</div>')
    size = f"{len(task.first.tags)} tags" if task.first.kind != "numbers" else "numbers"
    return folded(name, f"{size} · {NAMES[task.metric]} · tags of {shown}", *parts, opened=opened, kind="task")


def _metrics(task: Task, beside: Beside) -> str:
    """Every encoder by every metric, the best first, and how far each is from the best."""
    ordered = sorted(task.results, key=lambda name: -task.value(name).value)
    gaps = {name: _turned(gap) for name, gap in task.differences(task.best).items()}
    metrics, further = list(task.first.metrics), list(task.first.further)
    heading = ["encoder", *(NAMES.get(metric, metric) for metric in metrics), "paired with the best"]
    lines, rows = [], []
    for name in ordered:
        result = task.results[name]
        cells = [spelled(result.metrics.get(metric)) for metric in metrics]
        lines.append([name, *cells, spelled(gaps.get(name), signed=True)])
        row: dict[str, object] = {"encoder": name}
        for metric in metrics:
            row |= _named(metric, result.metrics.get(metric))
            row |= _named(f"{metric} over runs", result.over_runs.get(metric)) if result.over_runs else {}
        row |= {metric: result.further.get(metric) for metric in further}
        row |= _named("paired with the best", gaps.get(name))
        settings = ", ".join(f"{key} {value:g}" for key, value in result.settings.items())
        rows.append({**row, "settings": settings, "digest": result.origin.digest})
    beside.rows("metrics", _same_keys(rows))
    chance = [f"{task.first.chance[m]:.3f}".replace("-", "−") if m in task.first.chance else "" for m in metrics]
    chosen = f"Chosen on the validation split: {_chosen(task)}." if task.first.settings else ""
    return (
        table(
            heading,
            lines,
            foot=[["chance", *chance, ""]],
            kind="tags",
            caption=f"{task.name}: every encoder by every metric",
        )
        + _further(task, ordered)
        + paragraph(escaped(chosen), kind="note")
    )


def _chosen(task: Task) -> str:
    """The settings of each encoder, which the protocol chose."""
    told = {
        name: ", ".join(f"{key} {value:g}" for key, value in result.settings.items())
        for name, result in task.results.items()
    }
    return "; ".join(f"{name} {settings}" for name, settings in told.items())


def _further(task: Task, ordered: Sequence[str]) -> str:
    """The numbers that come without intervals."""
    names = list(task.first.further)
    if not names:
        return ""
    lines = [
        [who, *(spelled([task.results[who].further.get(name, float("nan")), *[float("nan")] * 2]) for name in names)]
        for who in ordered
    ]
    heading = ["encoder", *(NAMES.get(name, name.replace("_", " ")) for name in names)]
    return folded("Further numbers", "without intervals", table(heading, lines))


def _turned(gap: Interval) -> Interval:
    """Of a difference a − b, the difference b − a."""
    return Interval(-gap.value, -gap.high, -gap.low)


def _named(name: str, interval: Interval | None) -> dict[str, object]:
    value = (None, None, None) if interval is None else interval
    return dict(zip((name, f"{name} low", f"{name} high"), value, strict=True))


def _same_keys(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return [{key: row.get(key) for key in keys} for row in rows]
