"""A run folder as a quickstart leaves it, of songs with hostile names; made by the parts that a quickstart uses."""

import json
import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.special import expit

from ssl_music import audio, pack
from ssl_music._ledger import Row
from ssl_music._records import write_record
from ssl_music.catalogs import Catalog, Track
from ssl_music.probe import Origin, Predictions, assembled, probe
from ssl_music.probe.features import TaskKind
from ssl_music.vectors import Vectors, VectorsWriter

RATE, SECONDS = 8000, 20
TRACKS = 36
GENRES = ['</script><img src="x" onerror="alert(1)">', "$\\frac{", "_hidden"]
TITLES = [
    "</script><script>alert(1)</script>",
    'say "hi" & <b>bye</b>',
    "two\nlines",
    "日本語",
    "\udcff.mp3",
    "\u202eright",
]
SPLITS = ["train", "train", "valid", "test"]


class Toy(Catalog):
    """Songs of two tones, the second from the middle on; the names are hostile."""

    columns: ClassVar = {"genre": False, "mood": True}
    split_name = "toy <split>"

    def __init__(self, folder: Path, *, labelled: bool) -> None:
        self.folder, self.labelled_at_all = folder, labelled
        if not labelled:
            self.columns = {}

    @property
    def tracks(self) -> list[Track]:
        return [
            Track(
                id=f"{number:02d}.wav",
                path=self.folder / f"{number:02d}.wav",
                title=TITLES[number % len(TITLES)],
                artist=f"artist <{number // 2}>",
                labels=self._labels(number) if self.labelled_at_all else {},
                split=SPLITS[number // 3 % 4],
            )
            for number in range(TRACKS)
        ]

    @staticmethod
    def _labels(number: int) -> dict[str, tuple[str, ...]]:
        return {
            "genre": (GENRES[number % 3],),
            "mood": [("calm",), ("<i>dark",), ("calm", "<i>dark"), ()][number % 5 % 4],
        }


def tones(number: int) -> tuple[float, float]:
    return 300 + 20 * number, 1500 + 20 * number


def make_run(root: Path, *, labelled: bool = True) -> Path:
    """A run folder as a quickstart leaves it, made by the parts that a quickstart uses."""
    folder = root / "music"
    clock = np.arange(SECONDS * RATE) / RATE
    for number in range(TRACKS):
        early, late = tones(number)
        wave = 0.3 * np.sin(2 * np.pi * np.where(clock < SECONDS / 2, early, late) * clock)
        audio.write(folder / f"{number:02d}.wav", wave, RATE)
    catalog = Toy(folder, labelled=labelled)
    run = root / "run"
    packed = pack.pack(catalog, run / "pack", sample_rate=RATE, workers=1, progress=False)
    vectors = {}
    for name in ("pretrained", "random initialisation"):
        where = run / "vectors" / name.replace(" ", "-")
        vectors[name] = make_vectors(where, catalog, noise=1.0 + len(vectors), digest=f"{len(vectors):02d}")
    for column in catalog.columns:
        for who, own in vectors.items():
            probe(own, column, bootstrap=50, name=who).save(run / "probes" / f"{column}-{who}.json")
    results: dict[str, Any] = {
        "catalog": {
            "tracks": TRACKS,
            "hours": 0.2,
            "split_name": packed.split_name,
            "fingerprint": packed.fingerprint(),
            "broken": 0,
        },
        "encoder": {"class": "Toy", "digest": "00"},
        "probes": {column: {who: f"probes/{column}-{who}.json" for who in vectors} for column in catalog.columns},
        "unprobed": {"artist": "every artist is in one split"} if labelled else {},
        "search": {"column": "genre", "k": 10, "chance": 0.33, "pretrained": [0.8, 0.7, 0.9]} if labelled else {},
        "neighbours": [
            {"row": 0, "id": "00.wav", "hits": [{"id": "05.wav", "similarity": 0.9, "at_seconds": 14.0}]},
            {"row": 2, "id": "02.wav", "hits": []},
        ],
        "verdict": ["genre: pretrained beats log-mel statistics (intervals apart)"] if labelled else [],
        "table": [["encoder", "genre (balanced accuracy)"], ["pretrained", "0.900 [0.800, 1.000]"]],
        "seconds": {"pack": 1.5, "pretrain": 62.0},
        "next": ["ssl-music search '<song>\udcff.mp3'"],
    }
    (run / "results.json").write_text(json.dumps(results))
    (run / "train").mkdir()
    settings = {"method": {"class": "SimCLR"}}
    facts = {
        "settings": settings,
        "weights": "encoder.safetensors",
        "collapsed": ["rank <1>"],
        "versions": {"a": "1"},
    }
    (run / "train" / "run.json").write_text(json.dumps(facts))
    rows = [f"{step},0,{4 - step / 50},{(4 - step / 50) / math.log(95)},0.9,0.1,20," for step in range(0, 100, 2)]
    names = ["loss", "loss_over_trivial", "positive_similarity", "negative_similarity", "effective_rank_embedding"]
    heading = f"step,epoch,{','.join(f'train/{name}' for name in names)},valid/loss"
    (run / "train" / "metrics.csv").write_text("\n".join([heading, *rows, "99,0,,,,,,3.5"]) + "\n")
    return run


def make_vectors(root: Path, catalog: Catalog, *, noise: float, digest: str = "00") -> Vectors:
    header = {
        "digest": digest,
        "encoder": "toy.Encoder",
        "embedding_dim": 8,
        "sample_rate": RATE,
        "input_samples": 2 * RATE,
        "hop_samples": 2 * RATE,
        "split_name": catalog.split_name,
        "catalog_fingerprint": catalog.fingerprint(),
        "columns": dict(catalog.columns),
    }
    generator = np.random.default_rng(0)
    with VectorsWriter(root, header=header) as writer:
        for number, track in enumerate(catalog.tracks):
            own = np.eye(8)[[number % 3]] * 3 + noise * generator.normal(size=(SECONDS // 2, 8))
            writer.append(Row.of(track, seconds=float(SECONDS)), [own.astype(np.float32)])
        return writer.finish()


def make_bench(root: Path, *, tasks: dict[str, tuple[TaskKind, int]], encoders: list[str], tracks: int = 120) -> Path:
    """A bench's folder and records of the other evaluations; each encoder in the list knows less than the one before.

    `tasks` are names with their kind and number of tags.
    """
    generator = np.random.default_rng(0)
    facts: dict[str, Any] = {"encoders": {name: {"digest": name, "class": "Toy"} for name in encoders}, "leaks": []}
    facts["tasks"] = [{"name": name, "catalog": "toy", "column": name, "protocol": "linear"} for name in tasks]
    for name, (kind, count) in tasks.items():
        tags = [
            f"{'tag' if number else 'a tag of a very long name, longer than most'} {number}"
            for number in range(count)
        ]
        share = 0.5 / np.arange(1, count + 1) ** 0.7
        made = {}
        for split in ("valid", "test"):
            targets = (generator.random((tracks, count)) < share).astype(np.float32)
            targets[0], targets[1] = 0, 1
            if kind == "single":
                targets = np.eye(count, dtype=np.float32)[np.arange(tracks) * 7 % count]
            made[split] = targets
        for number, encoder in enumerate(encoders):
            told = {}
            for split, targets in made.items():
                scores = targets + (0.8 + 0.3 * number) * generator.normal(size=targets.shape)
                scores = np.exp(scores) / np.exp(scores).sum(1, keepdims=True) if kind == "single" else expit(scores)
                ids = [f"{split}/{row:03d}.wav" for row in range(tracks)]
                groups = [f"{split} {row // 2}" for row in range(tracks)]
                told[split] = Predictions(name, kind, tags, ids, groups, targets, scores)
            result = assembled(
                [told["test"]], [told["valid"]], name=encoder, protocol="linear", pool="vectors", settings={"l2": 1},
                train_targets=made["valid"], tracks=dict.fromkeys(("train", "valid", "test"), tracks), left_out={},
                shared_groups=[], origin=Origin("toy split", "11", "toy.Encoder", encoder), seed=0, bootstrap=100,
            )  # fmt: skip
            result.save(root / "probes" / name / f"{encoder}.json")
    write_record(root / "bench.json", "bench", facts)
    _write_studies(root, next(iter(tasks)), encoders)
    return root


def _write_studies(root: Path, column: str, encoders: list[str]) -> None:
    source = {"column": column, "metric": "roc_auc", "split_name": "toy split", "catalog_fingerprint": "11"}
    fractions = [0.1, 1.0]
    curves = {
        name: [
            {"fraction": part, "tracks": int(100 * part), "runs": [0.6, 0.7], "value": 0.65, "low": 0.6, "high": 0.7}
            for part in fractions
        ]
        for name in encoders
    }
    labels = {
        "fractions": fractions,
        "seeds": 2,
        "labels": {"0.1": 10, "1": 100},
        "chance": 0.5,
        "protocol": "linear",
    }
    write_record(root / "few" / "fractions.json", "fractions", {**source, **labels, "curves": curves})
    points = [
        {"strength": strength, "unit": "dB", "label": f"{strength:g} dB", "score": [score, score - 0.1, score + 0.1],
         "cosine": [score, score, score]}
        for strength, score in ((0.0, 0.8), (10.0, 0.6))
    ]  # fmt: skip
    altered = {"encoders": {name: {"noise": points} for name in encoders}, "chance": 0.5}
    write_record(root / "altered" / "robustness.json", "robustness", {**source, **altered})
    table = {"mean": [[0.8, 0.7, 0.9], [0.82, 0.7, 0.9]], "max": [[0.7, 0.6, 0.8], [0.6, 0.5, 0.7]]}
    pooled = {"hops_seconds": [1.0, 3.0], "poolings": list(table), "table": table}
    write_record(root / "pooled" / "pooling.json", "pooling", {**source, **pooled})
    song = {"title": "<b>Song", "artist": "Ada", "file": "song.wav", "tags": ["calm", "loud"], "window_seconds": 3.0}
    arrays = {"starts_seconds": np.arange(4) * 3.0, "scores": np.array([[0.9, 0.1]] * 2 + [[0.1, 0.9]] * 2)}
    write_record(root / "songs" / "song.json", "taggram", song, arrays)
