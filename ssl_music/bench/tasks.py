"""The tasks of a bench: a column of a catalog and a protocol, checked on the labels before anything is embedded."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ssl_music.bench.labelled import Labels
from ssl_music.catalogs import Catalog
from ssl_music.errors import UserError, unknown_name
from ssl_music.probe import PROTOCOLS, ProbeResult, assembled
from ssl_music.probe.checks import constant
from ssl_music.probe.fitted import SEEDED
from ssl_music.probe.task import Task as ProbeTask
from ssl_music.probe.task import build_task

FINETUNE = "finetune"


@dataclass(frozen=True)
class Task:
    """One thing that is asked of every encoder.

    Args:
        column: label column of the catalog; several for regression.
        catalog: the name of a catalog; may be left out where there is one.
        name: of the task, in tables and as a folder; the column by default, catalog-column for several catalogs.
        protocol: linear, paper, mlp or knn on frozen vectors, or finetune, which trains the whole encoder.
        pool: vectors (the mean vector of each track) or scores (each chunk, and the mean of their scores).
        regression: the column holds numbers.
        train: split to fit on.
        valid: split that chooses.
        test: split that is scored.
        seeds: runs, of protocols that are trained by gradient steps.
        drop: tags to leave out.
        shared_groups: refuse or allow a test split that shares groups with train or valid.
    """

    column: str | list[str]
    catalog: str = ""
    name: str = ""
    protocol: str = "linear"
    pool: str = "vectors"
    regression: bool = False
    train: str = "train"
    valid: str = "valid"
    test: str = "test"
    seeds: int = 1
    drop: list[str] = field(default_factory=list)
    shared_groups: str = "refuse"

    @property
    def splits(self) -> dict[str, str]:
        """Which split plays which role."""
        return {"train": self.train, "valid": self.valid, "test": self.test}


def settled(tasks: Sequence[Task], catalogs: Mapping[str, Catalog]) -> list[Task]:
    """The tasks with their names and catalogs filled in; UserError where two have one name or a name says nothing.

    >>> from ssl_music.catalogs import Synthetic
    >>> [task.name for task in settled([Task("genre"), Task("tempo", protocol="knn")], {"m": Synthetic("m")})]
    ['genre', 'tempo']
    """
    if not catalogs:
        raise UserError("no catalogs; give one with --catalog.root, or several by name in a recipe")
    if not tasks:
        raise UserError("no tasks; give label columns, such as --columns '[genre, mood]'")
    found = []
    for task in tasks:
        if not task.catalog and len(catalogs) > 1:
            raise UserError(f"task {task.column!r}: which catalog? There are: {', '.join(catalogs)}")
        catalog = task.catalog or next(iter(catalogs))
        if catalog not in catalogs:
            raise unknown_name(f"catalog of the task {task.name or task.column!r}:", catalog, list(catalogs))
        column = task.column if isinstance(task.column, str) else "+".join(task.column)
        name = task.name or (f"{catalog}-{column}" if len(catalogs) > 1 else column)
        found.append(replace(task, name=name, catalog=catalog))
    names = [task.name for task in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two tasks are called {name!r}; give each a name of its own: name: …")
    return found


def check_names(kind: str, names: Collection[str]) -> None:
    """Names are folders too: letters, digits, spaces and - _ . + alone, and not the same but for capitals."""
    for name in names:
        if not re.fullmatch(r"[\w+\- .]*\w[\w+\- .]*", name) or name != name.strip():
            raise UserError(f"{kind} {name!r}: the name is a folder's too; take letters, digits, - _ . + and spaces")
    lower = [name.lower() for name in names]
    for name in names:
        if lower.count(name.lower()) > 1:
            raise UserError(
                f"{kind} {name!r}: another differs in capitals alone, and some disks cannot tell them apart"
            )


def check_tasks(tasks: Sequence[Task], catalogs: Mapping[str, Catalog]) -> dict[str, ProbeTask]:
    """Every task as the probes will find it: all that is wrong with its labels and splits is an error here."""
    found = {}
    for task in tasks:
        protocols = [*PROTOCOLS, FINETUNE]
        if task.protocol not in protocols:
            raise unknown_name(f"protocol of the task {task.name!r}:", task.protocol, protocols)
        if task.protocol == FINETUNE and task.regression:
            raise UserError(f"task {task.name!r}: finetune learns tags; take linear for numbers")
        if task.seeds < 1 or (task.seeds > 1 and task.protocol not in (*SEEDED, FINETUNE)):
            seeded = ", ".join((*SEEDED, FINETUNE))
            raise UserError(
                f"task {task.name!r}: seeds {task.seeds} with the protocol {task.protocol}, which gives the same for "
                f"every seed; take 1, or one of {seeded}"
            )
        labels = Labels(f"task {task.name!r}", catalogs[task.catalog])
        found[task.name] = build_task(
            labels,
            task.column,
            splits=task.splits,
            drop=task.drop,
            pool=task.pool,
            regression=task.regression,
            shared_groups=task.shared_groups,
        )
    return found


def without(result: ProbeResult, ids: Collection[str], checked: ProbeTask) -> ProbeResult:
    """The result on the other tracks of the test split: what is fitted never depended on these."""
    kept = [id for id in result.test[0].ids if id not in ids]
    if len(kept) == len(result.test[0].ids):
        return result
    test = [run.matched(result.tags, kept) for run in result.test]
    if not kept or len(constant(test[0].targets, result.tags)) == len(result.tags):
        raise _nothing_left(result.column, len(kept), len(result.test[0].ids))
    split = list(result.tracks)[-1]
    places = [checked.tags.index(tag) for tag in result.tags]
    return assembled(
        test,
        result.valid,
        name=result.name,
        protocol=result.protocol,
        pool=result.pool,
        settings=result.settings,
        train_targets=checked.parts["train"].targets[:, places],
        tracks={**result.tracks, split: len(kept)},
        left_out={**result.left_out, split: constant(test[0].targets, result.tags)},
        shared_groups=result.shared_groups,
        origin=result.origin,
        seed=result.seed,
        bootstrap=result.bootstrap,
        target_precision=result.target_precision,
    )


def check_left(task: Task, checked: ProbeTask, catalog: Catalog, excluded: Collection[str]) -> None:
    """UserError where nothing can be scored in the test split without the `excluded` tracks."""
    rows, targets = checked.parts["test"].rows, checked.parts["test"].targets
    kept = np.array([catalog.tracks[row].id not in excluded for row in rows], bool)
    if not kept.any() or len(constant(targets[kept], checked.tags)) == len(checked.tags):
        raise _nothing_left(task.name, int(kept.sum()), len(rows))


def _nothing_left(task: str, kept: int, count: int) -> UserError:
    return UserError(
        f"task {task!r}: {kept} of {count} test tracks were not met in pretraining, and nothing can be scored on "
        "them; take another test split, or leaks report"
    )
