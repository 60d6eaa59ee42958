"""What lies in the folders that a report is asked for: records, stores of vectors, trainings, a quickstart's rest."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ssl_music._records import Record, gather_records, read_record
from ssl_music.errors import UserError
from ssl_music.report.trainings import Training, read_json
from ssl_music.vectors import Vectors
from ssl_music.vectors.layout import POOLED

WANTED = (
    "a quickstart (results.json), evaluations (.json records of probe, bench, robustness, taggram), "
    "a training (run.json) or a store of vectors"
)
#: where a run keeps its vectors; elsewhere below it are those of altered music, or of other hops
STORES = (".", "vectors", "vectors/*", "vectors/*/*")


class Gathered(NamedTuple):
    """What was found, each with the folder that was asked for; `results` is the first quickstart's results.json."""

    records: list[tuple[Path, Record]]
    stores: list[tuple[Path, Vectors]]
    trainings: list[tuple[Path, Path]]  # the folder of a run.json behind the folder that was asked for
    results: dict[str, Any]
    quickstart: Path | None


def gathered(runs: Sequence[Path]) -> Gathered:
    """Everything in these folders and files; UserError for one that holds nothing that a report is made of.

    >>> import tempfile
    >>> gathered([Path(tempfile.mkdtemp())])
    Traceback (most recent call last):
    ...
    ssl_music.errors.UserError: /tmp/...: nothing to report: looked for a quickstart (results.json), evaluations ...
    """
    if not runs:
        raise UserError(f"nothing to report: give one or more folders, each with {WANTED}")
    everything = Gathered([], [], [], {}, None)
    seen: set[Path] = set()
    for run in runs:
        found = _in_folder(run) if run.is_dir() else Gathered([(run, read_record(run))], [], [], {}, None)
        if not any(found[:4]):
            raise UserError(
                f"{run}: nothing to report: looked for {WANTED}; write an evaluation with ssl-music probe --out, "
                "or go the whole way with ssl-music quickstart"
            )
        everything.records.extend(_new(found.records, [record.path for _, record in found.records], seen))
        everything.stores.extend(_new(found.stores, [store.root / POOLED for _, store in found.stores], seen))
        everything.trainings.extend(_new(found.trainings, [path / "run.json" for _, path in found.trainings], seen))
        if found.results and everything.quickstart is None:
            everything = everything._replace(results=found.results, quickstart=run)
    return everything


def _new(found: list, paths: list[Path], seen: set[Path]) -> list:
    """Those whose file was not met before: a folder and one inside it may both be given."""
    kept = []
    for one, path in zip(found, paths, strict=True):
        if path.resolve() not in seen:
            seen.add(path.resolve())
            kept.append(one)
    return kept


def _in_folder(run: Path) -> Gathered:
    records = [(run, record) for record in gather_records(run)]
    stores = [(run, Vectors(pooled.parent)) for place in STORES for pooled in sorted(run.glob(f"{place}/{POOLED}"))]
    trained = [run, run / "train", run / "run"]
    for _, record in records:
        if record.kind == "bench":
            trained += [Path(facts["run"]) for facts in record.facts["encoders"].values() if facts.get("run")]
    trainings = [(run, folder) for folder in dict.fromkeys(trained) if (folder / "run.json").is_file()]
    results = run / "results.json"
    found = read_json(results) if results.is_file() else {}
    probes = [path for own in found.get("probes", {}).values() for path in own.values()]
    if not all(isinstance(path, str) and (run / path).is_file() for path in probes):
        raise UserError(
            f"{results}: the records of its {len(probes)} probes are not in {run / 'probes'}; run ssl-music "
            "quickstart again: it goes on where it was"
        )
    return Gathered(records, stores, trainings, found, run if found else None)


def read_training(folder: Path) -> Training:
    """The training in `folder`, named as people named it: by the folder above one that is called run or train."""
    named = folder.resolve()
    if named.name in ("run", "train") and named.parent != named:
        named = named.parent
    return Training(folder, name=named.name)
