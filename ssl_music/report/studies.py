"""The evaluations beyond one score: with few labels, under alterations of the sound, by pooling and hop."""

import math

from ssl_music._records import Record
from ssl_music.probe import NAMES
from ssl_music.report.beside import Beside
from ssl_music.report.efficiency import efficiency_figure, efficiency_rows
from ssl_music.report.findings import Findings
from ssl_music.report.robust import robustness_figures, robustness_rows
from ssl_music.report.text import Cell, escaped, paragraph, section, spelled, table


def fractions(findings: Findings, beside: Beside) -> str:
    """What is reached with a few of the labels."""
    parts = []
    for record in findings.records("fractions"):
        facts = findings.as_called(record)
        inside = beside.within(facts["column"])
        inside.rows("label-efficiency", efficiency_rows(facts))
        figure = efficiency_figure(facts, colours=findings.colours)
        label = f"{facts['column']}: {_metric(facts['metric'])} against the share of the training labels"
        parts += [inside.figure("label-efficiency", figure, label=label), _fraction_table(facts), _source(record)]
    note = "Subsets keep the shares of the tags; intervals are 95 % Student-t over seeds, each with its own subset."
    return section("With few labels", paragraph(note, kind="note") if parts else "", *parts, id="labels")


def robustness(findings: Findings, beside: Beside) -> str:
    """How scores and embeddings change when the sound does."""
    parts = []
    for record in findings.records("robustness"):
        facts = findings.as_called(record)
        inside = beside.within(facts.get("column") or "embedding")
        inside.rows("robustness", robustness_rows(facts))
        what = f"{facts['column']}: score and embedding cosine" if facts.get("column") else "embedding cosine"
        figures = robustness_figures(facts, colours=findings.colours)
        parts += [
            inside.figures("robustness", figures, label=f"{what} under rising strengths of each effect"),
            _source(record),
        ]
    note = (
        "The classifier is fitted on unaltered sound, and asked about altered sound. Cosine: between the embedding "
        "of a song and that of the same song altered. The first point of every curve is the unaltered sound."
    )
    return section("When the sound changes", paragraph(note, kind="note") if parts else "", *parts, id="robustness")


def pooling(findings: Findings, beside: Beside) -> str:
    """How the segments of a song become one answer, and how densely they should lie."""
    parts = []
    for record in findings.records("pooling"):
        facts = record.facts
        hops = [f"hop {hop:.3g} s" for hop in facts["hops_seconds"]]
        best = [max(row[place][0] for row in facts["table"].values()) for place in range(len(hops))]
        lines, rows = [], []
        for name, row in facts["table"].items():
            cells = [
                Cell(spelled(value), "best" if value[0] == top else "") for value, top in zip(row, best, strict=True)
            ]
            lines.append([name, *cells])
            rows += [
                {"pooling": name, "hop_seconds": hop, "value": value[0], "low": value[1], "high": value[2]}
                for hop, value in zip(facts["hops_seconds"], row, strict=True)
            ]
        beside.within(facts["column"]).rows("pooling", rows)
        caption = f"{facts['column']}: {_metric(facts['metric'])}"
        parts += [table(["pooling", *hops], lines, caption=caption), _source(record)]
    return section("From segments to a song", *parts, id="pooling")


def _fraction_table(facts: dict) -> str:
    """A line an encoder, a column a fraction, with how many tracks that is."""
    points = {name: {point["fraction"]: point for point in own} for name, own in facts["curves"].items()}
    heading = ["encoder"]
    for fraction in facts["fractions"]:
        tracks = next((own[fraction]["tracks"] for own in points.values() if fraction in own), 0)
        heading.append(f"{100 * fraction:g} %\n({tracks:,} tracks)")
    lines = [
        [name, *(spelled(_point_interval(own[at])) if at in own else "–" for at in facts["fractions"])]
        for name, own in points.items()
    ]
    return table(heading, lines, caption=f"{facts['column']}: {_metric(facts['metric'])} with a share of the labels")


def _point_interval(point: dict) -> list[float]:
    """Value, low and high; NaN for what a single run has none of."""
    return [math.nan if point[name] is None else point[name] for name in ("value", "low", "high")]


def _source(record: Record) -> str:
    facts = record.facts
    said = {
        "protocol": facts.get("protocol"),
        "split": facts.get("split_name"),
        "catalog": facts.get("catalog_fingerprint"),
        "seeds": facts.get("seeds"),
    }
    text = "; ".join(f"{name} {value}" for name, value in said.items() if value not in (None, ""))
    return paragraph(escaped(text), kind="note") if text else ""


def _metric(name: str) -> str:
    return NAMES.get(name, name)
