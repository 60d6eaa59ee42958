"""The whole way, once: pack → pretrain → embed → probe → index → search, into one run folder.

Three encoders are held against each other on the same tracks: the pretrained one, the same network at random
initialisation (same seed, and its norm statistics estimated on the same clips, so that it is no straw man), and
log-mel statistics, which need no learning at all.
"""

import copy
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from ssl_music import checkpoint, index, metrics
from ssl_music import pack as packing
from ssl_music._files import replacing
from ssl_music.bench.baselines import calibrate, log_mel_like
from ssl_music.catalogs import Catalog
from ssl_music.embed import embed
from ssl_music.errors import UserError
from ssl_music.index import Index
from ssl_music.methods import Method
from ssl_music.methods.train import train
from ssl_music.probe import NAMES, ProbeResult, difference_line, probe
from ssl_music.vectors import Vectors

PRETRAINED, RANDOM, LOGMEL = "pretrained", "random initialisation", "log-mel statistics"
NEIGHBOURS = 10  # the k of precision@k
SHOWN_QUERIES, SHOWN_NEIGHBOURS = 3, 5


def run(
    catalog: Catalog,
    method: Method,
    *,
    training: dict[str, Any],
    out: Path,
    columns: Sequence[str] | None = None,
    seed: int = 42,
    recipe: dict[str, Any],
) -> dict[str, Any]:
    """Goes the whole way and returns what it found; the same facts stand in `out/results.json`.

    Each probe is a record in `out/probes`, which `probes` names by column and encoder.
    `training` are the further arguments of `methods.train.train`. Every step resumes: run it again after an
    interruption and it goes on where it was. Columns that cannot be probed are named with the reason.
    """
    out = Path(out)
    seconds: dict[str, float] = {}
    with _step("pack", seconds):
        packed = packing.pack(catalog, out / "pack", sample_rate=method.encoder.sample_rate)
        print(packed.summary())
    untrained = copy.deepcopy(method.encoder)
    with _step("pretrain", seconds):
        weights = train(method, packed, out=out / "train", seed=seed, recipe=recipe, **training)
    with _step("embed", seconds):
        calibrate(untrained, packed, batch_size=training["batch_size"], seed=seed)
        encoders = {PRETRAINED: checkpoint.load_encoder(weights), RANDOM: untrained, LOGMEL: log_mel_like(untrained)}
        vectors = {
            name: embed(packed, encoder, out / "vectors" / name.replace(" ", "-"))
            for name, encoder in encoders.items()
        }
    with _step("probe", seconds):
        probed, unprobed = _probe_columns(vectors, list(catalog.columns) if columns is None else columns, seed)
        records = _save(probed, out)
    with _step("index and search", seconds):
        built = {name: index.build(own, out / "index" / own.root.name) for name, own in vectors.items()}
        scored = (_search_scores(built, column, seed) for column in probed)
        search = next(filter(None, scored), {})
        neighbours = _neighbours(built[PRETRAINED], seed)
    results = {
        "catalog": {
            "tracks": len(packed.tracks),
            "hours": float(packed.samples.sum() / packed.sample_rate / 3600),
            "split_name": packed.split_name,
            "fingerprint": packed.fingerprint(),
            "broken": len(packed.broken),
        },
        "encoder": {"class": type(untrained).__name__, "digest": encoders[PRETRAINED].digest()},
        "probes": records,
        "unprobed": unprobed,
        "search": search,
        "neighbours": neighbours,
        "verdict": _verdict(probed),
        "table": _table(probed, search),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "next": _next_commands(out, weights),
    }
    with replacing(out / "results.json") as temporary:
        temporary.write_text(json.dumps(results, indent=1))
    return results


@contextmanager
def _step(name: str, seconds: dict[str, float]) -> Iterator[None]:
    print(f"── {name}", flush=True)
    begun = time.monotonic()
    yield
    seconds[name] = time.monotonic() - begun


def _probe_columns(
    vectors: dict[str, Vectors], columns: Sequence[str], seed: int
) -> tuple[dict[str, dict[str, ProbeResult]], dict[str, str]]:
    """Column → encoder → result, and column → why there is none."""
    probed: dict[str, dict[str, ProbeResult]] = {}
    unprobed: dict[str, str] = {}
    for column in columns:
        try:
            probed[column] = {name: probe(own, column, seed=seed, name=name) for name, own in vectors.items()}
        except UserError as error:
            unprobed[column] = str(error)
            print(f"{column}: not probed: {error}")
    return probed, unprobed


