"""MODEL_CARD.md: the sections of Mitchell et al., "Model Cards for Model Reporting" (2019, arXiv 1810.03993).

Filled from what was found and from nothing else. What a run cannot know (whom the model is for, whom it may harm) is
left to its authors in so many words: an invented sentence there is worse than none.
"""

import re
from collections.abc import Sequence
from importlib.metadata import version

from ssl_music.probe import NAMES, ProbeResult
from ssl_music.report.findings import Findings
from ssl_music.report.provenance import command, hearing
from ssl_music.report.tagwise import by_support, tag_line, told_metrics
from ssl_music.report.tasks import KINDS, Task, asked
from ssl_music.report.text import spelled
from ssl_music.report.trainings import Training

UNSTATED = "*Not stated: nothing in the evaluated folders says it. To be written by the model's authors.*"
WEAKEST = 5  #: tags that the card names as read worst
CATALOG = ("split", "split_name", "fingerprint")  #: what a training says of its catalog
FEW = 10  #: groups or tracks below which a tag's score rests on little


def model_card(findings: Findings, *, title: str | None = None) -> str:
    """The card of the encoder that the report is about, as Markdown."""
    name = findings.featured
    tasks = [task for task in findings.tasks if name in task.results]
    parts = {
        "Model details": _details(findings, name, tasks),
        "Intended use": UNSTATED,
        "Factors": _factors(name, tasks),
        "Metrics": _metrics(tasks),
        "Evaluation data": _evaluation(tasks),
        "Training data": _training_data(findings.training_of(name)),
        "Quantitative analyses": _analyses(findings, name, tasks),
        "Ethical considerations": UNSTATED,
        "Caveats and recommendations": _caveats(findings, name, tasks),
    }
    sections = [f"## {heading}\n\n{text}" for heading, text in parts.items() if text]
    return "\n\n".join([f"# Model card: {plain(title or name or findings.runs[0].name)}", *sections]) + "\n"


def plain(text: object) -> str:
    """Text that stands for itself in Markdown, on one line and in a cell of a table.

    >>> plain("a|b *c* <img>")
    'a\\\\|b \\\\*c\\\\* \\\\<img\\\\>'
    """
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(str(text).split()))


