"""Label efficiency: what an encoder's vectors are worth where few tracks have labels.

For every fraction and every seed a stratified subset of the train split is drawn (`subsets`), the same for all
encoders, and a probe is fitted to it. The valid split stays whole and only chooses; it is not fitted on, at fraction
1 neither, or it would add labels that the fraction does not count. (Choosing by so many labels flatters all small
fractions, and all encoders alike.) The test split is whole too. The interval behind a number is Student's over the
draws of labels: how much other labels, as few, would have changed it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from ssl_music import metrics
from ssl_music._records import write_record
from ssl_music.bench.curves import Curve, Kept, Learnt, Probed, Trained
from ssl_music.bench.subsets import check_fractions, nested_subsets
from ssl_music.errors import UserError
from ssl_music.probe import NAMES
from ssl_music.probe.chance import chance
from ssl_music.probe.scoring import primary
from ssl_music.probe.tables import aligned
from ssl_music.probe.task import Task, build_task
from ssl_music.vectors import Vectors

FRACTIONS = (0.01, 0.02, 0.05, 0.1, 1.0)


def label_efficiency(
    stores: Mapping[str, Vectors],
    column: str | Sequence[str] | None = None,
    *,
    out: Path | str,
    fractions: Sequence[float] = FRACTIONS,
    seeds: int = 5,
    protocol: str = "linear",
    pool: str = "vectors",
    regression: bool = False,
    train: str = "train",
    valid: str = "valid",
    test: str = "test",
    seed: int = 0,
    drop: Sequence[str] = (),
    shared_groups: Literal["refuse", "allow"] = "refuse",
    trained: Sequence[Trained] = (),
    progress: bool = True,
) -> dict[str, Any]:
    """Scores of every store, by its name, at every fraction of the labels; `seeds` draws of labels from `seed` on.

    All stores must hold the same tracks with the same labels. Returns the facts of the record `out`/fractions.json;
    which tracks were drawn stands beside it, `drawn` (F, S, N) over `ids` (N,). Every score is kept as soon as it is
    there (`out`/points.json): run again, it goes on. Where all draws must give the same (fraction 1, of a protocol
    without randomness) there is one run, and no interval: low and high are None.

    >>> import tempfile
    >>> from ssl_music._ledger import Row
    >>> from ssl_music.vectors import VectorsWriter
    >>> header = dict(digest="00", encoder="a.B", embedding_dim=2, sample_rate=9, input_samples=9, hop_samples=9,
    ...     split_name="by hand", catalog_fingerprint="11", columns={"mood": False})
    >>> folder = Path(tempfile.mkdtemp())
    >>> with VectorsWriter(folder / "vectors", header=header) as writer:
    ...     for number in range(60):
    ...         split, mood = ("train", "valid", "test")[number % 3], ("calm", "dark")[number % 2]
    ...         row = Row(f"{number}", labels={"mood": (mood,)}, split=split, seconds=1.0)
    ...         _ = writer.append(row, [np.array([[mood == "calm", number % 5]], np.float32)])
    ...     vectors = writer.finish()
    >>> facts = label_efficiency(
    ...     {"mine": vectors}, "mood", out=folder / "few", fractions=[0.1, 1], seeds=2, progress=False
    ... )
    >>> facts["labels"], [point["tracks"] for point in facts["curves"]["mine"]]
    ({'0.1': 2, '1': 20}, [2, 20])
    """
    check_fractions(fractions)
    fractions = sorted(float(fraction) for fraction in fractions)
    names = [*stores, *(one.name for one in trained)]
    if not stores or seeds < 1 or len(set(names)) < len(names):
        raise UserError(
            f"curves {', '.join(names) or 'none'}, seeds {seeds}: wanted one store of vectors or more, each curve "
            "with a name of its own, and one seed or more"
        )
    if regression and trained:
        raise UserError(f"{trained[0].name}: networks learn tags here, not numbers; leave them out")
    splits = {"train": train, "valid": valid, "test": test}
    asked = {"pool": pool, "regression": regression, "drop": tuple(drop), "shared_groups": shared_groups}
    tasks = {
        name: build_task(vectors, column, splits=splits, **asked)  # type: ignore[arg-type]
        for name, vectors in stores.items()
    }
    _check_same(stores, tasks)
    vectors, task = next(iter(stores.values())), next(iter(tasks.values()))
    rows = [vectors.rows[row] for row in task.parts["train"].rows]
    ids, groups = [row.id for row in rows], [row.group for row in rows]
    numbers = task.kind == "numbers"
    drawn = np.array(  # (S, F, N)
        [
            nested_subsets(
                np.empty((len(ids), 0)) if numbers else task.parts["train"].targets,
                ids,
                groups,
                tags=[] if numbers else task.tags,
                fractions=fractions,
                seed=seed + draw,
                where=f"{vectors.root}: column {task.column!r}",
            )
            for draw in range(seeds)
        ]
    )
    out = Path(out)
    curves: list[Curve] = [
        Probed(name, store, column, protocol, {**splits, **asked}) for name, store in stores.items()
    ]
    labels = {**splits, "drop": tuple(drop), "shared_groups": shared_groups}
    test_ids = frozenset(vectors.rows[row].id for row in task.parts["test"].rows)
    curves += [Learnt(one.name, one, task.column, test_ids, labels, out / "trained", progress) for one in trained]
    kept = Kept(out / "points.json")
    places = [(curve, number, draw) for curve in curves for number in range(len(fractions)) for draw in range(seeds)]
    reached: dict[tuple[str, int], dict[str, float]] = {}
    for curve, number, draw in tqdm(places, desc="fractions", disable=None if progress else True):
        chosen = frozenset(ids[row] for row in np.flatnonzero(drawn[draw, number]))
        value = kept.score(curve, chosen, seed + draw)
        # draws that cannot but give the same are one run
        reached.setdefault((curve.name, number), {})[curve.key(chosen, seed + draw)] = value
    found = {
        curve.name: [
            _point(fraction, drawn[:, number], list(reached[curve.name, number].values()))
            for number, fraction in enumerate(fractions)
        ]
        for curve in curves
    }
    facts = {
        "column": task.column,
        "task": task.kind,
        "metric": primary(task.kind),
        "protocol": protocol,
        "pool": pool,
        "refit": False,
        "split_name": vectors.header["split_name"],
        "catalog_fingerprint": vectors.header["catalog_fingerprint"],
        "chance": chance(task.kind, task.parts["test"].targets)[primary(task.kind)],
        "tags": task.tags,
        "fractions": fractions,
        "seeds": seeds,
        "seed": seed,
        "drawn": "groups" if any(groups) else "tracks",
        "tracks": {split: len(task.parts[role].rows) for role, split in splits.items()},
        "labels": {f"{fraction:g}": _mean_count(drawn[:, number]) for number, fraction in enumerate(fractions)},
        "curves": found,
    }
    write_record(
        out / "fractions.json", "fractions", facts, {"ids": np.array(ids), "drawn": drawn.transpose(1, 0, 2)}
    )
    return facts


def efficiency_table(facts: Mapping[str, Any]) -> str:
    """The facts of a record as text: a line a curve, a column a fraction; value and interval over draws."""
    one = facts["drawn"].removesuffix("s")
    lines = [
        f"{facts['column']}: {NAMES[facts['metric']]} over the share of labels; protocol {facts['protocol']}, chosen "
        "on valid, fitted on the fraction alone",
        f"split {facts['split_name']}, catalog {facts['catalog_fingerprint']}; tracks: "
        + " / ".join(f"{count} {split}" for split, count in facts["tracks"].items())
        + f"; {facts['seeds']} draws of labels, {one} by {one}, 95 % Student-t intervals over them",
        "",
    ]
    rows = [
        ["labels", *(f"{100 * fraction:g} % ({facts['labels'][f'{fraction:g}']})" for fraction in facts["fractions"])]
    ]
    for name, curve in facts["curves"].items():
        rows.append([name, *(_cell(point) for point in curve)])
    rows.append(["chance", *(f"{facts['chance']:.3f}" for _ in facts["fractions"])])
    return "\n".join([*lines, *aligned(rows)])


def _check_same(stores: Mapping[str, Vectors], tasks: Mapping[str, Task]) -> None:
    """Every store has the same tracks with the same labels and groups in every split."""

    def content(name: str) -> dict[str, dict[str, tuple]]:
        vectors, task = stores[name], tasks[name]
        return {
            role: {
                vectors.rows[row].id: (vectors.rows[row].group, *targets)
                for row, targets in zip(part.rows, part.targets.tolist(), strict=True)
            }
            for role, part in task.parts.items()
        }

    first, *others = stores
    ours = content(first)
    for other in others:
        theirs = content(other)
        for role in ours:
            differing = sorted(
                one for one in ours[role] | theirs[role] if ours[role].get(one) != theirs[role].get(one)
            )
            if tasks[first].tags != tasks[other].tags or differing:
                shown = (
                    f"{len(differing)} tracks of {role} differ, the first is {differing[0]!r}"
                    if differing
                    else "tags"
                )
                raise UserError(
                    f"{other} and {first} are not of the same music with the same labels ({shown}): "
                    f"{stores[other].root} and {stores[first].root}; embed the same catalog with both encoders"
                )


def _point(fraction: float, drawn: np.ndarray, runs: list[float]) -> dict[str, Any]:
    """One place of a curve. Shape: drawn (S, N)."""
    value, low, high = metrics.student_t_interval(runs) if len(runs) > 1 else (runs[0], None, None)
    return {
        "fraction": fraction, "tracks": _mean_count(drawn), "runs": runs, "value": value, "low": low, "high": high,
    }  # fmt: skip


def _mean_count(drawn: np.ndarray) -> int:
    """How many tracks were drawn, on average over the draws: with several tags a track they may differ by a few."""
    return round(float(drawn.sum(axis=1).mean()))


def _cell(point: Mapping[str, Any]) -> str:
    interval = "" if point["low"] is None else f" [{point['low']:.3f}, {point['high']:.3f}]"
    return f"{point['value']:.3f}{interval}"
