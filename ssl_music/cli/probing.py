"""The verbs that score what an encoder or a tagger knows of labels: `probe`, `score`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ssl_music.catalogs import Catalog


def probe(
    vectors: Path,
    *,
    column: str | list[str] | None = None,
    protocol: Literal["linear", "paper", "mlp", "knn"] = "linear",
    pool: Literal["vectors", "scores"] = "vectors",
    regression: bool = False,
    train: str = "train",
    valid: str = "valid",
    test: str = "test",
    seed: int = 0,
    seeds: int = 1,
    bootstrap: int = 1000,
    drop: list[str] | None = None,
    shared_groups: Literal["refuse", "allow"] = "refuse",
    against: list[Path] | None = None,
    out: Path | None = None,
) -> None:
    """Measure what is readable from vectors: train a small classifier on a frozen encoder's embeddings.

    Args:
        vectors: what `ssl-music embed` wrote.
        column: label column; may be left out where there is only one. Several, for regression: '[arousal, valence]'.
        protocol: linear (logistic regression, penalty chosen on valid), paper (CLMR's: Adam 1e-3 on a linear layer,
            stopped early), mlp (one hidden layer of 512) or knn (a vote of the nearest).
        pool: vectors (the mean vector of each track) or scores (each chunk, and the mean of their scores).
        regression: the column holds numbers, read with R².
        train: split to fit on.
        valid: split that chooses the strength of the penalty, or when to stop.
        test: split that is reported.
        seed: of the bootstrap, and of the first run.
        seeds: runs, of protocols that are trained by gradient steps.
        bootstrap: draws behind the 95 % intervals.
        drop: tags to leave out of the task.
        shared_groups: refuse or allow a test split that shares groups with train or valid.
        against: vectors of other encoders, to compare with on the same tracks.
        out: also write the result there: NAME.json, and the predictions beside it in NAME.npz.
    """
    from ssl_music.probe import compare, table
    from ssl_music.probe import probe as run
    from ssl_music.vectors import Vectors

    results = [
        run(
            Vectors(root),
            column,
            protocol=protocol,
            pool=pool,
            regression=regression,
            train=train,
            valid=valid,
            test=test,
            seed=seed,
            seeds=seeds,
            bootstrap=bootstrap,
            drop=drop or (),
            shared_groups=shared_groups,
            name=str(root),
        )
        for root in [vectors, *(against or [])]
    ]
    print(table(results[0]))
    if against:
        print("\n" + compare(results))
    if out is not None:
        results[0].save(out)


def score(
    predictions: Path,
    catalog: Catalog,
    *,
    column: str | None = None,
    valid: str | None = "valid",
    test: str = "test",
    drop: list[str] | None = None,
    seed: int = 0,
    bootstrap: int = 1000,
    out: Path | None = None,
) -> None:
    """Score predictions that you have against the labels of a catalog: metrics with intervals, tag by tag.

    Args:
        predictions: a CSV, one line a track and one column a tag, as `ssl-music tag --format csv` writes; tracks and
            tags are matched by name.
        catalog: what has the labels: Table, Folder with labels, Pack.
        column: label column; may be left out where there is only one.
        valid: split on which the thresholds of tags are chosen, where its tracks are in the table.
        test: split that is scored.
        drop: tags to leave out of the task.
        seed: of the bootstrap.
        bootstrap: draws behind the 95 % intervals.
        out: also write the result there: NAME.json, and the predictions beside it in NAME.npz.
    """
    from ssl_music.probe import read_table, score_table, table

    result = score_table(
        read_table(predictions),
        catalog,
        column,
        valid=valid,
        test=test,
        drop=drop or (),
        bootstrap=bootstrap,
        seed=seed,
    )
    print(table(result))
    if out is not None:
        result.save(out)