def rows(heading: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """A table in Markdown; numbers to the right.

    >>> print(rows(["tag", "tracks"], [["folk", 3]]))
    | tag | tracks |
    |---|---:|
    | folk | 3 |
    """
    rule = "|".join(["---", *["---:"] * (len(heading) - 1)])
    told = [" | ".join(plain(cell) for cell in line) for line in [heading, *lines]]
    return "\n".join([f"| {told[0]} |", f"|{rule}|", *(f"| {line} |" for line in told[1:])])


def _details(findings: Findings, name: str, tasks: Sequence[Task]) -> str:
    told: dict[str, object] = {"Name": name}
    if tasks:
        result = tasks[0].results[name]
        digests = sorted({task.results[name].origin.digest for task in tasks})
        told |= {"Encoder": result.origin.encoder, "Digest of the weights": ", ".join(digests)}
        store = next((store for task in tasks if (store := findings.store_of(task.results[name]))), None)
        if store is not None:
            heard = hearing(store.header)
            told |= {"Hears": heard["hears"], "Embedding dimensions": heard["dimensions"]}
    own = findings.training_of(name)
    if own is not None:
        facts = own.facts
        told |= {
            "Method": own.method,
            "Weights": own.weights,
            "Trained": " to ".join(facts[key] for key in ("started", "finished") if facts.get(key)),
            "Steps": facts.get("steps"),
            "Seed": facts.get("seed"),
            "Parameters of the encoder": facts.get("parameters", {}).get("encoder"),
            "Versions": ", ".join(f"{name} {number}" for name, number in facts.get("versions", {}).items()),
        }
    told |= {"Card made by": f"ssl-music {version('ssl-music')}, `{command(findings)}`"}
    lines = [
        f"- **{key}:** {value if key == 'Card made by' else plain(value)}"
        for key, value in told.items()
        if value not in (None, "")
    ]
    return "\n".join([*lines, "- **License, authors, contact:** not stated"])


def _factors(name: str, tasks: Sequence[Task]) -> str:
    if not tasks:
        return "Nothing was measured by group of tracks."
    lines = []
    for task in tasks:
        own = task.results[name]
        if own.per_tag and own.kind != "numbers":
            lines.append(
                f"- {plain(task.name)}: reported for each of {len(own.per_tag)} tags of the column "
                f"{plain(own.column)} (see Quantitative analyses)"
            )
    measured = "\n".join(lines) or "- no tags"
    return (
        f"Measured:\n\n{measured}\n\nNot measured: differences by artist, language, region, year, recording quality "
        "or any other property of a track that is not a tag above."
    )


def _metrics(tasks: Sequence[Task]) -> str:
    if not tasks:
        return "None."
    seen = list(dict.fromkeys(NAMES[metric] for task in tasks for metric in task.first.metrics))
    protocols = "\n".join(f"- {plain(task.name)}: {plain(asked(task)['protocol'])}" for task in tasks)
    return (
        f"{', '.join(seen)}. Protocols:\n\n{protocols}\n\nClassifiers are fitted on the training split of frozen "
        "embeddings, their settings chosen on the validation split. Intervals are 95 % percentile bootstrap "
        "intervals over the units below; differences are from a paired bootstrap over the same tracks."
    )


def _evaluation(tasks: Sequence[Task]) -> str:
    if not tasks:
        return "None."
    lines = [
        [
            task.name,
            KINDS[task.first.kind],
            len(task.first.tags),
            task.first.origin.split_name,
            task.first.origin.catalog_fingerprint,
            " / ".join(f"{count} {split}" for split, count in task.first.tracks.items()),
            f"{task.first.units} {task.first.unit}",
        ]
        for task in tasks
    ]
    return rows(["task", "kind", "tags", "split", "catalog", "tracks", "intervals over"], lines)


def _training_data(own: Training | None) -> str:
    if own is None:
        return "*Not known: the evaluated folders hold no training that is surely this encoder's.*"
    catalog = own.facts.get("catalog", {})
    line = [own.name, own.facts.get("tracks", "–"), *(catalog.get(key, "–") for key in CATALOG)]
    return rows(["training", "tracks", "split", "of", "catalog"], [line])


def _analyses(findings: Findings, name: str, tasks: Sequence[Task]) -> str:
    if not tasks:
        return "None."
    lines = [
        [
            task.name,
            NAMES[task.metric],
            spelled(task.value(name)),
            f"{task.first.chance[task.metric]:.3f}",
            "it is the best" if task.best == name else f"{task.best}, {spelled(task.value(task.best))}",
            "" if task.best == name else spelled(task.differences(name)[task.best], signed=True),
        ]
        for task in tasks
    ]
    heading = ["task", "metric", "value [95 % interval]", "chance", "best of all compared", "difference from it"]
    parts = [f"### Unitary results\n\n{rows(heading, lines)}"]
    for task in tasks:
        own = task.results[name]
        if own.per_tag:
            metrics = told_metrics(own.per_tag)
            heading = ["tag", "tracks", *(["groups"] if own.unit == "groups" else []), *(NAMES[m] for m in metrics)]
            told = [tag_line(tag, metrics, own.unit == "groups") for tag in by_support(own.per_tag)]
            parts.append(f"#### {plain(task.name)}\n\n{rows(heading, told)}")
    compared = ", ".join(plain(other) for other in findings.encoders if other != name) or "no other encoder"
    parts.append(f"Compared with: {compared}.")
    parts.append("### Intersectional results\n\nNot measured: no score is of two properties of a track together.")
    return "\n\n".join(parts)


def _caveats(findings: Findings, name: str, tasks: Sequence[Task]) -> str:
    said = []
    training = findings.training_of(name)
    if training is not None and training.facts.get("collapsed"):
        said.append(f"The training has collapsed: {plain('; '.join(training.facts['collapsed']))}.")
    for task in tasks:
        own = task.results[name]
        if own.shared_groups:
            said.append(
                f"{plain(task.name)}: {len(own.shared_groups)} groups lie on both sides of the test split, so the "
                "score is too good."
            )
        if task.value(name).low <= own.chance[task.metric]:
            said.append(f"{plain(task.name)}: not above chance.")
        said += _of_tags(task, own)
    for record in findings.records("bench"):
        if record.facts.get("leaks"):
            said.append(f"{len(record.facts['leaks'])} recordings of a test split were met in pretraining.")
    if not findings.records("robustness"):
        said.append("Robustness to changes of the sound was not measured.")
    if not findings.records("fractions"):
        said.append("What is reached with fewer labels was not measured.")
    if not tasks:
        said.append("No task was probed.")
    return "\n".join(f"- {line}" for line in said)


def _of_tags(task: Task, own: ProbeResult) -> list[str]:
    if own.kind == "numbers" or not own.per_tag:
        return []
    metric = next(iter(own.per_tag[0].scores))
    few = [tag.tag for tag in own.per_tag if tag.units < FEW]
    weak = sorted(own.per_tag, key=lambda tag: tag.scores[metric].value)[:WEAKEST]
    worst = ", ".join(f"{plain(tag.tag)} {tag.scores[metric].value:.3f}" for tag in weak)
    said = [f"{plain(task.name)}: lowest {NAMES.get(metric, metric)}: {worst}."]
    if few:
        named = ", ".join(map(plain, few[:FEW])) + (f" and {len(few) - FEW} more" if len(few) > FEW else "")
        said.append(f"{plain(task.name)}: fewer than {FEW} {own.unit} stand behind {named}.")
    left = [f"{plain(', '.join(tags))} in {plain(split)}" for split, tags in own.left_out.items() if tags]
    return [*said, *([f"{plain(task.name)}: not scored: {'; '.join(left)}."] if left else [])]
