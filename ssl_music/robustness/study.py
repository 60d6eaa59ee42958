"""The study: a probe fitted once on the music as it is, asked of the music as it was altered."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ssl_music._records import Record, read_record, write_record
from ssl_music.catalogs import Catalog, Track
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.probe import Fitted, fit
from ssl_music.robustness.alterations import Alteration, chosen, tried
from ssl_music.robustness.heard import Listening, check_made_before
from ssl_music.robustness.points import Measure
from ssl_music.robustness.tables import write_csv
from ssl_music.vectors import Vectors

#: the record, and the same as a table
RECORD, TABLE = "robustness.json", "robustness.csv"
#: of the tracks that no alteration could be heard of, how many an error names
SHOWN = 3


def robustness(
    encoders: Mapping[str, Encoder],
    catalog: Catalog,
    column: str | None,
    out: Path | str,
    *,
    alterations: Sequence[str] | Mapping[str, Sequence[float] | None] | None = None,
    protocol: str = "linear",
    regression: bool = False,
    train: str = "train",
    valid: str = "valid",
    test: str = "test",
    max_tracks: int | None = None,
    seed: int = 0,
    bootstrap: int = 1000,
    drop: Sequence[str] = (),
    shared_groups: Literal["refuse", "allow"] = "refuse",
    clean: Mapping[str, Vectors] | None = None,
    batch_size: int = 16,
    device: str = "auto",
    progress: bool = True,
) -> Record:
    """How the probe scores and the embeddings of `encoders` change as the tracks of `test` are altered.

    The probe of `column` is fitted once for each encoder, on the vectors of train and valid as they are, and scores
    the altered tracks of test; without a column there are cosines alone. `alterations` names some of `ALTERATIONS`,
    or a family of them, all by default; a mapping says other strengths. `max_tracks` takes as many tracks of test,
    drawn by `seed`. A track that could not be heard under one of the alterations takes no part under any, so that all
    points are of the same tracks; the record names it and says why. Intervals are over groups where the tracks have
    any, over tracks otherwise; those of a change are of the differences, draw by draw.

    Writes `robustness.json` (a record) and `robustness.csv` to `out`, and beside them the vectors, which a run that
    was interrupted goes on with. `clean` gives an encoder's vectors of the catalog where they are there already.

    >>> import tempfile
    >>> from ssl_music.catalogs import Synthetic
    >>> from ssl_music.encoders import LogMelStatistics
    >>> folder = Path(tempfile.mkdtemp())
    >>> music = Synthetic(folder / "music", pieces=50, seconds=3.0)
    >>> levels = {"gain down": [-20]}
    >>> found = robustness({"log-mel": LogMelStatistics()}, music, None, folder, alterations=levels, progress=False)
    >>> [(point["label"], point["cosine"][0] > 0.9) for point in found.facts["encoders"]["log-mel"]["gain down"]]
    [('clean', True), ('-20 dB', False)]
    """
    out, ways, before = Path(out), chosen(alterations), dict(clean or {})
    if not encoders:
        raise UserError("no encoders; give one or more, by the names that tables shall call them")
    if max_tracks is not None and max_tracks < 2:
        raise UserError(f"max_tracks {max_tracks}: two tracks or more are wanted")
    for sample_rate in sorted({encoder.sample_rate for encoder in encoders.values()}):
        tried(ways, sample_rate)
    check_made_before(before, encoders, catalog)
    column = None if column is None else catalog.column(column)
    test_ids = _drawn(_taking_part(catalog, test, column), max_tracks, seed)
    splits = () if column is None else (train, valid)
    ids = [*(track.id for split in splits for track in _taking_part(catalog, split, column)), *test_ids]

    passes = sum(len(its.strengths) for its in ways)
    tracks = sum(len(ids) for name in encoders if name not in before) + len(encoders) * passes * len(test_ids)
    fitted: dict[str, Fitted] = {}
    with Listening(
        encoders,
        catalog,
        out / "vectors",
        seed=seed,
        batch_size=batch_size,
        device=device,
        tracks=tracks,
        progress=progress,
    ) as listening:
        plain = {name: before.get(name) or listening.clean(name, ids) for name in encoders}
        for name in encoders if column is not None else ():  # its errors, before the long part
            fitted[name] = fit(
                plain[name],
                column,
                protocol=protocol,
                regression=regression,
                train=train,
                valid=valid,
                test=test,
                seed=seed,
                drop=drop,
                shared_groups=shared_groups,
            )
        altered = {
            name: {way.name: [listening.altered(name, way, s, test_ids) for s in way.strengths] for way in ways}
            for name in encoders
        }
    stores = [*plain.values(), *(store for its in altered.values() for held in its.values() for store in held)]
    left_out = _left_out(test_ids, stores)
    measures = {
        name: Measure(
            plain[name],
            _scored(test_ids, left_out, plain[name], fitted.get(name)),
            around=ids,
            fitted=fitted.get(name),
            bootstrap=bootstrap,
            seed=seed,
        )
        for name in encoders
    }
    first = next(iter(measures.values()))
    facts: dict[str, Any] = {
        "column": column or "",
        "metric": first.metric,
        "chance": first.chance,
        "protocol": protocol if fitted else "",
        "settings": {name: its.settings for name, its in fitted.items()},
        "test": test,
        "tracks": len(first.ids),
        "unit": first.unit,
        "units": first.units,
        "left_out": left_out,
        "not_heard": _not_heard(ids, left_out, plain.values()),
        "seed": seed,
        "bootstrap": bootstrap,
        "split_name": catalog.split_name,
        "catalog_fingerprint": catalog.fingerprint(),
        "origins": {name: {fact: plain[name].header[fact] for fact in ("encoder", "digest")} for name in encoders},
        "encoders": {
            name: {way.name: _curve(way, altered[name][way.name], measures[name]) for way in ways}
            for name in encoders
        },
    }
    write_csv(out / TABLE, facts)
    write_record(out / RECORD, "robustness", facts)
    return read_record(out / RECORD)


def _curve(way: Alteration, stores: Sequence[Vectors], measure: Measure) -> list[dict[str, Any]]:
    points = [{"strength": 0.0, "unit": way.unit, "label": "clean", **measure.clean_point()}]
    for strength, vectors in zip(way.strengths, stores, strict=True):
        points.append({"strength": strength, "unit": way.unit, "label": way.told(strength), **measure.point(vectors)})
    return points


def _taking_part(catalog: Catalog, split: str, column: str | None) -> list[Track]:
    tracks = catalog.split(split)
    return tracks if column is None else catalog.labelled(tracks, column)


def _drawn(tracks: Sequence[Track], count: int | None, seed: int) -> list[str]:
    """The ids of `count` tracks, which stay the same as others come and go."""
    ids = [track.id for track in tracks]
    if count is None or count >= len(ids):
        return ids
    order = sorted(ids, key=lambda id: hashlib.sha256(f"{seed}\0{id}".encode(errors="surrogatepass")).digest())
    kept = set(order[:count])
    return [id for id in ids if id in kept]


def _left_out(ids: Sequence[str], stores: Sequence[Vectors]) -> dict[str, str]:
    """Tracks that are not in every store with finite vectors, and why."""
    wanted = set(ids)
    found: dict[str, str] = {}
    for vectors in stores:
        for id, reason in vectors.broken:
            if id in wanted:
                found.setdefault(id, reason)
        finite = np.isfinite(vectors.pooled).all(axis=1)
        for row in np.flatnonzero(~finite):
            if vectors.rows[row].id in wanted:
                found.setdefault(vectors.rows[row].id, f"{vectors.root.name}: vectors hold NaN or Inf")
    if len(ids) - len(found) < 2:
        reasons = "; ".join(f"{id}: {reason}" for id, reason in list(found.items())[:SHOWN])
        raise UserError(
            f"{len(ids) - len(found)} of {len(ids)} tracks could be heard under every alteration, two or more are "
            f"wanted ({reasons})"
        )
    return dict(sorted(found.items()))


def _not_heard(ids: Sequence[str], left_out: Mapping[str, str], stores: Iterable[Vectors]) -> dict[str, str]:
    """The other tracks that take no part, those of train and valid: why no vectors could be had of them."""
    wanted = set(ids) - set(left_out)
    return {id: reason for vectors in stores for id, reason in vectors.broken if id in wanted}


def _scored(ids: Sequence[str], left_out: Mapping[str, str], vectors: Vectors, fitted: Fitted | None) -> list[str]:
    """The test tracks that take part: heard everywhere and, where there is a probe, with a tag that it knows."""
    kept = [id for id in ids if id not in left_out]
    if fitted is None:
        return kept
    known = {vectors.rows[row].id for row in fitted.task.parts["test"].rows}
    return [id for id in kept if id in known]