def _save(probed: dict[str, dict[str, ProbeResult]], out: Path) -> dict[str, dict[str, str]]:
    """Writes every result as a record, and takes away those that an earlier run left of other columns.

    Returns their paths inside `out`, by column and encoder.
    """
    earlier = json.loads((out / "results.json").read_text())["probes"] if (out / "results.json").is_file() else {}
    written = {
        column: {who: f"probes/{quote(column, safe='')}-{who.replace(' ', '-')}.json" for who in results}
        for column, results in probed.items()
    }
    kept = {path for own in written.values() for path in own.values()}
    # version 0.1 held the results themselves there
    for path in {path for own in earlier.values() for path in own.values() if isinstance(path, str)} - kept:
        (out / path).unlink(missing_ok=True)
        (out / path).with_suffix(".npz").unlink(missing_ok=True)
    for column, results in probed.items():
        for who, result in results.items():
            result.save(out / written[column][who])
    return written


def _search_scores(built: dict[str, Index], column: str, seed: int) -> dict[str, Any]:
    """Precision@10 of searching with each test track: how many neighbours share a tag with it, by other artists.

    Tracks of the query's artist and group are left out, so that recognising a recording does not count. Empty where
    all labelled tracks are by one artist.
    """
    scores: dict[str, Any] = {"column": column, "k": NEIGHBOURS}
    for name, found in built.items():
        own = found.vectors
        everyone = np.arange(len(own))
        targets = own.targets(everyone, column)
        indexed = np.zeros(len(own), bool)
        indexed[own.labelled(everyone, column)] = True
        unlabelled = np.flatnonzero(~indexed)
        queries = own.labelled(own.split("test"), column)
        shares, chances, groups = [], [], []
        for query in queries:
            excluded = np.union1d(found.excluded_with(int(query), artist=True, group=True), unlabelled)
            candidates = np.setdiff1d(everyone, excluded)
            if not len(candidates):  # nothing by anybody else: no question to ask
                continue
            hits = found.search(own.pooled[query], NEIGHBOURS, excluded=excluded)
            found_rows = np.array([[hit.row for hit in hits]])
            shares.append(metrics.precision_at_k(targets, np.array([query]), found_rows))
            chances.append(np.mean(targets[candidates] @ targets[query] > 0))
            groups.append(own.rows[query].group)
        if not shares:
            return {}
        drawn = metrics.bootstrap_weights(groups, draws=1000, seed=seed)
        means = drawn @ np.array(shares) / drawn.sum(axis=1)
        scores[name] = list(metrics.percentile_interval(float(np.mean(shares)), means))
        scores["chance"] = float(np.mean(chances))
    return scores


def _neighbours(found: Index, seed: int) -> list[dict[str, Any]]:
    """Three songs of the test split, and the songs found nearest to each by other artists."""
    rows = (
        found.vectors.split("test")
        if "test" in {row.split for row in found.vectors.rows}
        else found.vectors.split("all")
    )
    picked = np.random.default_rng(seed).permutation(rows)[:SHOWN_QUERIES]
    shown = []
    for query in picked:
        facts = found.vectors.rows[query]
        hits = found.search_track(facts.id, SHOWN_NEIGHBOURS, exclude_artist=True, exclude_group=True)
        shown.append({"row": int(query), "id": facts.id, "title": facts.title, "artist": facts.artist,
                      "hits": [hit._asdict() for hit in hits]})  # fmt: skip
    return shown


def _table(probed: dict[str, dict[str, ProbeResult]], search: dict[str, Any]) -> list[list[str]]:
    """Heading, one line an encoder, and chance: the table that the quickstart prints."""
    heading = ["encoder"]
    for column, results in probed.items():
        heading.append(f"{column} ({NAMES[results[PRETRAINED].primary]})")
    if search:
        heading.append(f"search by {search['column']} (precision@{search['k']})")
    lines = [heading]
    for name in (PRETRAINED, RANDOM, LOGMEL):
        cells = [str(results[name].metrics[results[name].primary]) for results in probed.values()]
        lines.append([name, *cells, *([str(metrics.Interval(*search[name]))] if search else [])])
    chances = [f"{results[PRETRAINED].chance[results[PRETRAINED].primary]:.3f}" for results in probed.values()]
    return [*lines, ["chance", *chances, *([f"{search['chance']:.3f}"] if search else [])]]


def _verdict(probed: dict[str, dict[str, ProbeResult]]) -> list[str]:
    """What the numbers say, without kindness: a paired bootstrap over the same tracks."""
    others = RANDOM, LOGMEL
    return [difference_line(results[PRETRAINED], results[name]) for results in probed.values() for name in others]


def _next_commands(out: Path, weights: Path) -> list[str]:
    return [
        f"ssl-music quickstart --catalog.root ~/Music --out {out.parent / 'mine'}",
        f"ssl-music embed --checkpoint {weights} --catalog.root ~/Music --out {out.parent / 'mine-vectors'}",
        f"ssl-music index --vectors {out.parent / 'mine-vectors'}",
        f"ssl-music search SONG.mp3 --index {out.parent / 'mine-vectors' / 'index'} --checkpoint {weights}",
    ]
