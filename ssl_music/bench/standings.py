"""What a bench found, put side by side: who is best at what, who cannot be told from the best, mean ranks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from ssl_music.metrics import Interval
from ssl_music.probe import NAMES, ProbeResult
from ssl_music.probe.draws import difference
from ssl_music.probe.paired import drawn_together
from ssl_music.probe.tables import aligned

#: results by task and encoder, both in their order
Results = Mapping[str, Mapping[str, ProbeResult]]


def standings(results: Results, *, reference: str) -> dict[str, Any]:
    """The facts of a bench: intervals, the best of each task, who is not distinguishable from it, mean ranks.

    Tied with the best is who has zero inside the 95 % interval of the paired bootstrap between both. A rank is that
    of the value itself, 1 is best; equal values share their mean rank. `differences` are those from `reference`.
    """
    table, best, ties, differences = {}, {}, {}, {}
    for task, row in results.items():
        values = {name: result.metrics[result.primary] for name, result in row.items()}
        metric = next(iter(row.values())).primary
        drawn = dict(zip(row, drawn_together(list(row.values()), metric), strict=True))
        first = max(values, key=lambda name: values[name].value)
        table[task] = {name: list(interval) for name, interval in values.items()}
        best[task] = first
        ties[task] = [name for name in row if name != first and difference(drawn[first], drawn[name]).low <= 0]
        differences[task] = {
            name: list(difference(drawn[name], drawn[reference])) for name in row if name != reference
        }
    return {
        "table": table,
        "best": best,
        "ties": ties,
        "mean_rank": mean_ranks(table),
        "reference": reference,
        "differences": differences,
    }


def mean_ranks(table: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, float]:
    """Each encoder's rank over the tasks that all of them did; equal values share their mean rank.

    >>> mean_ranks({"genre": {"a": [0.9], "b": [0.5], "c": [0.5]}, "mood": {"a": [0.1], "b": [0.2], "c": [0.3]}})
    {'a': 2.0, 'b': 2.25, 'c': 1.75}
    """
    names = list(next(iter(table.values())))
    ranks = [rankdata([-row[name][0] for name in names], method="average") for row in table.values()]
    return dict(zip(names, np.mean(ranks, axis=0).tolist(), strict=True))


def told(results: Results, facts: Mapping[str, Any]) -> str:
    """The bench as text: one line an encoder, one column a task, then the differences from the reference."""
    tasks = list(results)
    firsts = {task: next(iter(row.values())) for task, row in results.items()}
    rows = [["encoder", *tasks, "mean rank"]]
    ranked = sorted(facts["mean_rank"], key=lambda name: facts["mean_rank"][name])
    for name in ranked:
        cells = []
        for task in tasks:
            mark = "*" if name == facts["best"][task] else "≈" if name in facts["ties"][task] else " "
            cells.append(f"{Interval(*facts['table'][task][name])}{mark}")
        rows.append([name, *cells, f"{facts['mean_rank'][name]:.2f}"])
    chances = [f"{one.chance[one.primary]:.3f} " + " " * len("[0.000, 0.000] ") for one in firsts.values()]
    rows.append(["chance", *chances, ""])
    lines = [*aligned(rows), "", "* best  ≈ not distinguishable from the best (paired bootstrap, 95 %)", ""]
    lines += [_task_line(task, one) for task, one in firsts.items()]
    others = [name for name in ranked if name != facts["reference"]]
    if others:
        rows = [[f"less {facts['reference']}", *tasks]]
        for name in others:
            rows.append([name, *(f"{Interval(*facts['differences'][task][name]):+}" for task in tasks)])
        lines += ["", *aligned(rows)]
    return "\n".join(lines)


def _task_line(name: str, result: ProbeResult) -> str:
    tracks = " / ".join(f"{count} {split}" for split, count in result.tracks.items())
    return (
        f"{name}: {NAMES[result.primary]} of {result.column}, protocol {result.protocol}; tracks {tracks}, intervals "
        f"over {result.units} {result.unit}; split {result.origin.split_name}, catalog "
        f"{result.origin.catalog_fingerprint}"
    )
