"""Results as text: one at length, several held against each other."""

import math
from collections.abc import Sequence

from ssl_music.errors import UserError
from ssl_music.metrics import Interval
from ssl_music.probe.paired import check_comparable, paired
from ssl_music.probe.result import ProbeResult

#: what people call the metrics
NAMES = {
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "tag_accuracy": "accuracy",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "recall": "recall",
    "precision": "precision",
    "f1": "F1",
    "micro_roc_auc": "micro ROC-AUC",
    "micro_pr_auc": "micro PR-AUC",
    "cosine_similarity": "mean cosine similarity",
    "calibration_error": "calibration error",
    "all_in_top": "all tags in the top 5",
    "one_in_top": "one tag in the top 5",
    "r2": "R²",
    "mean_absolute_error": "mean absolute error",
}
#: letters of a line
LINE = 118


def protocol_line(result: ProbeResult) -> str:
    """The protocol with what it chose, in a few words.

    `linear (l2 0.01), mean vector of each track`
    """
    chosen = ", ".join(f"{name} {value:g}" for name, value in result.settings.items())
    heard = {
        "vectors": "mean vector of each track",
        "scores": "mean score of each track's chunks",
        "outside": "the scores of a table",
    }
    runs = f", {len(result.runs)} seeds" if len(result.runs) > 1 else ""
    return f"{result.protocol}{f' ({chosen})' if chosen else ''}, {heard.get(result.pool, result.pool)}{runs}"


def table(result: ProbeResult) -> str:
    """The result as text: what was measured on what, the metrics with chance levels, one line a tag."""
    lines = [
        f"{result.column}: protocol {protocol_line(result)}; {result.name}: {result.origin.encoder} "
        f"{result.origin.digest}",
        _provenance(result),
        "",
    ]
    seeds = [f"over {len(result.runs)} seeds"] if result.over_runs else []
    rows = [["metric", "value", "95 % interval", *seeds, "chance"]]
    for name, interval in result.metrics.items():
        over = [_bounds(result.over_runs[name])] if seeds else []
        chance = f"{result.chance[name]:.3f}" if name in result.chance else ""
        rows.append([NAMES[name], f"{interval.value:.3f}", _bounds(interval), *over, chance])
    rows += [[NAMES[name], f"{value:.3f}", "", *("" for _ in seeds), ""] for name, value in result.further.items()]
    lines += [*aligned(rows), ""]
    scores = list(result.per_tag[0].scores) if result.per_tag else []
    units = ["groups"] if result.unit == "groups" else []
    heading = (
        "threshold" if result.target_precision is None else f"threshold for precision {result.target_precision:g}"
    )
    limits = [heading] if any(tag.threshold is not None for tag in result.per_tag) else []
    about = ["tag", "tracks", *units, *limits]
    rows = [[*about, *(heading for name in scores for heading in (NAMES[name], ""))]]
    for tag in result.per_tag:
        cells = [cell for name in scores for cell in _cells(tag.scores[name])]
        limit = [f"{tag.threshold:.2f}" if tag.threshold is not None else "" for _ in limits]
        rows.append([tag.tag, str(tag.support), *(str(tag.units) for _ in units), *limit, *cells])
    lines += aligned(rows, fixed=len(about), together=2)
    lines += [f"not scored in {split}: {', '.join(tags)}" for split, tags in result.left_out.items() if tags]
    if result.shared_groups:
        lines.append(f"LEAK: {len(result.shared_groups)} groups lie on both sides of the test split")
    return "\n".join(lines)


def compare(results: Sequence[ProbeResult]) -> str:
    """One table of several encoders' results on the same tracks, and how far the first is from each other one.

    Results of different tracks cannot be compared: those are an error that names the difference.
    """
    if not results:
        raise UserError("no results to compare; give one or more")
    first = results[0]
    for result in results[1:]:
        check_comparable(result, first)
    metrics = list(first.metrics)
    rows = [[first.column, "protocol", *(heading for name in metrics for heading in (NAMES[name], "95 % interval"))]]
    for result in results:
        cells = [cell for metric in metrics for cell in _cells(result.metrics[metric])]
        rows.append([result.name, result.protocol, *cells])
    chances = (f"{first.chance[metric]:.3f}" if metric in first.chance else "" for metric in metrics)
    rows.append(["chance", "", *(cell for chance in chances for cell in (chance, ""))])
    verdicts = [difference_line(first, other) for other in results[1:]]
    lines = aligned(rows, fixed=2, together=2)
    return "\n".join([_provenance(first), "", *lines, *([""] if verdicts else []), *verdicts])


def difference_line(a: ProbeResult, b: ProbeResult, metric: str | None = None) -> str:
    """What a paired bootstrap says of two encoders, in one sentence.

    `clmr is better than logmel by 0.061 [0.012, 0.110] (balanced accuracy of genre, paired bootstrap over 43 groups)`
    """
    metric = metric or a.primary
    found = paired(a, b, metric)
    if metric == "mean_absolute_error":  # less is better
        a, b = b, a
    if found.value < 0:
        a, b, found = b, a, type(found)(-found.value, -found.high, -found.low)
    # better, but not shown: the interval holds 0
    word = "is better than" if found.low > 0 else "is not distinguishable from"
    return (
        f"{a.name} {word} {b.name}{' by' if found.low > 0 else ': a lead of'} {found} "
        f"({NAMES[metric]} of {a.column}, paired bootstrap over {a.units} {a.unit})"
    )


def aligned(rows: Sequence[Sequence[str]], *, fixed: int = 1, together: int = 1) -> list[str]:
    """Columns of equal width, numbers to the right. What does not fit beside the others stands below them.

    The first `fixed` columns stand there again; `together` columns, as a value and its interval, are not parted.

    >>> aligned([["a", "1"], ["bc", "10"]])
    ['a    1', 'bc  10']
    >>> len(aligned([["a" * 30, "b" * 50, "c" * 50]]))
    3
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    blocks: list[list[int]] = [list(range(fixed))]
    for start in range(fixed, len(widths), together):
        columns = list(range(start, min(start + together, len(widths))))
        if len(blocks[-1]) > fixed and sum(widths[one] + 2 for one in blocks[-1] + columns) - 2 > LINE:
            blocks.append(list(range(fixed)))
        blocks[-1] += columns
    lines = list[str]()
    for block in blocks:
        lines += [""] if lines else []
        for row in rows:
            cells = [row[column].rjust(widths[column]) for column in block[1:]]
            lines.append("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
    return lines


def _provenance(result: ProbeResult) -> str:
    tracks = " / ".join(f"{count} {split}" for split, count in result.tracks.items())
    return (
        f"split {result.origin.split_name}, catalog {result.origin.catalog_fingerprint}; tracks: {tracks}; "
        f"95 % intervals over {result.units} {result.unit}"
    )


def _cells(interval: Interval) -> tuple[str, str]:
    """The value and its interval; a dash where there is none, as for the precision of a tag that is never given."""
    return ("—", "") if math.isnan(interval.value) else (f"{interval.value:.3f}", _bounds(interval))


def _bounds(interval: tuple[float, float, float]) -> str:
    return f"[{interval[1]:.3f}, {interval[2]:.3f}]"
