"""How the scores of a song's segments become the song's: every pooling at every distance of segments.

The published comparison, of three poolings over 3 s segments, found the mean best. Here it can be repeated on any
catalog; the poolings that are trained stand beside, each score has an interval, and each pooling's difference to the
mean one of its own, by a paired bootstrap over the same tracks.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from ssl_music import metrics
from ssl_music._records import write_record
from ssl_music.bench.segments import Hop
from ssl_music.catalogs import Catalog
from ssl_music.embed import embed
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError, unknown_name
from ssl_music.metrics import Interval
from ssl_music.probe import NAMES, PROTOCOLS, Predictions
from ssl_music.probe.draws import Drawn, difference, drawn_units, interval
from ssl_music.probe.scoring import drawn
from ssl_music.probe.tables import aligned
from ssl_music.tagger import Tagger
from ssl_music.taggram import POOLINGS, learned
from ssl_music.vectors import Vectors

#: everything a study can compare; all are held against the first
ALL = (*POOLINGS, *learned.KINDS)
#: of a column, the one that it is about first
METRICS = {"single": ("balanced_accuracy", "pr_auc", "roc_auc"), "multi": ("pr_auc", "roc_auc")}
#: what others found, told below every table
PUBLISHED = "published, 3 s segments, PR-AUC of genres: mean .448, vote .41, softmax .311"
#: metric → pooling → one interval a hop
Tables = dict[str, dict[str, list[Interval]]]


@dataclass(frozen=True)
class PoolingStudy:
    """The scores of every pooling at every hop, and their differences to the mean of the same segments."""

    column: str
    task: str  #: "single" or "multi"
    metric: str  #: the first of `tables`
    scorer: str  #: who scores segments: the protocol of a probe, or "tagger"
    window_seconds: float
    hops_seconds: list[float]
    poolings: list[str]
    tables: Tables
    differences: Tables  #: without the mean's own
    segments: list[int]  #: of the songs of test, at each hop
    tags: list[str]
    tracks: int  #: of test
    unit: str
    units: int
    not_heard: dict[str, str]  #: tracks that no vectors could be had of, and why
    split: str
    seed: int
    bootstrap: int
    split_name: str
    catalog_fingerprint: str
    encoder: str
    digest: str

    def save(self, path: Path | str) -> None:
        """A record of kind "pooling"; its `table` is that of `metric`."""
        write_record(path, "pooling", {**asdict(self), "table": self.tables[self.metric]})

    def __str__(self) -> str:
        hops = [f"hop {hop:.3g} s" for hop in self.hops_seconds]
        lines = [
            f"{self.column}: segments of {self.window_seconds:.3g} s, scored by "
            + ("the tagger's own head" if self.scorer == "tagger" else f"a probe ({self.scorer})")
            + f" on {self.encoder} {self.digest}",
            f"split {self.split_name}, catalog {self.catalog_fingerprint}; {self.tracks} tracks of {self.split!r} of "
            f"{' / '.join(f'{count:,}' for count in self.segments)} segments; 95 % intervals over {self.units} "
            f"{self.unit}",
        ]
        for metric, table in self.tables.items():
            rows = [[NAMES[metric], *(cell for hop in hops for cell in (hop, "less the mean"))]]
            for pooling, intervals in table.items():
                less = self.differences[metric].get(pooling, [])
                cells = [(str(one), f"{less[number]:+}" if less else "") for number, one in enumerate(intervals)]
                rows.append([pooling, *(cell for pair in cells for cell in pair)])
            lines += ["", *aligned(rows, together=2)]
        return "\n".join([*lines, "", PUBLISHED])


def pooling_study(
    catalog: Catalog,
    model: Encoder | Tagger,
    out: Path | str,
    *,
    column: str | None = None,
    hops_seconds: Sequence[float] | None = None,
    poolings: Sequence[str] | None = None,
    scorer: Literal["probe", "tagger"] = "probe",
    protocol: str = "linear",
    train: str = "train",
    valid: str = "valid",
    test: str = "test",
    drop: Sequence[str] = (),
    shared_groups: Literal["refuse", "allow"] = "refuse",
    seed: int = 0,
    bootstrap: int = 1000,
    batch_size: int = 16,
    device: str = "auto",
    progress: bool = True,
) -> PoolingStudy:
    """Compares poolings × hops on a labelled column, and leaves the vectors and predictions of each in `out`.

    By default segments lie end to end and half a window apart, and all of `ALL` are compared. Only the labelled
    tracks of the three splits are heard. A run that was interrupted goes on where it was, and another one with more
    hops or poolings makes only these.

    Raises UserError for names that are not known, for `scorer="tagger"` of an encoder or of a tagger that does not
    know the column's tags, and where `probe` would.
    """
    poolings = list(ALL if poolings is None else dict.fromkeys(["mean", *poolings]))
    for name in poolings:
        if name not in ALL:
            raise unknown_name("pooling", name, list(ALL))
    if protocol not in PROTOCOLS:
        raise unknown_name("protocol", protocol, list(PROTOCOLS))
    tagger = _own(model) if scorer == "tagger" else None
    encoder = model.encoder if isinstance(model, Tagger) else model
    column = catalog.column(column)
    window_seconds = encoder.input_samples / encoder.sample_rate
    hops = list(dict.fromkeys([window_seconds, window_seconds / 2] if hops_seconds is None else hops_seconds))
    if not hops:
        raise UserError("no hop to compare; give --hops_seconds such as '[3, 1.5]', or leave it out")
    splits = {"train": train, "valid": valid, "test": test}
    heard = {track.id for split in splits.values() for track in catalog.labelled(catalog.split(split), column)}
    # a store of other tracks, for another column, is another store
    mark = hashlib.sha256("\0".join(sorted(heard)).encode(errors="surrogatepass")).hexdigest()[:8]
    found: list[dict[str, Predictions]] = []
    stores: list[Vectors] = []
    for hop in hops:
        stores.append(
            embed(
                catalog,
                encoder,
                Path(out) / "vectors" / f"hop_{hop:.6g}s_{mark}",
                hop_seconds=hop,
                batch_size=batch_size,
                device=device,
                progress=progress,
                only=heard,
            )
        )
        one = Hop(
            stores[-1],
            column,
            Path(out) / "predictions",
            tagger=tagger,
            protocol=protocol,
            splits=splits,
            drop=drop,
            shared_groups=shared_groups,
            seed=seed,
        )
        bar = tqdm(poolings, desc=f"pool, hop {hop:.3g} s", unit="pooling", disable=None if progress else True)
        found.append({pooling: one.predictions(pooling) for pooling in bar})
    first = found[0]["mean"]
    unit, units = drawn_units(first.groups)
    tables, differences = _compared(found, bootstrap=bootstrap, seed=seed)
    header = stores[0].header
    return PoolingStudy(
        column=column,
        task=first.kind,
        metric=METRICS[first.kind][0],
        scorer=scorer if scorer == "tagger" else protocol,
        window_seconds=window_seconds,
        hops_seconds=[float(hop) for hop in hops],
        poolings=poolings,
        tables=tables,
        differences=differences,
        segments=[_segments(store, first.ids) for store in stores],
        tags=first.tags,
        tracks=len(first.ids),
        unit=unit,
        units=units,
        not_heard=dict(stores[0].broken),
        split=test,
        seed=seed,
        bootstrap=bootstrap,
        **{name: header[name] for name in ("split_name", "catalog_fingerprint", "encoder", "digest")},
    )


def _own(model: Encoder | Tagger) -> Tagger:
    if not isinstance(model, Tagger):
        raise UserError(
            "scorer tagger: the checkpoint holds an encoder without a head, or is an .onnx file, whose head cannot "
            "be asked alone; give the .safetensors of a tagger, or take the scorer probe"
        )
    return model


def _compared(found: Sequence[dict[str, Predictions]], *, bootstrap: int, seed: int) -> tuple[Tables, Tables]:
    """Intervals of every pooling and of its difference to the mean, from the same draws of tracks."""
    first = found[0]["mean"]
    weights = metrics.bootstrap_weights(first.groups, draws=bootstrap, seed=seed)
    tables: Tables = {}
    differences: Tables = {}
    for metric in METRICS[first.kind]:
        at: list[dict[str, Drawn]] = [
            {pooling: drawn(one.matched(first.tags, first.ids), metric, weights) for pooling, one in by.items()}
            for by in found
        ]
        tables[metric] = {pooling: [interval(metric, by[pooling]) for by in at] for pooling in found[0]}
        differences[metric] = {
            pooling: [difference(by[pooling], by["mean"]) for by in at] for pooling in found[0] if pooling != "mean"
        }
    return tables, differences


def _segments(store: Vectors, ids: Sequence[str]) -> int:
    scored = set(ids)
    return int(np.sum([row.count for row in store.rows if row.id in scored]))
