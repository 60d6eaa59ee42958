"""Everything that says where the numbers come from, and how to get them again."""

import json
import shlex
from importlib.metadata import version
from typing import Any

from ssl_music.report.beside import Beside
from ssl_music.report.findings import Findings
from ssl_music.report.text import escaped, facts, folded, paragraph, section, table


def provenance(findings: Findings, beside: Beside) -> str:
    """Weights, vectors, trainings with their recipes, and the versions of what computed them."""
    parts = [_weights(findings, beside), _leaks(findings, beside)]
    for training in findings.trainings:
        own = training.facts
        session = (own.get("sessions") or [{}])[-1]
        pairs: dict[str, object] = {
            "method": training.method,
            "weights": training.weights,
            "learned from": _learned_from(own),
            "seed": own.get("seed"),
            "trained": " to ".join(own[key] for key in ("started", "finished") if own.get(key)),
            "steps": f"{own['steps']:,}" if "steps" in own else "",
            "on": ", ".join(session.get("devices", [])),
            "precision": session.get("precision"),
            "versions": ", ".join(f"{name} {number}" for name, number in own.get("versions", {}).items()),
        }
        recipe: Any = own.get("recipe") or own.get("settings")
        shown = json.dumps(recipe, indent=2, ensure_ascii=False)
        parts.append(
            folded(
                f"Training: {training.name}",
                training.method,
                f'<div class="provenance">{facts(pairs)}</div>',
                folded("Recipe", "", f"<pre>{escaped(shown)}</pre>", kind="long") if recipe else "",
                opened=len(findings.trainings) == 1,
            )
        )
    page = {
        "made from": ", ".join(str(run) for run in findings.runs),
        "made by": f"ssl-music {version('ssl-music')}",
        "made again by": command(findings),
        "broken files": findings.results.get("catalog", {}).get("broken"),
    }
    return section("Provenance", *parts, f'<div class="provenance">{facts(page)}</div>', id="provenance")


def command(findings: Findings) -> str:
    """What makes this page again."""
    words = [*map(str, findings.runs), *(part for option in findings.options.items() for part in option)]
    return f"ssl-music report {shlex.join(words)}"


def _weights(findings: Findings, beside: Beside) -> str:
    """Each encoder with the digest of its weights, and how it hears where its vectors are at hand."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for task in findings.tasks:
        for name, result in task.results.items():
            row = rows.setdefault(
                (name, result.origin.digest),
                {"encoder": name, "class": result.origin.encoder.rpartition(".")[2], "digest": result.origin.digest},
            )
            store = findings.store_of(result)
            if store is not None and "hears" not in row:
                row |= hearing(store.header)
    own = findings.store
    if not rows and own is not None:
        rows["", ""] = {
            "encoder": findings.featured or own.root.name,
            "class": own.header["encoder"].rpartition(".")[2],
            "digest": own.header["digest"],
        } | hearing(own.header)
    if not rows:
        return ""
    keys = list(dict.fromkeys(key for row in rows.values() for key in row))
    lines = [[row.get(key, "–") for key in keys] for row in rows.values()]
    beside.rows("encoders", [dict(zip(keys, line, strict=True)) for line in lines])
    return table(keys, lines, kind="asked", caption="The encoders and the digests of their weights")


def hearing(header: dict[str, Any]) -> dict[str, str]:
    """How an encoder was asked, from the header of its vectors.

    >>> hearing({"sample_rate": 16000, "input_samples": 48000, "hop_samples": 16000, "embedding_dim": 64})
    {'dimensions': '64', 'hears': '3.00 s at 16,000 Hz, every 1.00 s'}
    """
    rate = header["sample_rate"]
    heard, hop = header["input_samples"] / rate, header["hop_samples"] / rate
    return {"dimensions": str(header["embedding_dim"]), "hears": f"{heard:.2f} s at {rate:,} Hz, every {hop:.2f} s"}


def _learned_from(own: dict[str, Any]) -> str:
    catalog = own.get("catalog", {})
    said = [
        f"{own['tracks']:,} tracks" if "tracks" in own else "",
        f"split {catalog['split']} of {catalog['split_name']}" if catalog.get("split") else "",
        f"catalog {catalog['fingerprint']}" if catalog.get("fingerprint") else "",
    ]
    return ", ".join(filter(None, said))


def _leaks(findings: Findings, beside: Beside) -> str:
    """What the bench found of the pretraining catalog in a test split."""
    parts = []
    for record in findings.records("bench"):
        leaks, looked = record.facts.get("leaks") or [], record.facts.get("leaks_are", "reported")
        if not leaks:
            none = "The bench found no track of a test split in the pretraining catalog."
            unknown = "Whether tracks of a test split were met in pretraining was not looked for."
            parts.append(paragraph(unknown if looked == "not looked for" else none, kind="note"))
            continue
        keys = list(dict.fromkeys(key for leak in leaks for key in leak))
        rows = [{key: leak.get(key, "") for key in keys} for leak in leaks]
        beside.rows("leaks", rows)
        lines = [[str(value) for value in row.values()] for row in rows]
        parts.append(
            folded("Leaks", f"{len(leaks):,} finds, {looked}", table(keys, lines, kind="asked"), kind="long")
        )
    return "".join(parts)
