"""What a report is made of: evaluations as tasks, stores of vectors, trainings, and whom the page is about."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ssl_music._ledger.table import TABLE
from ssl_music._records import Record
from ssl_music.errors import unknown_name
from ssl_music.pack import Pack
from ssl_music.probe import ProbeResult
from ssl_music.report.gathered import gathered, training_of
from ssl_music.report.palette import encoder_colours, is_baseline
from ssl_music.report.tasks import Probed, Task, tasks
from ssl_music.vectors import Vectors

PRETRAINED = "pretrained"


class Findings:
    """Everything that was found in one or more RUN folders; what is absent is empty.

    `results` is a quickstart's results.json: its neighbours, timing and what could not be probed; `packed` its packed
    music, None where that was deleted to save space. `encoder` is whom the page is about; by default the one that the
    quickstart trained, else the one of best mean rank among those that learned something.
    """

    def __init__(
        self, runs: Sequence[Path | str], *, encoder: str | None = None, options: Mapping[str, str] | None = None
    ) -> None:
        self.runs = [Path(run) for run in runs]
        self.options = dict(options or {})  #: of the command that makes the report again
        found = gathered(self.runs)
        self.results: dict[str, Any] = found.results
        self.quickstart = found.quickstart
        self._records = [record for _, record in found.records]
        probed = _probed([(run, record) for run, record in found.records if record.kind == "probe"])
        self.tasks = tasks(probed, _named_by_bench(self._records))
        self._stores = [store for _, store in found.stores]
        self.trainings = [training_of(run, folder) for run, folder in found.trainings]
        if encoder is not None and encoder not in self.encoders:
            raise unknown_name("encoder of the report", encoder, self.encoders)
        self._asked = encoder
        pack = self.quickstart / "pack" if self.quickstart else None
        self.packed = Pack(pack) if pack is not None and (pack / TABLE).is_file() else None

    def records(self, kind: str) -> list[Record]:
        """The records of a kind, in the order of their paths."""
        return [record for record in self._records if record.kind == kind]

    @cached_property
    def encoders(self) -> list[str]:
        """Every encoder that was probed, the one of best mean rank first; then those of the other records."""
        further = [name for record in self._records for name in _names(record)]
        return [*sorted(self.mean_ranks, key=lambda name: self.mean_ranks[name]), *self._unranked(further)]

    def _unranked(self, names: Sequence[str]) -> list[str]:
        return [name for name in dict.fromkeys(names) if name not in self.mean_ranks]

    @cached_property
    def mean_ranks(self) -> dict[str, float]:
        """Encoder → its mean rank over the tasks it took part in, 1 the best; ties share the mean of their ranks."""
        ranks: dict[str, list[float]] = {}
        for task in self.tasks:
            values = {name: task.value(name).value for name in task.results}
            for name, value in values.items():
                above = sum(other > value for other in values.values())
                same = sum(other == value for other in values.values())
                ranks.setdefault(name, []).append(above + (same + 1) / 2)
        return {name: float(np.mean(own)) for name, own in ranks.items()}

    @cached_property
    def colours(self) -> dict[str, str]:
        """Encoder → the palette's name of its colour on the whole page."""
        return encoder_colours(self.encoders)

    @cached_property
    def featured(self) -> str:
        """The encoder that the page is about; "" where there is none. What learned nothing is there to be beaten."""
        if self._asked is not None:
            return self._asked
        if self.quickstart is not None and (PRETRAINED in self.encoders or not self.encoders):
            return PRETRAINED
        learned = [name for name in self.encoders if not is_baseline(name)]
        return next(iter([*learned, *self.encoders]), "")

    def shown(self, task: Task) -> str:
        """The encoder whose tags a task shows: the one asked for, or that the page is about, or the best."""
        subject = self._asked or (self.featured if self.quickstart is not None else task.best)
        return subject if subject in task.results else task.best

    def store_of(self, result: ProbeResult) -> Vectors | None:
        """The vectors that a result was computed from, where they are at hand."""
        for store in self._stores:
            header = store.header
            same = header["digest"], header["catalog_fingerprint"], header["split_name"]
            if same == (result.origin.digest, result.origin.catalog_fingerprint, result.origin.split_name):
                return store
        return None

    @cached_property
    def store(self) -> Vectors | None:
        """The vectors to draw a map of: of the encoder that the page is about, else the first there are."""
        for task in self.tasks:
            if self.featured in task.results and (found := self.store_of(task.results[self.featured])):
                return found
        if self.quickstart is not None:
            own = [store for store in self._stores if store.root == self.quickstart / "vectors" / PRETRAINED]
            return own[0] if own else None
        return self._stores[0] if self._stores and not self.tasks else None

    def columns(self, store: Vectors) -> dict[str, bool]:
        """Label column → whether a song may have several of its tags; those that were probed come first."""
        known = store.header["columns"]
        asked = [task.first.column for task in self.tasks if task.first.column in known]
        return {name: known[name] for name in dict.fromkeys([*asked, *known])}


def _probed(found: Sequence[tuple[Path, Record]]) -> list[Probed]:
    """Each probe under its encoder's name; names that stand for several weights also say from which folder."""
    results = [(run, record, ProbeResult.of(record)) for run, record in found]
    weights: dict[tuple[str, str], set[str]] = {}
    for _, _, result in results:
        key = (result.name, result.origin.catalog_fingerprint)
        weights.setdefault(key, set()).add(result.origin.digest)
    doubtful = {name for (name, _), digests in weights.items() if len(digests) > 1}
    runs = {run for run, _, result in results if result.name in doubtful}
    named = []
    for run, record, result in results:
        name = result.name
        if name in doubtful:
            name = f"{name} ({run.resolve().name if len(runs) > 1 else result.origin.digest[:6]})"
        named.append(Probed(name, result, record))
    return named


def _named_by_bench(records: Sequence[Record]) -> dict[str, str]:
    """Path of a probe's record → the name that the bench gave its task."""
    given: dict[str, str] = {}
    for bench in records:
        if bench.kind == "bench":
            for task in bench.facts["tasks"]:
                folder = bench.path.parent / "probes" / task["name"]
                given |= {str(r.path): task["name"] for r in records if r.kind == "probe" and r.path.parent == folder}
    return given


def _names(record: Record) -> list[str]:
    """The encoders that a record is about."""
    for key in ("encoders", "curves"):
        if isinstance(record.facts.get(key), dict):
            return list(record.facts[key])
    return []
