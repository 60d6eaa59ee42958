"""The verb `bench pooling`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ssl_music.cli.show import tell_unheard

if TYPE_CHECKING:
    from ssl_music.catalogs import Catalog


def bench_pooling(
    checkpoint: Path,
    catalog: Catalog,
    *,
    column: str | None = None,
    hops_seconds: list[float] | None = None,
    poolings: list[str] | None = None,
    scorer: Literal["probe", "tagger"] = "probe",
    protocol: Literal["linear", "paper", "mlp", "knn"] = "linear",
    train: str = "train",
    valid: str = "valid",
    test: str = "test",
    drop: list[str] | None = None,
    shared_groups: Literal["refuse", "allow"] = "refuse",
    seed: int = 0,
    bootstrap: int = 1000,
    device: str = "auto",
    out: Path = Path("runs/pooling"),
) -> None:
    """Compare ways of making a song's tags of its segments': mean, vote, softmax, max and trained ones, hop by hop.

    Run again and it goes on where it was; more hops or poolings cost only these.

    Args:
        checkpoint: the .safetensors file of an encoder or a tagger, or the .onnx file that export made of it.
        catalog: labelled music: Folder with labels, Table, Synthetic or Pack.
        column: label column; may be left out where there is only one.
        hops_seconds: distances of segments; by default one window, and half of it.
        poolings: of mean, vote, softmax, max, attention, gated, transformer; by default all. Mean is always there.
        scorer: of the segments: probe, fitted on those of train, or tagger, the head of the checkpoint.
        protocol: of that probe.
        train: split that is fitted on.
        valid: split that chooses settings and thresholds of votes, and ends trainings.
        test: split that is scored.
        drop: tags to leave out.
        shared_groups: whether groups on both sides of the test split are an error.
        seed: of the bootstrap and of what is trained.
        bootstrap: draws behind the 95 % intervals.
        device: auto, cpu, cuda …; what is trained on vectors stays on the CPU.
        out: the folder to write: vectors, predictions, pooling.json.
    """
    from ssl_music.bench.pooling import pooling_study
    from ssl_music.export import encoder_in, tagger_in

    study = pooling_study(
        catalog,
        tagger_in(checkpoint) if scorer == "tagger" else encoder_in(checkpoint),
        out,
        column=column,
        hops_seconds=hops_seconds,
        poolings=poolings,
        scorer=scorer,
        protocol=protocol,
        train=train,
        valid=valid,
        test=test,
        drop=drop or (),
        shared_groups=shared_groups,
        seed=seed,
        bootstrap=bootstrap,
        device=device,
    )
    study.save(out / "pooling.json")
    print(study)
    tell_unheard(study.not_heard)
    print(f"record: {out / 'pooling.json'}")
