"""What loading, augmenting and Lightning cost beside the training step itself.

    python benchmarks/training.py        writes benchmarks/results/training.md

The step alone: both views of a batch that lies in memory, augmented beforehand → encoder → NT-Xent → backward →
Adam, in a bare loop. The pipeline: `methods.train.train` as users run it, crops from a pack of half-minute tracks,
the chain of recipes/clmr.yaml drawn anew for every view, metrics, collapse watch, progress. Both are timed in turns,
so that a busy machine hurts both alike; medians over all steps of all rounds. The pipeline must keep 90 %.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pytorch_lightning import Callback
from pytorch_lightning import __version__ as lightning_version

from ssl_music import audio, checkpoint, pack
from ssl_music._files import replacing
from ssl_music.augment import Delay, Gain, HighLowPass, Noise, PolarityInversion, Reverb
from ssl_music.catalogs import Catalog, Track
from ssl_music.clips import ClipLoader, Clips
from ssl_music.encoders import Encoder, SampleCNN, ShortChunk
from ssl_music.methods import SimCLR
from ssl_music.methods.train import train

SECONDS, TRACKS, MUST_KEEP = 30, 64, 0.9
RESULTS = Path(__file__).parent / "results" / "training.md"


class Case(NamedTuple):
    """One training: what it trains, and how many steps a turn of it takes."""

    name: str
    encoder: Callable[[], Encoder]
    batch_size: int
    precision: str
    steps: int


CASES = [
    Case("SampleCNN as published, float32", SampleCNN, 16, "32-true", 2),
    Case("SampleCNN as published, bf16 autocast", SampleCNN, 16, "bf16-mixed", 4),
    Case("ShortChunk(width=16), float32", lambda: ShortChunk(width=16), 48, "32-true", 12),
]


class Listed(Catalog):
    """Tracks that are given."""

    columns, split_name = {}, "none"

    def __init__(self, tracks: list[Track]) -> None:
        self._tracks = tracks

    @property
    def tracks(self) -> list[Track]:
        return self._tracks


class Clock(Callback):
    """Seconds between the ends of batches, without the first: it waits for the loader to begin."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: object) -> None:
        self.ends.append(time.perf_counter())

    def seconds(self) -> list[float]:
        return np.diff(self.ends).tolist()


def noise_pack(folder: Path, rate: int) -> pack.Pack:
    """Half-minute tracks of noise: how long a crop takes does not hang on what is heard."""
    generator, tracks = np.random.default_rng(0), []
    for number in range(TRACKS):
        path = folder / f"{rate}-{number:03d}.wav"
        audio.write(path, generator.uniform(-0.5, 0.5, SECONDS * rate).astype(np.float32), rate)
        tracks.append(Track(path.name, path, split="train"))
    return pack.pack(Listed(tracks), folder / f"pack-{rate}", sample_rate=rate, progress=False)


def clmr(encoder: Encoder) -> SimCLR:
    """As in recipes/clmr.yaml."""
    chain = [
        PolarityInversion(p=0.8),
        Noise(p=0.01, low_snr_db=40.0, high_snr_db=80.0),
        Gain(p=0.3),
        HighLowPass(p=0.8),
        Delay(p=0.3),
        Reverb(p=0.6),
    ]
    return SimCLR(encoder, chain)


def steps_alone(method: SimCLR, clips: Clips, case: Case) -> list[float]:
    """Seconds of each step on a batch in memory, of which the first is left out."""
    bare = SimCLR(method.encoder)
    optimizer = bare.configure_optimizers()
    ends = []
    for _ in range(case.steps + 1):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=case.precision == "bf16-mixed"):
            loss = bare.losses(clips)["loss"]
        loss.backward()
        optimizer.step()
        ends.append(time.perf_counter())
    return np.diff(ends).tolist()


def steps_of_pipeline(method: SimCLR, packed: pack.Pack, case: Case, out: Path) -> list[float]:
    """Seconds of each step of a whole training, of which the first is left out."""
    clock = Clock()
    options = {
        "accelerator": "cpu",
        "max_steps": case.steps + 1,
        "precision": case.precision,
        "callbacks": [clock],
    }
    train(
        method,
        packed,
        out=out,
        batch_size=case.batch_size,
        valid_split=None,
        epoch_of="seconds",
        save=checkpoint.save,
        trainer_options=options,
    )
    return clock.seconds()


def measure(case: Case, packed: pack.Pack, rounds: int, folder: Path) -> str:
    """A row of the table."""
    torch.manual_seed(0)
    method = clmr(case.encoder())
    rows = np.arange(TRACKS).repeat(4)
    samples = method.encoder.input_samples
    loader = ClipLoader(packed, rows, input_samples=samples, batch_size=case.batch_size, crops=2, seed=0)
    clips = loader.batch(0, 0).float()
    views = torch.cat([clips.view(0), clips.view(1)])
    resident = Clips(torch.stack(method.augmented(views).chunk(2)), clips.rows)
    found: dict[str, list[float]] = {"alone": [], "pipeline": [], "load": [], "augment": []}
    for turn in range(rounds):
        found["alone"] += steps_alone(method, resident, case)
        found["pipeline"] += steps_of_pipeline(method, packed, case, folder / f"{case.name}-{turn}")
        found["load"].append(timed(lambda turn=turn: loader.batch(turn, 1).float()))
        found["augment"].append(timed(lambda: method.augmented(views)))
    of_clip = {name: statistics.median(values) / (2 * case.batch_size) for name, values in found.items()}
    share = of_clip["alone"] / of_clip["pipeline"]
    print(f"{case.name}: {share:.1%}", flush=True)
    rates = " | ".join(f"{1 / of_clip[name]:.2f}" for name in ("alone", "pipeline"))
    parts = " | ".join(f"{1e3 * of_clip[name]:.2f}" for name in ("load", "augment", "alone"))
    verdict = "yes" if share >= MUST_KEEP else "**no**"
    return f"| {case.name} | {case.batch_size} | {rates} | **{share:.1%}** | {verdict} | {parts} |"


def timed(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        packs = {rate: noise_pack(Path(folder), rate) for rate in (16_000, 22_050)}
        table = [measure(case, packs[case.encoder().sample_rate], rounds, Path(folder)) for case in CASES]
    machine = (
        f"{os.cpu_count()} cores ({platform.machine()}), {torch.get_num_threads()} threads for torch; "
        f"torch {torch.__version__}, Lightning {lightning_version}, Python {platform.python_version()}"
    )
    head = ["training", "pairs a batch", "step alone, clips/s", "pipeline, clips/s", "kept", f"≥ {MUST_KEEP:.0%}"]
    head += [f"{part}, ms a clip" for part in ("loading", "augmenting", "step")]
    text = f"""# Training step: alone, and with loading and augmenting

{machine}. SimCLR with the chain of recipes/clmr.yaml, two crops of 59,049 samples for each of the pairs of a batch; a
clip is one view. Medians over the steps of {rounds} rounds in turns.

| {" | ".join(head)} |
|---|---:|---:|---:|---:|---|---:|---:|---:|
{chr(10).join(table)}

Loading happens in a thread of its own while the step before is computed. Written by `benchmarks/training.py`.
"""
    with replacing(RESULTS) as temporary:
        temporary.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
