"""The numbers in front: encoders × tasks with intervals, what chance reaches, what paired differences say."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ssl_music.metrics import Interval
from ssl_music.probe import NAMES
from ssl_music.report.beside import Beside
from ssl_music.report.comparison import bench_figures, bench_rows
from ssl_music.report.findings import Findings
from ssl_music.report.tasks import Task, asked
from ssl_music.report.text import Cell, escaped, paragraph, section, spelled, table

NAMED = 4  #: others that are named in one line
SPOKEN = 3  #: others that are each held against an encoder in a line of their own; more are put together


class Column(NamedTuple):
    """One column of the table: what was asked, and what each encoder reached."""

    title: str
    metric: str
    chance: float
    values: dict[str, Interval]
    best: str
    level: set[str]  #: encoders that is not distinguishable from the best
    about: dict[str, str]  #: what the table says below the column


def columns(findings: Findings) -> list[Column]:
    """Every task by its first metric, then a quickstart's search."""
    found = [
        Column(
            task.name,
            NAMES[task.metric],
            task.first.chance[task.metric],
            {name: task.value(name) for name in task.results},
            task.best,
            task.level,
            _about(task),
        )
        for task in findings.tasks
    ]
    search = findings.results.get("search", {})
    if search:
        values = {name: Interval(*value) for name, value in search.items() if isinstance(value, list)}
        best = max(values, key=lambda name: values[name].value)
        metric, catalog = f"precision@{search['k']}", findings.results["catalog"]
        about = {"protocol": "cosine", "split": catalog["split_name"], "catalog": catalog["fingerprint"]}
        found.append(Column(f"search by {search['column']}", metric, search["chance"], values, best, set(), about))
    return found


def verdict(findings: Findings) -> str:
    """What the numbers say: whom the page is about, held against the others on the same tracks."""
    lines = []
    for task in findings.tasks:
        subject = findings.shown(task)
        if task.value(subject).low <= task.first.chance[task.metric]:
            lines.append(("no", f"{task.name}: {subject} is not above chance, {spelled(task.value(subject))}"))
        gaps = dict(sorted(task.differences(subject).items(), key=lambda gap: -gap[1].value))
        lines += _spoken(task, subject, gaps) if len(gaps) <= SPOKEN else _summed(task, subject, gaps)
    marks = {"yes": "✓", "no": "✕", "perhaps": "≈"}
    items = "".join(
        f'<li class="{kind}"><span aria-hidden="true">{marks[kind]}</span>{escaped(line)}</li>'
        for kind, line in lines
    )
    note = (
        "Differences are from a paired bootstrap over the same test tracks, with 95 % intervals; where the interval "
        "holds zero, these tracks cannot tell the two apart."
    )
    return section(
        "Verdict", f'<ul class="verdict">{items}</ul>{paragraph(note, kind="note")}' if lines else "", id="verdict"
    )


def kind_of(gap: Interval) -> str:
    """Whether a difference says yes, no or perhaps.

    >>> kind_of(Interval(0.1, 0.05, 0.2)), kind_of(Interval(0.1, -0.05, 0.2)), kind_of(Interval(-0.1, -0.2, -0.05))
    ('yes', 'perhaps', 'no')
    """
    return "yes" if gap.low > 0 else "no" if gap.high < 0 else "perhaps"


def _spoken(task: Task, subject: str, gaps: dict[str, Interval]) -> list[tuple[str, str]]:
    said = {"yes": "is better than", "no": "is worse than", "perhaps": "is not distinguishable from"}
    lines = []
    for name, gap in gaps.items():
        values = f"{task.value(subject).value:.3f} against {task.value(name).value:.3f}"
        between = f"{'a difference of' if kind_of(gap) == 'perhaps' else 'by'} {spelled(gap, signed=True)}"
        lines.append((kind_of(gap), f"{task.name}: {subject} {said[kind_of(gap)]} {name}, {between} ({values})"))
    return lines


def _summed(task: Task, subject: str, gaps: dict[str, Interval]) -> list[tuple[str, str]]:
    said = {"yes": "is better than", "perhaps": "is not distinguishable from", "no": "is worse than"}
    lines = []
    for kind, words in said.items():
        own = {name: gap for name, gap in gaps.items() if kind_of(gap) == kind}
        if own:
            near = sorted(own, key=lambda name: abs(own[name].value))
            gap = spelled(own[near[0]], signed=True)
            if len(near) == 1:
                names, by = near[0], f"({gap})"
            else:
                more = f" and {len(near) - NAMED} more" if len(near) > NAMED else ""
                every = "all" if len(near) == len(gaps) else f"{len(near)} of {len(gaps)}"
                names, by = f"{every} others", f": {', '.join(near[:NAMED])}{more}; the nearest by {gap}"
            lines.append((kind, f"{task.name}: {subject} {words} {names}{by if by[0] == ':' else ' ' + by}"))
    return lines


