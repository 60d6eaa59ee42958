"""What each way of learning is worth: same encoder, same music, same number of steps, one after another.

    python benchmarks/methods.py [MUSIC --labels MUSIC/tracks.csv] [--steps 500] [--only NAMES] [--out runs/methods]

MUSIC is a folder with a table of labels: columns of genre, style and instrument to probe (`--columns`), one of
artists to search by. Every method trains the log-mel ShortChunk of recipes/clmr_small.yaml in a process of its own,
by a recipe and the command line as users do, on the train split. Then the same for all: the encoder is frozen, every
track is embedded, a linear probe is fitted for each column (its penalty chosen on the valid split) and scored on the
test split, with a bootstrap over groups; and each test track of a known artist is searched for among all tracks of
known artists, those of its own group left out: how many of the ten nearest are by the same artist.

Clips a second count every clip that goes through the encoder; peak memory is the process's own, without the music it
maps, beyond that of one that only imports the package (Linux). Beside them stand the same network at random
initialisation (its norms calibrated on the same music), and log-mel statistics. Writes benchmarks/results/methods.md;
it goes on where it was interrupted.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from readme import fill_readme

from ssl_music import checkpoint, index, metrics
from ssl_music import pack as packing
from ssl_music._files import replacing
from ssl_music.bench.baselines import calibrate, log_mel_like
from ssl_music.catalogs import Folder, Synthetic
from ssl_music.embed import embed
from ssl_music.encoders import Encoder, ShortChunk
from ssl_music.pack import Pack
from ssl_music.probe import probe
from ssl_music.vectors import Vectors

RESULTS = Path(__file__).parent / "results"
RECIPE = yaml.safe_load((Path(__file__).parent.parent / "recipes" / "clmr_small.yaml").read_text())
ENCODER = RECIPE["method"]["init_args"]["encoder"]
CHAIN = RECIPE["method"]["init_args"]["augment"]
NEIGHBOURS = 10
STEPS = 500


def cases(genre: str) -> dict[str, dict[str, Any]]:
    """Name → method and what else differs from the recipe; Adam 1e-3 for all, as the recipe has it."""
    views = {"augment": CHAIN, "learning_rate": 1e-3}
    tags = {"column": genre, **views}
    return {
        "SimCLR (CLMR)": {"method": ("SimCLR", {**views, "temperature": 0.2})},
        "SimCLR, decoupled": {"method": ("SimCLR", {**views, "temperature": 0.2, "decoupled": True})},
        "MoCo v2": {"method": ("MoCo", {**views, "queue_size": 480, "projection_dim": 64, "momentum": 0.99})},
        "MoCo v3": {"method": ("MoCoV3", {**views, "hidden_dim": 512, "projection_dim": 64})},
        "BYOL": {"method": ("BYOL", {**views, "hidden_dim": 512, "projection_dim": 64, "momentum": 0.99})},
        "VICReg": {"method": ("VICReg", {**views, "expander_dim": 192})},
        "COLA": {"method": ("COLA", {**views, "augment": []})},
        "CPC": {"method": ("CPC", {**views, "augment": []}), "batch_size": 12},
        "PASE": {"method": ("PASE", {**views}), "batch_size": 12},
        "Editorial (artist)": {"method": ("Editorial", {**views, "field": "artist"}), "valid_split": None},
        "Supervised (genre)": {"method": ("Supervised", tags)},
        "NoisyStudent (genre)": {"method": ("NoisyStudent", tags)},  # its teacher too has these steps
        "Consistency (genre)": {"method": ("Consistency", tags)},
        "MetricLearning (genre)": {"method": ("MetricLearning", tags)},
    }


def main() -> None:
    words = argparse.ArgumentParser(description="What each way of learning is worth.")
    words.add_argument("music", type=Path, nargs="?")
    words.add_argument("--labels", type=Path)
    words.add_argument("--columns", help="genre first")
    words.add_argument("--artists", help="a column")
    words.add_argument("--steps", type=int, default=STEPS)
    words.add_argument("--only", default="", help="names as in the table, with ; between them")
    words.add_argument("--out", type=Path, default=Path("runs/methods"))
    chosen = words.parse_args()
    chosen.columns = chosen.columns or ("task_genre,task_style,task_instrument" if chosen.music else "genre,tempo")
    chosen.artists = chosen.artists or ("task_artist" if chosen.music else "artist")
    columns = chosen.columns.split(",")
    if chosen.music:
        catalog = Folder(chosen.music, labels=chosen.labels, columns=[*columns, chosen.artists])
    else:
        catalog = Synthetic(chosen.out / "music", seed=42)
    packed = packing.pack(catalog, chosen.out / "pack", sample_rate=22050)
    wanted = {
        name: case for name, case in cases(columns[0]).items() if not chosen.only or name in chosen.only.split(";")
    }
    empty = peak_bytes([sys.executable, "-c", "import ssl_music.methods.train"])[1]
    rows = {name: measured(encoder, packed, chosen, name) for name, encoder in references(packed).items()}
    for name, case in wanted.items():
        print(f"── {name}", flush=True)
        trained = training(name, case, chosen)
        encoder = checkpoint.load_encoder(trained["weights"])
        rows[name] = {**measured(encoder, packed, chosen, name), **trained, "peak": trained["peak"] - empty}
        print(line(name, rows[name], columns), flush=True)
    write(rows, columns, chosen, packed)


def training(name: str, case: dict[str, Any], chosen: argparse.Namespace) -> dict[str, Any]:
    """Trains by the command line, unless it has been done: weights, clips a second, peak memory."""
    folder = chosen.out / slug(name)
    told = folder / "benchmark.json"
    if told.is_file():
        return json.loads(told.read_text())
    kind, arguments = case["method"]
    recipe = {
        "seed": 42,
        "catalog": {"class_path": "Pack", "init_args": {"root": str(chosen.out / "pack")}},
        "method": {"class_path": kind, "init_args": {"encoder": ENCODER, **arguments}},
        "batch_size": 48,
        "epoch_of": "seconds",
        "trainer": {"max_steps": chosen.steps, "precision": "bf16-mixed", "enable_progress_bar": False},
        **{key: value for key, value in case.items() if key != "method"},
        "out": str(folder / "run"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    words = [sys.executable, "-m", "ssl_music.cli", "pretrain", "--recipe", str(folder / "recipe.yaml")]
    seconds, peak = peak_bytes(words)
    run = json.loads((folder / "run" / "run.json").read_text())
    found = {
        "weights": str(folder / "run" / run["weights"]),
        "seconds": seconds,
        "clips_per_second": run["clips_per_second"],
        "peak": peak,
        "collapsed": run["collapsed"],
    }
    with replacing(told) as temporary:
        temporary.write_text(json.dumps(found))
    return found


def peak_bytes(words: list[str]) -> tuple[float, int]:
    """Runs a program to its end: seconds, and the most memory of its own (no file mapped) that it was seen with."""
    begun, peak = time.monotonic(), 0
    process = subprocess.Popen(words)
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        try:
            own = [line for line in status.read_text().splitlines() if line.startswith("RssAnon")]
            peak = max(peak, *(int(line.split()[1]) * 1024 for line in own), 0)
        except OSError:  # it has just ended
            pass
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}: ended with {process.returncode}")
    return time.monotonic() - begun, peak


def references(packed: Pack) -> dict[str, Encoder]:
    """What needs no learning."""
    torch.manual_seed(42)
    random = ShortChunk(**ENCODER["init_args"])
    calibrate(random, packed, batch_size=48, seed=42)
    return {"random initialisation": random, "log-mel statistics": log_mel_like(random)}


def measured(encoder: Encoder, packed: Pack, chosen: argparse.Namespace, name: str) -> dict[str, Any]:
    """Probe scores of each column, and of the search by artist."""
    vectors = embed(packed, encoder, chosen.out / slug(name) / "vectors", progress=False)
    scores = {}
    for column in chosen.columns.split(","):
        result = probe(vectors, column)
        primary = next(iter(result.metrics))
        scores[column] = list(result.metrics[primary])
    return {**scores, "artist": same_artist(vectors, chosen.artists, chosen.out / slug(name) / "index")}


def same_artist(vectors: Vectors, column: str, folder: Path) -> list[float]:
    """Precision@10 of searching by the same artist outside the query's own group, with its interval over groups."""
    found = index.build(vectors, folder)
    everyone = np.arange(len(vectors))
    targets = vectors.targets(everyone, column)
    known = vectors.labelled(everyone, column)
    unknown = np.setdiff1d(everyone, known)
    shares, groups = [], []
    for query in vectors.labelled(vectors.split("test"), column):
        excluded = np.union1d(found.excluded_with(int(query), artist=False, group=True), unknown)
        hits = found.search(vectors.pooled[query], NEIGHBOURS, excluded=excluded)
        rows = np.array([[hit.row for hit in hits]])
        shares.append(metrics.precision_at_k(targets, np.array([query]), rows))
        groups.append(vectors.rows[query].group)
    drawn = metrics.bootstrap_weights(groups, draws=1000, seed=0)
    means = drawn @ np.array(shares) / drawn.sum(axis=1)
    return list(metrics.percentile_interval(float(np.mean(shares)), means))


