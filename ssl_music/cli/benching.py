"""The verb `bench probe`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ssl_music.cli.show import TOLD, tell_unheard
from ssl_music.errors import UserError

if TYPE_CHECKING:
    from ssl_music.bench.tasks import Task
    from ssl_music.bench.training import Training
    from ssl_music.catalogs import Catalog


def bench_probe(
    encoders: dict[str, str],
    *,
    catalog: Catalog | None = None,
    columns: list[str] | None = None,
    protocol: Literal["linear", "paper", "mlp", "knn", "finetune"] = "linear",
    catalogs: dict[str, Catalog] | None = None,
    tasks: list[Task] | None = None,
    pretrained_on: Catalog | None = None,
    pretrained_split: str = "train",
    leaks: Literal["report", "exclude"] = "report",
    reference: str | None = None,
    training: Training | None = None,
    seed: int = 0,
    bootstrap: int = 1000,
    batch_size: int = 16,
    device: str = "auto",
    out: Path = Path("runs/bench"),
) -> None:
    """Compare encoders on tasks: every one embeds every catalog once, every task is probed, ranks and differences.

    One catalog with --columns, or catalogs and tasks in a recipe (recipes/zoo_bench.yaml). Run again and it goes on
    where it was; other weights or settings cost only what depends on them.

    Args:
        encoders: names and files, '{clmr: clmr/encoder.safetensors, random: random:clmr/encoder.safetensors, mfcc:
            mfcc}'; random:FILE is its network with fresh weights, logmel and mfcc are statistics without weights.
        catalog: labelled music: Folder with labels, Table, Synthetic or Pack.
        columns: its label columns, each a task; all of them by default.
        protocol: of these tasks: linear, paper, mlp, knn, or finetune.
        catalogs: several catalogs by name, in place of catalog.
        tasks: what is asked, each with the name of its catalog, in place of columns.
        pretrained_on: what the encoders have heard; test tracks that are in it too are told.
        pretrained_split: the split of it that they have heard; all is every track.
        leaks: report these tracks, or exclude them from the scores.
        reference: the encoder that the others are held against; the first by default.
        training: how long and how fast finetune trains.
        seed: of fresh weights, bootstrap and probes.
        bootstrap: draws behind the 95 % intervals.
        batch_size: chunks in one forward pass.
        device: auto, cpu, cuda …
        out: the folder to write: vectors, probes, bench.json.
    """
    from ssl_music.bench.grid import results_of, zoo
    from ssl_music.bench.standings import told
    from ssl_music.bench.tasks import Task

    if catalog is not None and (catalogs or tasks):
        raise UserError("catalog goes with columns, catalogs go with tasks; give the one or the other")
    if columns is not None and tasks:
        raise UserError("columns and tasks: each task names its column already; leave columns out")
    if catalog is not None:
        wanted = columns or list(catalog.columns)
        catalogs, tasks = {"music": catalog}, [Task(column, protocol=protocol) for column in wanted]
    record = zoo(
        encoders,
        catalogs or {},
        tasks or [],
        out,
        pretrained_on=pretrained_on,
        pretrained_split=pretrained_split,
        leaks=leaks,
        reference=reference,
        training=training,
        seed=seed,
        bootstrap=bootstrap,
        batch_size=batch_size,
        device=device,
    )
    print(told(results_of(record), record.facts))
    met = record.facts["leaks"]
    found = f"{len(met)} test tracks were met in pretraining, {record.facts['leaks_are']}" if met else "no leak found"
    print(f"\nleaks: {'not looked for' if pretrained_on is None else found}")
    for row in met[:TOLD]:
        print(f"  {row['catalog']}: {row['track']!r} of {row['split']!r}, {row['how']} as {row['met_in']!r}")
    if len(met) > TOLD:
        print(f"  {len(met) - TOLD} more in the record")
    for name, unheard in record.facts["not_heard"].items():
        tell_unheard(unheard if len(catalogs or ()) == 1 else {f"{name}: {id}": why for id, why in unheard.items()})
    print(f"record: {out / 'bench.json'}")
