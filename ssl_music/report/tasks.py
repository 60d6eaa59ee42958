"""Tasks: probe results that may stand in one column of a table, because they are of the same question."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from ssl_music._records import Record
from ssl_music.metrics import Interval
from ssl_music.probe import ProbeResult
from ssl_music.probe.draws import Drawn, difference
from ssl_music.probe.paired import drawn_together

#: what people call the kinds of a task
KINDS = {"single": "one tag a song", "multi": "several tags a song", "numbers": "numbers"}
#: protocols that are no classifier on stored vectors
PROTOCOLS = {
    "outside": "predictions that were made elsewhere",
    "finetune": "the whole encoder, trained on the labels",
}
#: facts in which results of one task agree, beside the tracks that were scored
AGREEING = ("column", "protocol", "pool", "task", "split_name", "catalog_fingerprint", "tracks", "tags")


class Probed(NamedTuple):
    """One encoder's result, under the name it has on the page, with the record it was read from."""

    encoder: str
    result: ProbeResult
    record: Record


class Task:
    """One question, asked of several encoders: same column, tags, protocol, split, catalog and tracks.

    `metric` is the one that the result names first. A difference is from a paired bootstrap over the same tracks.
    """

    def __init__(self, name: str, probed: Sequence[Probed]) -> None:
        self.name = name
        probed = _each_once(probed)
        self.results = {one.encoder: one.result for one in probed}
        self.records = {one.encoder: one.record for one in probed}
        self.first = probed[0].result
        self.metric = self.first.primary

    def value(self, encoder: str) -> Interval:
        """What an encoder reached."""
        return self.results[encoder].metrics[self.metric]

    @cached_property
    def best(self) -> str:
        """The encoder with the highest value; of equals the first."""
        return max(self.results, key=lambda name: self.value(name).value)

    @cached_property
    def level(self) -> set[str]:
        """Encoders that cannot be told apart from the best: the interval of the difference holds zero."""
        return {name for name, gap in self.differences(self.best).items() if gap.low <= 0 <= gap.high}

    def differences(self, subject: str) -> dict[str, Interval]:
        """By how much `subject` is better than each of the others: what `probe.paired` says, of all at once."""
        own = self._drawn[subject]
        return {name: difference(own, other) for name, other in self._drawn.items() if name != subject}

    @cached_property
    def _drawn(self) -> dict[str, Drawn]:
        """Each encoder's value, and its values in the same draws of tracks for all."""
        return dict(zip(self.results, drawn_together(list(self.results.values()), self.metric), strict=True))


def asked(task: Task) -> dict[str, str]:
    """Everything that a reader needs to ask the same again."""
    first = task.first
    heard = {"vectors": "on the mean vector of each track", "scores": "on chunks, the mean score of each track's"}
    runs = max(len(result.runs) for result in task.results.values())
    return {
        "column": f"{first.column}, {KINDS[first.kind]}",
        "protocol": PROTOCOLS.get(first.protocol) or f"{first.protocol} {heard.get(first.pool, first.pool)}",
        "runs": str(runs),
        "split": first.origin.split_name,
        "catalog": first.origin.catalog_fingerprint,
        "tracks": " / ".join(f"{count:,} {split}" for split, count in first.tracks.items()),
        "intervals over": f"{first.units:,} {first.unit}, {first.bootstrap:,} draws, seed {first.seed}",
    }


def tasks(probed: Sequence[Probed], given: Mapping[str, str]) -> list[Task]:
    """The results as tasks, in the order they are met; `given` names some by the path of their record.

    A task is called by its column; where several are of one column, also by what they differ in.
    """
    kept: dict[tuple, list[Probed]] = {}
    for one in probed:
        agreeing = (_plain(one.record.facts.get(fact)) for fact in AGREEING)
        kept.setdefault((*agreeing, frozenset(one.result.test[0].ids)), []).append(one)
    called: dict[str, list[tuple]] = {}
    for key, members in kept.items():
        by_bench = [given[str(one.record.path)] for one in members if str(one.record.path) in given]
        called.setdefault(by_bench[0] if by_bench else str(key[0]), []).append(key)
    names: dict[tuple, str] = {}
    for name, alike in called.items():
        names |= zip(alike, _apart(name, alike), strict=True)
    return [Task(names[key], members) for key, members in kept.items()]


def _each_once(probed: Sequence[Probed]) -> list[Probed]:
    """Without copies of an evaluation; an encoder that was evaluated anew, differently, gets a number."""
    kept: dict[str, Probed] = {}
    for one in probed:
        if any(one.record.facts == other.record.facts for other in kept.values()):
            continue
        name, number = one.encoder, 1
        while name in kept:
            number += 1
            name = f"{one.encoder} ({number})"
        kept[name] = one._replace(encoder=name)
    return list(kept.values())


def _plain(value: Any) -> Any:
    """Something that can be compared and be a key."""
    if isinstance(value, Mapping):
        return tuple(value.items())
    return tuple(value) if isinstance(value, list) else value


def _apart(name: str, alike: Sequence[tuple]) -> list[str]:
    """A name for each of these tasks of one name: with the facts that they differ in, as few as tell them apart."""
    if len(alike) == 1:
        return [name]
    told: list[list[str]] = [[] for _ in alike]
    for place, fact in enumerate(AGREEING):
        if len({key[place] for key in alike}) > 1 and len(set(map(tuple, told))) < len(alike):
            for own, key in zip(told, alike, strict=True):
                own.append(_told(fact, key[place]))
    names = [f"{name} · {', '.join(own)}" if own else name for own in told]
    return [one if names.count(one) == 1 else f"{one} ({names[:at].count(one) + 1})" for at, one in enumerate(names)]


def _told(fact: str, value: Any) -> str:
    if fact == "tags":
        return f"{len(value)} tags"
    if fact == "tracks":
        return " / ".join(f"{count} {split}" for split, count in value)
    if fact == "pool":
        return f"pooled {value}"
    return f"catalog {value}" if fact == "catalog_fingerprint" else str(value)
