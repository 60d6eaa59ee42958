"""The zoo bench: encoders × tasks, each embedded and probed once, whatever interrupts it.

As the grids that representations of music are compared with: MARBLE (Yuan et al., NeurIPS 2023, arXiv 2306.10548) and
HEAR (Turian et al. 2022, arXiv 2203.03022), where every encoder is frozen, embeds every data set, and a small
classifier reads the labels. Here intervals stand beside the numbers, and paired ones between encoders.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ssl_music._files import made_folder
from ssl_music._records import Record, read_record, write_record
from ssl_music.bench.asked import asked_for, forget, note, only
from ssl_music.bench.contestants import Contestant, contestants
from ssl_music.bench.finetune import finetune
from ssl_music.bench.leaks import Leak, leak_rows
from ssl_music.bench.leaks import leaks as find_leaks
from ssl_music.bench.standings import standings
from ssl_music.bench.tasks import FINETUNE, Task, check_left, check_names, check_tasks, settled, without
from ssl_music.bench.training import Training
from ssl_music.catalogs import Catalog
from ssl_music.embed import embed
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError, unknown_name
from ssl_music.probe import ProbeResult, probe
from ssl_music.probe.checks import told_before
from ssl_music.probe.task import Task as ProbeTask
from ssl_music.vectors import Vectors

#: what becomes of test tracks that were met in pretraining
LEAKS = ("report", "exclude")


def zoo(
    encoders: Mapping[str, str | Path | Encoder],
    catalogs: Mapping[str, Catalog],
    tasks: Sequence[Task],
    out: Path | str,
    *,
    pretrained_on: Catalog | None = None,
    pretrained_split: str = "train",
    leaks: str = "report",
    reference: str | None = None,
    training: Training | None = None,
    seed: int = 0,
    bootstrap: int = 1000,
    batch_size: int = 16,
    device: str = "auto",
    progress: bool = True,
) -> Record:
    """Every encoder on every task; returns the record of kind "bench" that it writes to `out`/bench.json.

    `encoders` are files, `random:FILE`, `logmel`, `mfcc` or encoders by name (`contestants`). What cannot be read,
    does not fit a pack's rate, or has labels that no probe can score, is an error before the work begins. Each
    encoder embeds each catalog once, into `out`/vectors/CATALOG/ENCODER; each task leaves the record of its probe in
    `out`/probes/TASK/ENCODER.json. What is there already and was made with the same weights, labels and settings is
    not made again, so an interrupted bench goes on; what was made with others is replaced.

    `pretrained_on` is what the encoders have heard: test tracks met there are reported, or with `leaks="exclude"`
    scored for none of the encoders. `reference` is the encoder that the others are held against, by default the
    first. `training` is that of the protocol finetune. Seeds are those of fresh weights, bootstrap and probes.
    """
    bench = _Bench(Path(out), dict(catalogs), settled(tasks, catalogs), training or Training(), seed, bootstrap,
                   batch_size, device, progress)  # fmt: skip
    check_names("encoder", encoders)
    check_names("catalog", catalogs)
    check_names("task", [task.name for task in bench.tasks])
    if reference is not None and reference not in encoders:
        raise unknown_name("encoder as reference:", reference, list(encoders))
    if leaks not in LEAKS:
        raise unknown_name("leaks", leaks, list(LEAKS))
    if leaks == "exclude" and pretrained_on is None:
        raise UserError("leaks exclude: wanted pretrained_on too, the catalog that the encoders were pretrained on")
    zooed = contestants(encoders, list(catalogs.values()), seed=seed)
    _check_trainable(zooed, bench.tasks)
    checked = bench.checked
    met = {} if pretrained_on is None else bench.met(pretrained_on, pretrained_split)
    excluded = {name: {leak.track for leak in some} for name, some in met.items()} if leaks == "exclude" else {}
    for task in bench.tasks:
        check_left(task, checked[task.name], catalogs[task.catalog], excluded.get(task.catalog, set()))

    made_folder(bench.out)
    results: dict[str, dict[str, ProbeResult]] = {task.name: {} for task in bench.tasks}
    total = len(zooed) * len(bench.tasks)
    with tqdm(total=total, unit="probe", desc="bench", disable=None if progress else True) as bar:
        for one in zooed:
            for name in catalogs:
                for task, result in bench.probed(one, name, excluded.get(name, set())):
                    results[task.name][one.name] = result
                    bar.update()
    facts = {
        "encoders": {one.name: bench.encoder_facts(one, results) for one in zooed},
        "tasks": [_task_facts(task, next(iter(results[task.name].values()))) for task in bench.tasks],
        **standings(results, reference=reference or zooed[0].name),
        "leaks": leak_rows(met),
        "leaks_are": "excluded" if excluded else "reported" if pretrained_on is not None else "not looked for",
        "not_heard": {name: bench.not_heard(name, zooed[0]) for name in catalogs},
        "pretrained_on": None if pretrained_on is None else [pretrained_on.fingerprint(), pretrained_split],
        "seed": seed,
        "bootstrap": bootstrap,
    }
    write_record(bench.out / "bench.json", "bench", facts)
    return read_record(bench.out / "bench.json")


def results_of(record: Record) -> dict[str, dict[str, ProbeResult]]:
    """The probes of a bench, by task and encoder, from the records beside its own."""
    folder = record.path.parent / "probes"
    return {
        task["name"]: {
            name: ProbeResult.load(folder / task["name"] / f"{name}.json") for name in record.facts["encoders"]
        }
        for task in record.facts["tasks"]
    }


@dataclass(frozen=True)
class _Bench:
    """The folder of a bench, and what all its probes have in common."""

    out: Path
    catalogs: dict[str, Catalog]
    tasks: list[Task]
    training: Training
    seed: int
    bootstrap: int
    batch_size: int
    device: str
    progress: bool

    @cached_property
    def checked(self) -> dict[str, ProbeTask]:
        return check_tasks(self.tasks, self.catalogs)

    def met(self, pretrained_on: Catalog, split: str) -> dict[str, list[Leak]]:
        """The leaks into each catalog."""
        found = {}
        for name, catalog in self.catalogs.items():
            tested = list(dict.fromkeys(task.test for task in self.tasks if task.catalog == name))
            cache = self.out / "fingerprints"
            found[name] = find_leaks(
                pretrained_on, catalog, cache, pretrained_split=split, tested_splits=tested, progress=self.progress
            )
        return found

    def probed(self, one: Contestant, catalog: str, excluded: set[str]) -> Iterator[tuple[Task, ProbeResult]]:
        """The results of one encoder on the tasks of one catalog; what is there already is read."""
        made = None
        for task in [task for task in self.tasks if task.catalog == catalog]:
            path = self.out / "probes" / task.name / f"{one.name}.json"
            asked = self._asked(one, task, excluded)
            if not (path.is_file() and asked_for(path) == asked):
                made = made or one.make(self.catalogs[catalog])
                forget(path)
                with told_before():  # when the tasks were checked
                    result = self._result(one, made, task)
                without(result, excluded, self.checked[task.name]).save(path)
                note(path, asked)
            yield task, ProbeResult.load(path)

    def _result(self, one: Contestant, encoder: Encoder, task: Task) -> ProbeResult:
        same: dict[str, Any] = {
            "train": task.train,
            "valid": task.valid,
            "test": task.test,
            "seed": self.seed,
            "seeds": task.seeds,
            "bootstrap": self.bootstrap,
            "drop": task.drop,
            "shared_groups": task.shared_groups,
            "name": one.name,
        }
        if task.protocol == FINETUNE:
            folder = self.out / "finetuned" / task.name / one.name
            asked = self._asked(one, task, set())
            # what is scored, and how many runs, does not make another training
            learnt = {key: value for key, value in asked["task"].items() if key not in ("seeds", "pool")}
            only(folder, {**{key: asked[key] for key in ("encoder", "catalog", "training", "seed")}, "task": learnt})
            return finetune(
                encoder,
                self.catalogs[task.catalog],
                str(task.column),
                out=folder,
                training=self.training,
                device=self.device,
                progress=self.progress,
                **same,
            )
        protocol: dict[str, Any] = {"regression": task.regression, "protocol": task.protocol, "pool": task.pool}
        return probe(self._vectors(one, encoder, task.catalog), task.column, **protocol, **same)

    def _vectors(self, one: Contestant, encoder: Encoder, catalog: str) -> Vectors:
        folder = self.vectors_of(one, catalog)
        only(folder, {"digest": encoder.digest(), "class": encoder.facts()["class_path"],
                       "catalog": self.catalogs[catalog].fingerprint()})  # fmt: skip
        return embed(
            self.catalogs[catalog],
            encoder,
            folder,
            batch_size=self.batch_size,
            device=self.device,
            progress=self.progress,
        )

    def vectors_of(self, one: Contestant, catalog: str) -> Path:
        return self.out / "vectors" / catalog / one.name

    def not_heard(self, catalog: str, one: Contestant) -> dict[str, str]:
        """The tracks that no vectors could be had of, and why: that lies in their files, for every encoder alike."""
        folder = self.vectors_of(one, catalog)
        return dict(Vectors(folder).broken) if folder.is_dir() else {}

    def _asked(self, one: Contestant, task: Task, excluded: set[str]) -> dict[str, Any]:
        """All that a result depends on."""
        catalog = self.catalogs[task.catalog]
        return {
            "version": version("ssl-music"),
            "encoder": one.identity(catalog, self.seed),
            "class": one.class_path,
            "catalog": catalog.fingerprint(),
            "task": asdict(task),
            "training": asdict(self.training) if task.protocol == FINETUNE else None,
            "seed": self.seed,
            "bootstrap": self.bootstrap,
            "excluded": sorted(excluded),
        }

    def encoder_facts(self, one: Contestant, results: Mapping[str, Mapping[str, ProbeResult]]) -> dict[str, Any]:
        """What the record says of an encoder."""
        stores = {name: self.vectors_of(one, name) for name in self.catalogs}
        return {
            "digest": next(iter(results.values()))[one.name].origin.digest,
            "class": one.class_path,
            "weights": one.weights,
            "run": one.run,
            "fresh": one.fresh,
            "vectors": {name: str(path.relative_to(self.out)) for name, path in stores.items() if path.is_dir()},
        }


def _task_facts(task: Task, result: ProbeResult) -> dict[str, Any]:
    return {**asdict(task), "metric": result.primary, "chance": result.chance[result.primary], "kind": result.kind}


def _check_trainable(zooed: Sequence[Contestant], tasks: Sequence[Task]) -> None:
    tuned = [task.name for task in tasks if task.protocol == FINETUNE]
    for one in zooed:
        if tuned and not one.trainable:
            raise UserError(
                f"encoder {one.name!r}: {one.weights} cannot be trained, and the task {tuned[0]!r} fine-tunes; give "
                "the .safetensors file, or bench this task without it"
            )