def scores(findings: Findings, beside: Beside) -> str:
    """The table, what was asked, and the same as dots on intervals."""
    found = columns(findings)
    unprobed = _unprobed(findings.results.get("unprobed", {}))
    if not found:
        none = "There are no labels to probe: the map, the neighbours and the training below stand for themselves."
        told = paragraph(none) if findings.results else ""
        return section("Scores", told, unprobed, id="scores") if told else ""
    met = dict.fromkeys(name for column in found for name in column.values)
    names = list(dict.fromkeys([*(name for name in findings.encoders if name in met), *met]))
    ranked = len(findings.tasks) > 1 and len(findings.mean_ranks) > 2
    heading = [
        "encoder",
        *(["mean\nrank"] if ranked else []),
        *(f"{column.title}\n({column.metric})" for column in found),
    ]
    rank = {name: _rank(findings, name) for name in names}
    lines: list[Sequence[str | Cell]] = [
        [name, *([rank[name]] if ranked else []), *(_cell(column, name) for column in found)] for name in names
    ]
    skipped = [""] if ranked else []
    foot = [["chance", *skipped, *(f"{column.chance:.3f}".replace("-", "−") for column in found)]]
    common = []  # what all columns agree in is said once: it would only make the table wide
    for line in dict.fromkeys(key for column in found for key in column.about):
        cells = [column.about.get(line, "") for column in found]
        if len(cells) > 1 and len(set(cells)) == 1:
            common.append(f"{line} {cells[0]}")
        else:
            foot.append([line, *skipped, *cells])
    facts = bench_facts(findings, found)
    ranks = findings.mean_ranks
    beside.rows("scores", [{**row, "mean rank": ranks.get(str(row["encoder"]))} for row in bench_rows(facts)])
    beside.rows("tasks", [{"task": task.name, **asked(task)} for task in findings.tasks])
    note = (
        "In brackets: 95 % bootstrap intervals over the test tracks, or over groups of tracks that belong together "
        "where the catalog names any. Bold: the best of a column; ≈: not distinguishable from it by a paired "
        "bootstrap over the same tracks."
    )
    return section(
        "Scores",
        table(heading, lines, foot=foot, kind="scores", caption="Every encoder on every task"),
        paragraph(escaped(f"All: {'; '.join(common)}."), kind="note") if common else "",
        paragraph(note, kind="note"),
        *[_leak(task) for task in findings.tasks if task.first.shared_groups],
        *[_met(record.facts) for record in findings.records("bench") if record.facts.get("leaks")],
        unprobed,
        beside.figures(
            "scores",
            bench_figures(facts, colours=findings.colours),
            label="Scores of every encoder on every task, with intervals",
        ),
        id="scores",
    )


def bench_facts(findings: Findings, found: Sequence[Column]) -> dict:
    """The columns as the facts of a bench record, which is what their figure is drawn from."""
    protocols = {task.name: task.first for task in findings.tasks}
    named = [name for name in findings.encoders if any(name in column.values for column in found)]
    return {
        "encoders": {name: {} for name in named},
        "tasks": [
            {
                "name": column.title,
                "column": protocols[column.title].column if column.title in protocols else column.title,
                "protocol": column.about["protocol"],
                "metric": column.metric,
                "chance": column.chance,
            }
            for column in found
        ],
        "table": {column.title: {name: list(value) for name, value in column.values.items()} for column in found},
        "best": {column.title: column.best for column in found},
        "ties": {column.title: sorted(column.level) for column in found},
        # which is what they are ordered by: those without a rank come last
        "mean_rank": {name: findings.mean_ranks.get(name, len(named)) for name in named},
    }


def _rank(findings: Findings, name: str) -> str:
    """The mean rank, and over how many tasks where it did not take part in all."""
    if name not in findings.mean_ranks:
        return "–"
    met = [task for task in findings.tasks if len(task.results) > 1]
    own, every = sum(name in task.results for task in met), len(met)
    return f"{findings.mean_ranks[name]:.1f}" + (f" ({own} of {every})" if own < every else "")


def _cell(column: Column, name: str) -> Cell:
    if name not in column.values:
        return Cell("–")
    text = spelled(column.values[name])
    if name == column.best:
        return Cell(text, "best")
    return Cell(f"≈ {text}", "level") if name in column.level else Cell(text)


def _about(task: Task) -> dict[str, str]:
    """What each column is of, in short."""
    first = task.first
    runs = max(len(result.runs) for result in task.results.values())
    return {
        "protocol": f"{first.protocol}, {runs} seeds" if runs > 1 else first.protocol,
        "split": first.origin.split_name,
        "catalog": first.origin.catalog_fingerprint,
        "tested on": f"{list(first.tracks.values())[-1]:,} tracks",
        "intervals over": f"{first.units:,} {first.unit}",
    }


def _leak(task: Task) -> str:
    return paragraph(
        f"<b>Leak:</b> {len(task.first.shared_groups):,} groups of {escaped(task.name)} lie on both sides of the "
        "test split: what is scored there was learned from.",
        kind="alarm",
    )


def _met(facts: dict[str, Any]) -> str:
    tracks = {(leak.get("catalog"), leak["track"]) for leak in facts["leaks"]}
    told = (
        "they are left out of every score."
        if facts.get("leaks_are") == "excluded"
        else "their scores may be too good. They are named under Provenance."
    )
    return paragraph(f"<b>Leak:</b> {len(tracks):,} test tracks were met in pretraining; {told}", kind="alarm")


def _unprobed(reasons: dict[str, str]) -> str:
    if not reasons:
        return ""
    lines = "".join(f"<p><b>{escaped(column)}</b>: {escaped(reason)}</p>" for column, reason in reasons.items())
    return f'<details class="note"><summary>Not probed: {escaped(", ".join(reasons))}</summary>{lines}</details>'
