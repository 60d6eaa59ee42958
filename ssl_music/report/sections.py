"""The frame of the page: how it opens, how training went, how long it took, what to run next."""

from collections.abc import Mapping

from ssl_music.report.beside import Beside
from ssl_music.report.figures import loss_figure, rank_figure, similarity_figure
from ssl_music.report.findings import Findings
from ssl_music.report.text import bar, escaped, facts, folded, paragraph, section
from ssl_music.report.trainings import Training

ABOUT = {"SimCLR": "two altered views of one song belong together, and views of different songs do not"}
CAPTIONS = {
    "loss": "The loss against what guessing costs.",
    "similarity": "Views of one song should stay above views of different songs. Where the lines meet, training has "
    "collapsed.",
    "rank": "Over how many dimensions the embeddings of a batch spread. Towards 1, training has collapsed.",
}


def opening(findings: Findings, *, title: str | None = None) -> str:
    """Title, what this is in one paragraph, it in five numbers, and an alarm where a training collapsed."""
    own, text, numbers, kicker = (_of_quickstart if findings.results else _of_evaluations)(findings)
    alarms = [
        paragraph(
            f"<b>Training has collapsed{_of(findings, training)}:</b> "
            f"{escaped('; '.join(training.facts['collapsed']))}",
            kind="alarm",
        )
        for training in findings.trainings
        if training.facts.get("collapsed")
    ]
    return (
        f'<header><p class="kicker">{escaped(" · ".join(["ssl_music", *kicker]))}</p>'
        f"<h1>{escaped(title or own)}</h1>"
        f'{paragraph(text, kind="lead")}{"".join(alarms)}<div class="numbers">{facts(numbers)}</div></header>'
    )


def contents(parts: Mapping[str, str]) -> str:
    """Where on the page everything is; `parts` are headings and the sections behind them."""
    known = [(title, part.split('id="', 1)[1].split('"', 1)[0]) for title, part in parts.items() if part]
    links = "".join(f'<li><a href="#{id}">{escaped(title)}</a></li>' for title, id in known)
    return f'<nav aria-label="contents"><ol>{links}</ol></nav>' if len(known) > 2 else ""


def training(findings: Findings, beside: Beside) -> str:
    """Loss and collapse curves of every training; of several, each folded."""
    several = len(findings.trainings) > 1
    parts = []
    for own in findings.trainings:
        inside = beside.within(findings.made_by(own) or own.name) if several else beside
        drawn = {
            "loss": loss_figure(own.curves, own.trivial_loss),
            "similarity": similarity_figure(own.curves),
            "rank": rank_figure(own.curves),
        }
        shown = "".join(
            inside.figure(name, figure, label=f"{name} over the steps of training", caption=CAPTIONS[name])
            for name, figure in drawn.items()
        )
        inside.rows(
            "training",
            [
                {"step": int(step), "name": name, "value": float(value)}
                for name, curve in own.curves.items()
                for step, value in zip(*curve, strict=True)
            ],
        )
        grid = f'<div class="figures">{shown}</div>' if shown else ""
        if several:
            title = findings.made_by(own) or own.name
            grid = folded(title, own.method, grid, opened=own is findings.trainings[0])
        parts.append(grid)
    return section("Training", *parts, id="training")


def timing(findings: Findings) -> str:
    """How long each step took."""
    seconds = findings.results.get("seconds", {})
    longest = max(seconds.values(), default=0) or 1
    lines = "".join(
        f"<tr><th scope='row'>{escaped(step)}</th><td>{taken:,.1f} s</td><td>{bar(taken / longest)}</td></tr>"
        for step, taken in seconds.items()
    )
    note = f"{sum(seconds.values()):,.0f} seconds in all. A step that was finished before takes none."
    shown = f'<table class="times">{lines}</table>{paragraph(note, kind="note")}' if lines else ""
    return section("Time", shown, id="time")


def commands(findings: Findings) -> str:
    """What to run next."""
    lines = "\n".join(findings.results.get("next", []))
    return section("Next, with your own music", f"<pre>{escaped(lines)}</pre>" if lines else "", id="next")


def _of_quickstart(findings: Findings) -> tuple[str, str, dict[str, str], list[str]]:
    catalog, encoder = findings.results["catalog"], findings.results["encoder"]["class"]
    own = findings.trainings[0] if findings.trainings else None
    trained = own.facts if own else {}
    method = own.method if own else ""
    taught = f", taught by <b>{escaped(method)}</b>" if method else ""
    if method in ABOUT:
        taught = f" without seeing a label. <b>{escaped(method)}</b> taught it that {ABOUT[method]}"
    heard = f"{trained['tracks']:,} songs of the training split" if "tracks" in trained else "the training split"
    held = (
        "by number, by eye and by ear, held against two encoders that learned nothing: the same network at random "
        "initialisation, and plain log-mel statistics."
    )
    text = (
        f"A <b>{escaped(encoder)}</b> encoder listened to {heard}{taught}. Then it was frozen. This page shows what "
        f"its embeddings know, {held if findings.tasks else 'by eye and by ear.'}"
    )
    numbers = {
        "songs": f"{catalog['tracks']:,}",
        "hours of music": f"{catalog['hours']:.1f}",
        "training steps": f"{trained['steps']:,}" if "steps" in trained else "",
        "minutes of training": f"{trained['seconds'] / 60:.1f}" if "seconds" in trained else "",
        "embedding dimensions": str(findings.store.header["embedding_dim"]) if findings.store else "",
    }
    return f"What an encoder learned from {catalog['tracks']:,} songs", text, numbers, [catalog["split_name"]]


def _of_evaluations(findings: Findings) -> tuple[str, str, dict[str, str], list[str]]:
    tasks = findings.tasks
    met = {name for task in tasks for name in task.results}
    encoders = [name for name in findings.encoders if name in met or not met]
    store = findings.store
    if len(encoders) == 1:
        own = f"What {encoders[0]} knows"
    elif encoders:
        own = f"{len(encoders)} encoders, {len(tasks)} {'task' if len(tasks) == 1 else 'tasks'}"
    elif findings.trainings:
        own = f"Training of {findings.trainings[0].name}"
    else:
        own = f"{len(store):,} songs" if store is not None else "Evaluations"
    text = (
        "Frozen encoders, held against each other by what a small classifier reads from their embeddings, on tracks "
        "that it was not fitted on. Every score stands with a 95 % interval, beside what chance reaches, and says "
        "which split, protocol and weights it is of."
        if tasks
        else "What was evaluated, and where it comes from."
    )
    tested = {id for task in tasks for id in task.first.test[0].ids}
    numbers = {
        "encoders": str(len(encoders)) if len(encoders) > 1 else "",
        "tasks": str(len(tasks)) if tasks else "",
        "tags": f"{sum(len(task.first.tags) for task in tasks):,}" if tasks else "",
        "tracks tested on": f"{len(tested):,}" if tested else "",
        "trainings": str(len(findings.trainings)) if findings.trainings else "",
    }
    return own, text, numbers, list(dict.fromkeys(task.first.origin.split_name for task in tasks))


def _of(findings: Findings, training: Training) -> str:
    return f" of {escaped(training.name)}" if len(findings.trainings) > 1 else ""
