"""What the encoders of many records are called on one page: one name for one set of weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ssl_music._records import Record
from ssl_music.probe import ProbeResult
from ssl_music.report.tasks import Probed


def named(found: Sequence[tuple[Path, Record]], given: Mapping[str, str]) -> tuple[list[Probed], dict[str, str]]:
    """Each probe under its encoder's name, and the names that were replaced by another.

    Weights that go by several names have the one that a bench gave them (`given` has the paths of its records), else
    the first; a name that stands for several weights also says of which folder it is, or of which digest.
    """
    results = [(run, record, ProbeResult.of(record)) for run, record in found]
    first: dict[str, str] = {}  # digest → name
    for _, _, result in sorted(results, key=lambda one: str(one[1].path) not in given):
        first.setdefault(result.origin.digest, result.name)
    weights: dict[tuple[str, str], set[str]] = {}
    for _, _, result in results:
        key = (first[result.origin.digest], result.origin.catalog_fingerprint)
        weights.setdefault(key, set()).add(result.origin.digest)
    doubtful = {name for (name, _), digests in weights.items() if len(digests) > 1}
    runs = {run.resolve().name for run, _, result in results if first[result.origin.digest] in doubtful}
    probed = []
    for run, record, result in results:
        name = first[result.origin.digest]
        if name in doubtful:
            name = f"{name} ({run.resolve().name if len(runs) > 1 else result.origin.digest[:6]})"
        probed.append(Probed(name, result, record))
    replaced: dict[str, set[str]] = {}
    for one in probed:
        replaced.setdefault(one.result.name, set()).add(one.encoder)
    aliases = {name: now.pop() for name, now in replaced.items() if len(now) == 1 and now != {name}}
    return probed, aliases


def named_by_bench(records: Sequence[Record]) -> dict[str, str]:
    """Path of a probe's record → the name that the bench gave its task."""
    given: dict[str, str] = {}
    for bench in records:
        if bench.kind == "bench":
            for task in bench.facts["tasks"]:
                folder = bench.path.parent / "probes" / task["name"]
                given |= {str(r.path): task["name"] for r in records if r.kind == "probe" and r.path.parent == folder}
    return given


def named_by_weights(records: Sequence[Record], probed: Sequence[Probed]) -> dict[str, str]:
    """Name in a record that says whose weights it means → the name that probes of these weights have."""
    known = {one.result.origin.digest: one.encoder for one in probed}
    return {
        name: known[origin["digest"]]
        for record in records
        for name, origin in record.facts.get("origins", {}).items()
        if known.get(origin["digest"], name) != name
    }
