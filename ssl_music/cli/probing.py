"""The verbs that score what an encoder or a tagger knows of labels: `probe`, `score`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ssl_music._files import made_folder, slug
from ssl_music.cli.show import display_names, tell_unheard
from ssl_music.errors import UserError

if TYPE_CHECKING:
    from ssl_music.bench.training import Training
    from ssl_music.catalogs import Catalog
    from ssl_music.probe import ProbeResult
    from ssl_music.vectors import Vectors


def probe(
    vectors: Path | None = None,
    *,
    column: str | list[str] | None = None,
    protocol: Literal["linear", "paper", "mlp", "knn", "finetune"] = "linear",
    pool: Literal["vectors", "scores"] = "vectors",
    regression: bool = False,
    train: str = "train",
    valid: str = "valid",
    test: str = "test",
    seed: int = 0,
    seeds: int | None = None,
    bootstrap: int = 1000,
    drop: list[str] | None = None,
    shared_groups: Literal["refuse", "allow"] = "refuse",
    target_precision: float | None = None,
    against: list[Path] | None = None,
    fractions: str | list[float] | None = None,
    checkpoint: Path | None = None,
    catalog: Catalog | None = None,
    baselines: list[Literal["random", "logmel", "mfcc"]] | None = None,
    scratch: bool = False,
    training: Training | None = None,
    out: Path | None = None,
) -> None:
    """Measure what an encoder knows of labels: a small classifier on its vectors, or the whole of it trained on.

    Args:
        vectors: what `ssl-music embed` wrote; or give a checkpoint and a catalog.
        column: label column; may be left out where there is only one. Several, for regression: '[arousal, valence]'.
        protocol: linear (logistic regression, penalty chosen on valid), paper (CLMR's: Adam 1e-3 on a linear layer,
            stopped early), mlp (one hidden layer of 512), knn (a vote of the nearest), finetune (the whole encoder).
        pool: vectors (the mean vector of each track) or scores (each chunk, and the mean of their scores).
        regression: the column holds numbers, read with R².
        train: split to fit on.
        valid: split that chooses the strength of the penalty, or when to stop.
        test: split that is reported.
        seed: of the bootstrap, of the first run and of the first draw of labels.
        seeds: runs, of protocols that are trained by gradient steps; draws of labels, 5 by default, with fractions.
        bootstrap: draws behind the 95 % intervals.
        drop: tags to leave out of the task.
        shared_groups: refuse or allow a test split that shares groups with train or valid.
        target_precision: choose the thresholds of tags for this precision on valid, in place of the highest F1.
        against: vectors of other encoders, to compare with on the same tracks.
        fractions: shares of the training labels, such as 0.01,0.1,1: how the score falls where labels are few.
        checkpoint: an encoder to embed the catalog with, to fine-tune, or to make baselines of.
        catalog: the music, where something has to be embedded or trained.
        baselines: also probe the network of the checkpoint at random initialisation, log-mel or MFCC statistics.
        scratch: with fractions, also train the network of the checkpoint from scratch on the same labels.
        training: how long and how fast finetune and scratch train.
        out: also write there what a report is made from; needed where something is embedded or trained.
    """
    from ssl_music.probe import compare, table

    splits = {"train": train, "valid": valid, "test": test}
    asked: dict[str, Any] = {**splits, "seed": seed, "drop": drop or (), "shared_groups": shared_groups}
    if training is not None and not (scratch or protocol == "finetune"):
        raise UserError("training: nothing is trained here; it belongs to --protocol finetune and to --scratch")
    if target_precision is not None and (protocol == "finetune" or fractions):
        raise UserError("--target_precision goes with a probe of vectors, not with finetune or fractions")
    stores: dict[str, Vectors] = {}
    source = _Source(checkpoint, catalog, None if out is None else made_folder(out))
    if protocol == "finetune":
        if vectors is not None or against or fractions or baselines:
            raise UserError(
                "--protocol finetune trains the encoder in --checkpoint on the music of --catalog: vectors, against, "
                "baselines and fractions do not go with it (fractions with --scratch compare with training)"
            )
        if isinstance(column, list) or regression:
            raise UserError("--protocol finetune learns the tags of one column; --regression goes with the others")
        if pool != "vectors":
            raise UserError(f"--pool {pool}: finetune always averages the scores of a track's chunks; leave it out")
        from ssl_music.bench.finetune import finetune
        from ssl_music.export import encoder_in

        weights, music, folder = source.whole("--protocol finetune")
        asked |= {
            "bootstrap": bootstrap,
            "seeds": 1 if seeds is None else seeds,
            "training": training,
            "name": display_names([weights])[0],
        }
        results = [finetune(encoder_in(weights), music, column, out=folder / "finetune", **asked)]
    else:
        asked |= {"protocol": protocol, "pool": pool, "regression": regression}
        stores = _stores(vectors, against or [], source, baselines or [], seed=seed)
        if fractions is not None:
            asked |= {"fractions": _shares(fractions), **({} if seeds is None else {"seeds": seeds})}
            _fractions(stores, column, source, asked, training=training, scratch=scratch)
            _tell_unheard(stores)
            return
        if scratch:
            raise UserError("--scratch goes with --fractions; by itself it is pretrain --recipe supervised_tagging")
        from ssl_music.probe import probe as run

        asked |= {"seeds": seeds or 1, "bootstrap": bootstrap, "target_precision": target_precision}
        results = [run(store, column, name=name, **asked) for name, store in stores.items()]
    print(table(results[0]))
    if len(results) > 1:
        print("\n" + compare(results))
    _tell_unheard(stores)
    if out is not None:
        for result in results:
            result.save(out / "probes" / slug(result.column) / f"{_record_name(result)}.json")


def _record_name(result: ProbeResult) -> str:
    """The encoder, and the protocol where it is not the usual one: another protocol leaves a record of its own."""
    protocol = [] if result.protocol == "linear" else [result.protocol]
    pool = [result.pool] if result.pool == "scores" and result.protocol != "finetune" else []
    return "-".join([slug(result.name), *protocol, *pool])


class _Source(NamedTuple):
    """An encoder, the music that it hears, and where what is made of them is kept."""

    checkpoint: Path | None
    catalog: Catalog | None
    out: Path | None

    def whole(self, asking: str) -> tuple[Path, Catalog, Path]:
        """All three, or an error that says what `asking` lacks."""
        if self.checkpoint is None or self.catalog is None or self.out is None:
            missing = [f"--{name}" for name, value in self._asdict().items() if value is None]
            raise UserError(f"{asking} wants --checkpoint, --catalog and --out; missing: {', '.join(missing)}")
        return self.checkpoint, self.catalog, self.out


def _stores(
    vectors: Path | None, against: list[Path], source: _Source, baselines: Sequence[str], *, seed: int
) -> dict[str, Vectors]:
    """Every store that is probed, by the name that tables call it."""
    from ssl_music.vectors import Vectors

    roots = [*([] if vectors is None else [vectors]), *against]
    stores = {name: Vectors(root) for name, root in zip(display_names(roots), roots, strict=True)}
    if vectors is None or baselines:
        weights, music, folder = source.whole("--baselines" if baselines else "a probe without --vectors")
        from ssl_music.bench.baselines import baseline_stores
        from ssl_music.embed import embed
        from ssl_music.export import encoder_in

        encoder = encoder_in(weights)
        if vectors is None:
            (name,) = display_names([weights])
            stores = {name: embed(music, encoder, folder / "vectors" / slug(name)), **stores}
        stores |= baseline_stores(encoder, music, folder / "vectors", names=baselines, seed=seed)
    return stores


def _tell_unheard(stores: dict[str, Vectors]) -> None:
    tell_unheard({id: reason for store in stores.values() for id, reason in store.broken})


def _shares(fractions: str | list[float]) -> list[float]:
    """Numbers as they came in a recipe, or between commas."""
    try:
        return [float(one) for one in (fractions.split(",") if isinstance(fractions, str) else fractions)]
    except ValueError as error:
        raise UserError(f"fractions {fractions!r}: shares of the labels are wanted, such as 0.01,0.1,1") from error


def _fractions(
    stores: dict[str, Vectors],
    column: str | list[str] | None,
    source: _Source,
    asked: dict[str, Any],
    *,
    training: Training | None,
    scratch: bool,
) -> None:
    from ssl_music.bench.curves import Trained
    from ssl_music.bench.fractions import efficiency_table, label_efficiency
    from ssl_music.bench.training import Training
    from ssl_music.export import encoder_in

    if source.out is None:
        raise UserError("--fractions wants --out, where the scores are kept: run again, it goes on there")
    trained = []
    if scratch:
        weights, music, _ = source.whole("--scratch")
        title, how = "supervised from scratch", training or Training()
        trained.append(Trained(title, encoder_in(weights), music, from_scratch=True, training=how))
    print(efficiency_table(label_efficiency(stores, column, out=source.out, trained=trained, **asked)))


def score(
    predictions: Path,
    catalog: Catalog,
    *,
    column: str | None = None,
    valid: str | None = "valid",
    test: str = "test",
    drop: list[str] | None = None,
    target_precision: float | None = None,
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
        target_precision: choose the thresholds of tags for this precision on valid, in place of the highest F1.
        seed: of the bootstrap.
        bootstrap: draws behind the 95 % intervals.
        out: also write the result there: NAME.json, and the predictions beside it in NAME.npz.
    """
    from ssl_music._records import check_name
    from ssl_music.probe import read_table, score_table, table

    if out is not None:
        check_name(out)
        made_folder(out.parent)
    result = score_table(
        read_table(predictions),
        catalog,
        column,
        valid=valid,
        test=test,
        drop=drop or (),
        target_precision=target_precision,
        bootstrap=bootstrap,
        seed=seed,
    )
    print(table(result))
    if out is not None:
        result.save(out)