def line(name: str, row: dict[str, Any], columns: list[str]) -> str:
    """A row of the table; a number that the method has been told the labels of is marked."""
    cells = []
    for column in [*columns, "artist"]:
        value, low, high = row[column]
        told = (
            "†" if (column == columns[0] and "(genre)" in name) or (column == "artist" and "(artist)" in name) else ""
        )
        cells.append(f"{value:.3f} [{low:.3f}, {high:.3f}]{told}")
    if "seconds" in row:
        cells += [f"{row['clips_per_second']:.0f}", f"{row['peak'] / 2**20:.0f}", f"{row['seconds']:.0f}"]
        cells.append("yes" if row["collapsed"] else "no")
    else:
        cells += ["–"] * 4
    return f"| {name} | {' | '.join(cells)} |"


def slug(name: str) -> str:
    return "-".join("".join(letter if letter.isalnum() else " " for letter in name).split()).lower()


def write(rows: dict[str, dict], columns: list[str], chosen: argparse.Namespace, packed: Pack) -> None:
    heading = ["method", *columns, f"same artist P@{NEIGHBOURS}", "clips/s", "peak MiB", "s", "alarm"]
    seconds = statistics.median(row["seconds"] for row in rows.values() if "seconds" in row)
    lines = [f"| {' | '.join(heading)} |", f"|---|{'---:|' * (len(heading) - 1)}"]
    lines += [line(name, row, columns) for name, row in rows.items()]
    text = f"""# Ways to learn, held against each other

{os.cpu_count()} cores ({platform.machine()}), torch {torch.__version__}, CPU only. {chosen.steps} steps of Adam 1e-3
each (median {seconds:.0f} s with starting and saving), batch 48 (CPC and PASE: 12 long clips), the encoder of
recipes/clmr_small.yaml, seed 42. Music: {len(packed.tracks)} tracks, {packed.split_name}, fingerprint
{packed.fingerprint()}. Linear probes, balanced accuracy on the test split with 95 % bootstrap intervals over groups.
† the method was given these labels (of the training split).

{chr(10).join(lines)}

Written by `benchmarks/methods.py`.
"""
    name = "methods" + ("" if chosen.music else "-builtin") + ("" if chosen.steps == STEPS else f"-{chosen.steps}")
    with replacing(RESULTS / f"{name}.md") as temporary:
        temporary.write_text(text)
    if name == "methods":
        fill_readme("methods", "\n".join(short(rows, columns)))
    print(text)


def short(rows: dict[str, dict], columns: list[str]) -> list[str]:
    """The README's table: values and intervals of the first columns, speed, memory."""
    heading = ["", *(column.removeprefix("task_") for column in columns), "same artist", "clips/s", "MiB"]
    lines = [f"| {' | '.join(heading)} |", f"|---|{'---:|' * (len(heading) - 1)}"]
    for name, row in rows.items():
        cells = line(name, row, columns).strip("| ").split(" | ")
        lines.append(f"| {' | '.join(cells[: len(heading)])} |")
    return lines


if __name__ == "__main__":
    main()
