"""What a report is made of: evaluations as tasks, stores of vectors, trainings, and whom the page is about."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from ssl_music._ledger.table import TABLE
from ssl_music._records import Record
from ssl_music.errors import unknown_name
from ssl_music.pack import Pack
from ssl_music.probe import ProbeResult
from ssl_music.report.gathered import gathered, read_training
from ssl_music.report.naming import named, named_by_bench, named_by_weights
from ssl_music.report.palette import encoder_colours, is_baseline
from ssl_music.report.tasks import Task, tasks
from ssl_music.report.trainings import Training
from ssl_music.vectors import Vectors

PRETRAINED = "pretrained"
ENCODERS = ("encoders", "curves")  #: under which keys of a record its encoders stand
DRAWN = 4  #: encoders whose curves and tags are drawn beside each other
BASELINE = "muted"  #: the colour of what is only there to be beaten


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
        given = named_by_bench(self._records)
        probed, self._aliases = named([one for one in found.records if one[1].kind == "probe"], given)
        self._aliases |= named_by_weights(self._records, probed)
        self.tasks = tasks(probed, given)
        self._stores = [store for _, store in found.stores]
        self.trainings = [read_training(folder) for _, folder in found.trainings]
        self._trained_in = [run for run, _ in found.trainings]
        self._stored_in = [run for run, _ in found.stores]
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
        probed = [name for task in self.tasks for name in task.results]
        further = [self._aliases.get(name, name) for record in self._records for name in _names(record)]
        ranked = sorted(self.mean_ranks, key=lambda name: self.mean_ranks[name])
        return list(dict.fromkeys([*ranked, *probed, *further]))

    @cached_property
    def mean_ranks(self) -> dict[str, float]:
        """Encoder → its mean rank over the tasks in which it met others, 1 the best; ties share the mean rank."""
        ranks: dict[str, list[float]] = {}
        for task in self.tasks:
            if len(task.results) > 1:
                values = [-task.value(name).value for name in task.results]
                for name, rank in zip(task.results, rankdata(values), strict=True):
                    ranks.setdefault(name, []).append(float(rank))
        return {name: float(np.mean(own)) for name, own in ranks.items()}

    @cached_property
    def baselines(self) -> set[str]:
        """Encoders that learned nothing beforehand: by their class, by what the bench says of them, by their name."""
        found = {name for name in self.encoders if is_baseline(name)}
        for task in self.tasks:
            found |= {name for name, one in task.results.items() if one.origin.encoder.endswith("Statistics")}
        for record in self.records("bench"):
            facts = record.facts["encoders"]
            found |= {self._aliases.get(name, name) for name, own in facts.items() if own.get("fresh")}
        return found

    @cached_property
    def colours(self) -> dict[str, str]:
        """Encoder → the palette's name of its colour on the whole page, under every name that it has in a record.

        Hues are few: first come those whose curves the tasks draw.
        """
        drawn = [name for place in (0, 1) for task in self.tasks for name in self.drawn(task)[place : place + 1]]
        found = encoder_colours(
            [name for name in dict.fromkeys([*drawn, *self.encoders]) if name not in self.baselines]
        )
        found |= dict.fromkeys(self.baselines, BASELINE)
        return found | {alias: found[name] for alias, name in self._aliases.items() if name in found}

    @cached_property
    def featured(self) -> str:
        """The encoder that the page is about; "" where there is none. What learned nothing is there to be beaten."""
        if self._asked is not None:
            return self._asked
        if self.quickstart is not None and (PRETRAINED in self.encoders or not self.encoders):
            return PRETRAINED
        learned = [name for name in self.encoders if name not in self.baselines]
        return next(iter([*learned, *self.encoders]), "")

    def shown(self, task: Task) -> str:
        """Whose tags a task shows, and whom its verdict is about.

        The encoder that was asked for, or that the quickstart trained, or the best of those that learned something.
        """
        subject = self._asked or (self.featured if self.quickstart is not None else "")
        if subject in task.results:
            return subject
        learned = [name for name in task.results if name not in self.baselines]
        return max(learned or task.results, key=lambda name: task.value(name).value)

    def drawn(self, task: Task) -> list[str]:
        """Whose curves a task draws: the one shown, the best other, those that learned nothing, then others."""
        shown = self.shown(task)
        others = sorted((name for name in task.results if name != shown), key=lambda name: -task.value(name).value)
        learned = [name for name in others if name not in self.baselines]
        ordered = [shown, *learned[:1], *(name for name in others if name in self.baselines), *learned[1:]]
        return ordered[:DRAWN]

    def store_of(self, result: ProbeResult) -> Vectors | None:
        """The vectors that a result was computed from, where they are at hand."""
        for store in self._stores:
            header = store.header
            same = header["digest"], header["catalog_fingerprint"], header["split_name"]
            if same == (result.origin.digest, result.origin.catalog_fingerprint, result.origin.split_name):
                return store
        return None

    def training_of(self, encoder: str) -> Training | None:
        """The training that made an encoder, as far as that is sure.

        It is what the bench says, or the quickstart, or the folder that holds both: that one training and vectors of
        the encoder's weights.
        """
        digests = {task.results[encoder].origin.digest for task in self.tasks if encoder in task.results}
        sure = set()
        for record in self.records("bench"):
            facts = record.facts["encoders"].values()
            sure |= {Path(own["run"]).resolve() for own in facts if own.get("run") and own.get("digest") in digests}
        if self.quickstart is not None and encoder == PRETRAINED:
            sure.add((self.quickstart / "train").resolve())
        for run, store in zip(self._stored_in, self._stores, strict=True):
            if store.header["digest"] in digests and self._trained_in.count(run) == 1:
                sure.add(self.trainings[self._trained_in.index(run)].root.resolve())
        made = [training for training in self.trainings if training.root.resolve() in sure]
        return made[0] if len(made) == 1 else None

    def made_by(self, training: Training) -> str:
        """The encoder that a training made, as far as that is sure; "" where it is not."""
        return self._made.get(training.root.resolve(), "")

    @cached_property
    def _made(self) -> dict[Path, str]:
        trainings = ((name, self.training_of(name)) for name in self.encoders)
        return {training.root.resolve(): name for name, training in trainings if training is not None}

    def as_called(self, record: Record) -> dict[str, Any]:
        """The facts of a record with its encoders under the names that they have on this page."""
        facts = dict(record.facts)
        for key in ENCODERS:
            if isinstance(facts.get(key), dict):
                facts[key] = {self._aliases.get(name, name): value for name, value in facts[key].items()}
        return facts

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


def _names(record: Record) -> list[str]:
    """The encoders that a record is about."""
    for key in ENCODERS:
        if isinstance(record.facts.get(key), dict):
            return list(record.facts[key])
    return []
