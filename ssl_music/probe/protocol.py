"""A probe from end to end: a store of vectors and a column in, a result out.

Nothing of the test split is seen before the scores are computed.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ssl_music.errors import UserError
from ssl_music.probe.chance import chance
from ssl_music.probe.draws import drawn_units
from ssl_music.probe.fitted import PROTOCOLS, SEEDED, Fitted, fit
from ssl_music.probe.predictions import Predictions
from ssl_music.probe.result import Origin, ProbeResult
from ssl_music.probe.scoring import scores
from ssl_music.vectors import Vectors


def probe(
    vectors: Vectors,
    column: str | Sequence[str] | None = None,
    *,
    protocol: str = "linear",
    pool: str = "vectors",
    regression: bool = False,
    train: str = "train",
    valid: str = "valid",
    test: str = "test",
    seed: int = 0,
    seeds: int = 1,
    bootstrap: int = 1000,
    drop: Sequence[str] = (),
    shared_groups: Literal["refuse", "allow"] = "refuse",
    target_precision: float | None = None,
    name: str | None = None,
) -> ProbeResult:
    """How well the tags of a column are read from stored vectors by a small classifier that sees nothing else.

    Only tracks that have a tag in the column take part. A tag that occurs in valid or test and not in train is an
    error; `drop` leaves tags out of the task. A tag that test lacks is named in the result and not scored. With
    `regression` the column, or each of several, holds numbers, which are read with R². Intervals are over groups
    where the tracks carry any (clips of one composition are not independent), over tracks otherwise; `shared_groups`
    says whether groups on both sides of the test split are an error. `seeds` runs, from `seed` on, make a Student-t
    interval too; only what is trained by gradient steps differs between them. Of several tags a track, who has one
    is decided from the threshold on that has the highest F1 on valid, or the precision `target_precision` there.
    `name` is what tables call the encoder.

    >>> import tempfile
    >>> from itertools import product
    >>> from ssl_music._ledger import Row
    >>> from ssl_music.vectors import VectorsWriter
    >>> header = dict(digest="00", encoder="a.B", embedding_dim=2, sample_rate=9, input_samples=9, hop_samples=9,
    ...     split_name="by hand", catalog_fingerprint="11", columns={"mood": False})
    >>> with VectorsWriter(tempfile.mkdtemp(), header=header) as writer:
    ...     for number, (split, mood) in enumerate(product(("train", "valid", "test"), ("calm", "dark") * 5)):
    ...         row = Row(f"{number}", labels={"mood": (mood,)}, split=split, seconds=1.0)
    ...         _ = writer.append(row, [np.array([[mood == "calm", number % 3]], np.float32)])
    ...     result = probe(writer.finish(), "mood")
    >>> result.metrics["balanced_accuracy"].value, result.tracks
    (1.0, {'train': 10, 'valid': 10, 'test': 10})
    """
    if seeds < 1:
        raise UserError(f"seeds {seeds}: one run or more is wanted")
    if seeds > 1 and protocol in PROTOCOLS and protocol not in SEEDED:
        raise UserError(
            f"seeds {seeds}: the protocol {protocol} gives the same for every seed; take one of "
            f"{', '.join(SEEDED)}, or fractions of the labels, which are drawn by seed"
        )
    fitted = [
        fit(
            vectors,
            column,
            protocol=protocol,
            pool=pool,
            regression=regression,
            train=train,
            valid=valid,
            test=test,
            seed=seed + run,
            drop=drop,
            shared_groups=shared_groups,
        )
        for run in range(seeds)
    ]
    return result_of(
        fitted,
        vectors,
        splits=(train, valid, test),
        name=name or vectors.root.name,
        seed=seed,
        bootstrap=bootstrap,
        target_precision=target_precision,
    )


def result_of(
    fitted: Sequence[Fitted],
    vectors: Vectors,
    *,
    splits: tuple[str, str, str],
    name: str,
    seed: int,
    bootstrap: int,
    target_precision: float | None,
) -> ProbeResult:
    """The result of what was fitted, one a run, on the tracks of test that have labels."""
    task = fitted[0].task
    test = [one.predictions(vectors, task.parts["test"].rows) for one in fitted]
    settings = {key: float(np.mean([one.settings[key] for one in fitted])) for key in fitted[0].settings}
    return assembled(
        test,
        [one.valid for one in fitted],
        name=name,
        protocol=fitted[0].protocol,
        pool=fitted[0].pool,
        settings=settings,
        train_targets=task.parts["train"].targets,
        tracks={split: len(part.rows) for split, part in zip(splits, task.parts.values(), strict=True)},
        left_out=task.left_out,
        shared_groups=task.shared_groups,
        origin=Origin.of(vectors.header),
        seed=seed,
        bootstrap=bootstrap,
        target_precision=target_precision,
    )


def assembled(
    test: Sequence[Predictions],
    valid: Sequence[Predictions],
    *,
    name: str,
    protocol: str,
    pool: str,
    settings: dict[str, float],
    train_targets: np.ndarray | None,
    tracks: dict[str, int],
    left_out: dict[str, list[str]],
    shared_groups: list[str],
    origin: Origin,
    seed: int,
    bootstrap: int,
    target_precision: float | None = None,
) -> ProbeResult:
    """The result of predictions for the test split, one a run, wherever they come from.

    `valid` are those for the validation split, for thresholds of several tags; it may be empty. `train_targets`
    (N, K) says which tag is the most frequent one there, for the chance level of accuracy. The last of `tracks` is
    the split that is scored; `left_out` names for it the tags without a score.
    """
    first = test[0]
    # another run may have its rows in another order: by name, never by position
    test = [first, *(one.matched(first.tags, first.ids) for one in test[1:])]
    valid = [one.matched(first.tags, one.ids) for one in valid]
    split = list(tracks)[-1]
    found = scores(
        test,
        valid,
        left_out=left_out.get(split, []),
        bootstrap=bootstrap,
        seed=seed,
        target_precision=target_precision,
    )
    unit, units = drawn_units(first.groups)
    return ProbeResult(
        name=name,
        column=first.column,
        kind=first.kind,
        protocol=protocol,
        pool=pool,
        settings=settings,
        tags=first.tags,
        metrics=found.metrics,
        chance=chance(first.kind, first.targets, train_targets),
        further=found.further,
        per_tag=found.per_tag,
        runs=found.runs,
        over_runs=found.over_runs,
        tracks=tracks,
        unit=unit,
        units=units,
        left_out=left_out,
        shared_groups=shared_groups,
        seed=seed,
        bootstrap=bootstrap,
        target_precision=target_precision,
        origin=origin,
        test=list(test),
        valid=list(valid),
    )
