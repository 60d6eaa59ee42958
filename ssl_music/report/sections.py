"""The parts of the page, each from the facts of a run to HTML; "" where there is nothing to say."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from matplotlib.figure import Figure

from ssl_music.report.figures import score_figure, svg
from ssl_music.report.run import PRETRAINED, Run
from ssl_music.report.text import bar, escaped, facts, paragraph, section, table

ABOUT = {"SimCLR": "two altered views of one song belong together, and views of different songs do not"}
OPEN_UP_TO = 12  # tags; longer tables are folded


def opening(run: Run) -> str:
    """Title, what this is in one paragraph, the run in five numbers, and an alarm where training collapsed."""
    catalog, training, encoder = run.results["catalog"], run.training, run.results["encoder"]["class"]
    taught = f", taught by <b>{escaped(run.method)}</b>" if run.method else ""
    if run.method in ABOUT:
        taught = f" without seeing a label. <b>{escaped(run.method)}</b> taught it that {ABOUT[run.method]}"
    heard = f"{training['tracks']:,} songs of the training split" if "tracks" in training else "the training split"
    held = (
        "by number, by eye and by ear, held against two encoders that learned nothing: the same network at random "
        "initialisation, and plain log-mel statistics."
    )
    text = (
        f"A <b>{escaped(encoder)}</b> encoder listened to {heard}{taught}. Then it was frozen. This page shows what "
        f"its embeddings know, {held if run.scores else 'by eye and by ear.'}"
    )
    numbers = {
        "songs": f"{catalog['tracks']:,}",
        "hours of music": f"{catalog['hours']:.1f}",
        "training steps": f"{training['steps']:,}" if "steps" in training else "",
        "minutes of training": f"{training['seconds'] / 60:.1f}" if "seconds" in training else "",
        "embedding dimensions": str(run.vectors.header["embedding_dim"]),
    }
    alarm = ""
    if training.get("collapsed"):
        alarm = paragraph(f"<b>Training has collapsed:</b> {escaped('; '.join(training['collapsed']))}", kind="alarm")
    return (
        f'<header><p class="kicker">ssl_music · {escaped(catalog["split_name"])}</p>'
        f"<h1>What an encoder learned from {catalog['tracks']:,} songs</h1>"
        f'{paragraph(text, kind="lead")}{alarm}<div class="numbers">{facts(numbers)}</div></header>'
    )


def verdict(run: Run) -> str:
    """What the numbers say, a line each, marked by whether they say yes, no or perhaps."""
    lines = []
    for line in run.results.get("verdict", []):
        kind, mark = ("no", "✕") if "does NOT beat" in line else ("yes", "✓")
        if "intervals overlap" in line:
            kind, mark = "perhaps", "≈"
        lines.append(f'<li class="{kind}"><span aria-hidden="true">{mark}</span>{escaped(line)}</li>')
    return section("Verdict", f'<ul class="verdict">{"".join(lines)}</ul>' if lines else "", id="verdict")


def scores(run: Run) -> str:
    """The one table, with where its numbers come from, and the same as dots on intervals."""
    probes, catalog = run.results.get("probes", {}), run.results["catalog"]
    unprobed = _unprobed(run.results.get("unprobed", {}))
    if not run.scores:
        none = "There are no labels to probe: the map, the neighbours and the training below stand for themselves."
        return section("Scores", paragraph(none), unprobed, id="scores")
    first = [next(iter(results.values())) for results in probes.values()]
    tested = [f"{result['tracks']['test']:,} songs" for result in first if "test" in result["tracks"]]
    grouped = [result for result in first if result["unit"] == "groups"]
    units = "groups of songs that belong together" if grouped else "songs"
    note = (
        f"Split <b>{escaped(catalog['split_name'])}</b>, catalog <code>{escaped(catalog['fingerprint'])}</code>, "
        f"{catalog['tracks']:,} songs. Probes are linear, fitted on the training split, tuned on the validation "
        f"split and scored on the test split. In brackets: 95 % bootstrap intervals over {units}. Dashed: chance."
    )
    leaks = [
        paragraph(
            f"<b>Leak:</b> {len(result['shared_groups']):,} groups of {escaped(result['column'])} lie on both sides "
            "of the test split: what is scored there was learned from.",
            kind="alarm",
        )
        for result in first
        if result["shared_groups"]
    ]
    heading, *lines = run.results["table"]
    padded = [*tested, *[""] * (len(heading) - 1 - len(tested))]
    foot = ["tested on", *padded] if tested else []
    panels = "".join(
        f"<figure>{svg(score_figure([score]), f'{score.title}: {score.metric} of each encoder')}</figure>"
        for score in run.scores
    )
    return section(
        "Scores",
        table([name.replace(" (", "\n(") for name in heading], lines, foot=foot, kind="scores"),
        paragraph(note, kind="note"),
        *leaks,
        unprobed,
        f'<div class="figures{" in-pairs" if len(run.scores) in (2, 4) else ""}">{panels}</div>',
        id="scores",
    )


def training(run: Run, figures: Mapping[str, Figure]) -> str:
    """Loss and collapse curves."""
    captions = {
        "loss": "The loss against what guessing costs.",
        "similarity": "Views of one song should stay above views of different songs. Where the lines meet, "
        "training has collapsed.",
        "rank": "Over how many dimensions the embeddings of a batch spread. Towards 1, training has collapsed.",
    }
    shown = "".join(
        f"<figure>{svg(figures[name], name)}<figcaption>{caption}</figcaption></figure>"
        for name, caption in captions.items()
        if name in figures
    )
    return section("Training", f'<div class="figures">{shown}</div>' if shown else "", id="training")


def tags(run: Run) -> str:
    """For each probed column, how well each tag is read."""
    parts = []
    for column, results in run.results.get("probes", {}).items():
        ours = results[PRETRAINED]
        if not ours["per_tag"]:
            continue
        metric = "roc_auc"
        theirs = [{tag["tag"]: tag["scores"][metric] for tag in result["per_tag"]} for result in results.values()]
        lines = []
        for tag in sorted(ours["per_tag"], key=lambda tag: -tag["scores"][metric][0]):
            units = [str(tag["units"])] if ours["unit"] == "groups" else []
            cells = [_interval(scored.get(tag["tag"])) for scored in theirs]
            lines.append([tag["tag"], str(tag["support"]), *units, *cells])
        heading = ["tag", "test songs", *(["groups"] if ours["unit"] == "groups" else []), *results]
        dropped = [f"not scored in {split}: {', '.join(names)}" for split, names in ours["left_out"].items() if names]
        parts.append(
            f"<details{' open' if len(lines) <= OPEN_UP_TO else ''}><summary>{escaped(column)} "
            f"<small>{len(lines)} tags, ROC-AUC</small></summary>{table(heading, lines, kind='tags')}"
            f"{paragraph(escaped('; '.join(dropped)), kind='note') if dropped else ''}</details>"
        )
    return section("Tag by tag", *parts, id="tags")


def timing(run: Run) -> str:
    """How long each step took."""
    seconds = run.results.get("seconds", {})
    longest = max(seconds.values(), default=0) or 1
    lines = "".join(
        f"<tr><th scope='row'>{escaped(step)}</th><td>{taken:,.1f} s</td><td>{bar(taken / longest)}</td></tr>"
        for step, taken in seconds.items()
    )
    note = f"{sum(seconds.values()):,.0f} seconds in all. A step that was finished before takes none."
    shown = f'<table class="times">{lines}</table>{paragraph(note, kind="note")}' if lines else ""
    return section("Time", shown, id="time")


def provenance(run: Run) -> str:
    """Everything that says where the numbers come from."""
    header, training, catalog = run.vectors.header, run.training, run.results["catalog"]
    rate = header["sample_rate"]
    pairs: dict[str, object] = {
        "encoder": header["encoder"],
        "weights": run.weights,
        "digest of the weights": header["digest"],
        "hears": f"{header['input_samples'] / rate:.2f} s at {rate:,} Hz, every {header['hop_samples'] / rate:.2f} s",
        "split": header["split_name"],
        "catalog": header["catalog_fingerprint"],
        "broken files": catalog["broken"],
        "seed": training.get("seed"),
        "trained": " to ".join(training[key] for key in ("started", "finished") if training.get(key)),
        "versions": ", ".join(f"{name} {number}" for name, number in training.get("versions", {}).items()),
        "this page": f"ssl-music {version('ssl-music')}",
    }
    recipe: Any = training.get("recipe") or training.get("settings")
    folded = (
        f"<details><summary>Recipe</summary><pre>{escaped(json.dumps(recipe, indent=2, ensure_ascii=False))}</pre>"
        "</details>"
        if recipe
        else ""
    )
    return section("Provenance", f'<div class="provenance">{facts(pairs)}</div>', folded, id="provenance")


def commands(run: Run) -> str:
    """What to run next."""
    lines = "\n".join(run.results.get("next", []))
    return section("Next, with your own music", f"<pre>{escaped(lines)}</pre>" if lines else "", id="next")


def _interval(scores: list[float] | None) -> str:
    return "–" if scores is None else f"{scores[0]:.3f} [{scores[1]:.3f}, {scores[2]:.3f}]"


def _unprobed(reasons: Mapping[str, str]) -> str:
    if not reasons:
        return ""
    lines = "".join(f"<p><b>{escaped(column)}</b>: {escaped(reason)}</p>" for column, reason in reasons.items())
    return f'<details class="note"><summary>Not probed: {escaped(", ".join(reasons))}</summary>{lines}</details>'
