"""The verb `robustness`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ssl_music.cli.show import display_names, print_rows, tell_unheard
from ssl_music.errors import UserError

if TYPE_CHECKING:
    from ssl_music.catalogs import Catalog
    from ssl_music.encoders import Encoder
    from ssl_music.vectors import Vectors


def robustness(
    checkpoint: Path,
    catalog: Catalog,
    out: Path,
    *,
    column: str | None = None,
    against: list[Path] | None = None,
    alterations: list[str] | dict[str, list[float] | None] | None = None,
    protocol: Literal["linear", "paper", "mlp", "knn"] = "linear",
    regression: bool = False,
    train: str = "train",
    valid: str = "valid",
    test: str = "test",
    max_tracks: int | None = None,
    seed: int = 0,
    bootstrap: int = 1000,
    drop: list[str] | None = None,
    shared_groups: Literal["refuse", "allow"] = "refuse",
    vectors: list[Path] | None = None,
    batch_size: int = 16,
    device: str = "auto",
) -> None:
    """Measure what an encoder still hears when music is altered: scores and embeddings under rising strengths.

    Tempo, pitch, compression, noise, gain, mp3, ogg, band limit, reverb, offset. A probe is fitted once on the music
    as it is and asked about the altered test tracks. Writes robustness.json, robustness.csv and the vectors to --out;
    run again and it goes on where it was.

    Args:
        checkpoint: the .safetensors file of an encoder or a tagger, or the .onnx file that export made of it.
        catalog: Folder, Table, Synthetic or Pack.
        out: the directory to write.
        column: label column to probe; without one, only the embeddings are compared.
        against: checkpoints of other encoders, to compare with.
        alterations: some of them, '[pitch, noise]', or other strengths, '{noise: [30, 10]}'; all by default.
        protocol: of the probe: linear, paper, mlp or knn.
        regression: the column holds numbers, read with R².
        train: split to fit on.
        valid: split that chooses the strength of the penalty, or when to stop.
        test: split that is altered.
        max_tracks: as many of its tracks; all by default.
        seed: of noise, rooms, the choice of tracks and the bootstrap.
        bootstrap: draws behind the 95 % intervals.
        drop: tags to leave out of the task.
        shared_groups: refuse or allow a test split that shares groups with train or valid.
        vectors: what `ssl-music embed` made of the catalog with some of these encoders, so as not to do it again.
        batch_size: chunks in one forward pass.
        device: auto, cpu, cuda, cuda:1 …
    """
    from ssl_music.export import encoder_in
    from ssl_music.robustness import robustness as run
    from ssl_music.robustness import rows

    paths = [checkpoint, *(against or [])]
    encoders = {name: encoder_in(path) for name, path in zip(display_names(paths), paths, strict=True)}
    record = run(
        encoders,
        catalog,
        column,
        out,
        alterations=alterations,
        protocol=protocol,
        regression=regression,
        train=train,
        valid=valid,
        test=test,
        max_tracks=max_tracks,
        seed=seed,
        bootstrap=bootstrap,
        drop=drop or (),
        shared_groups=shared_groups,
        clean=_by_digest(vectors or [], encoders),
        batch_size=batch_size,
        device=device,
    )
    print("\n".join(_provenance(record.facts)))
    print()
    print_rows(rows(record.facts), "table")
    for id, reason in record.facts["left_out"].items():
        print(f"left out: {id}: {reason}")
    tell_unheard(record.facts["not_heard"])
    print(f"record: {record.path}")


def _by_digest(roots: Sequence[Path], encoders: dict[str, Encoder]) -> dict[str, Vectors]:
    """Each store to the encoder whose weights made it."""
    from ssl_music.vectors import Vectors

    names = {encoder.digest(): name for name, encoder in encoders.items()}
    found = {}
    for root in roots:
        store = Vectors(root)
        if store.header["digest"] not in names:
            told = ", ".join(f"{name} {digest}" for digest, name in names.items())
            raise UserError(f"{root}: of weights {store.header['digest']}, which none of the encoders has ({told})")
        found[names[store.header["digest"]]] = store
    return found


def _provenance(facts: dict[str, Any]) -> list[str]:
    lines = [
        f"split {facts['split_name']}, catalog {facts['catalog_fingerprint']}; {facts['tracks']} tracks of "
        f"{facts['test']}; 95 % intervals over {facts['units']} {facts['unit']}",
        "cosine: to the unaltered track's vector, around the catalog's mean; 1 the same, 0 unrelated",
    ]
    if facts["column"]:
        lines.insert(
            0,
            f"{facts['column']}: {facts['protocol']} probe, fitted to unaltered music; chance {facts['chance']:.3f}",
        )
    return lines
