"""What loading, augmenting and Lightning cost beside the training step itself.

    python benchmarks/training.py [THREADS]        writes benchmarks/results/training.md

The step alone: both views of a batch that lies in memory, augmented beforehand → encoder → NT-Xent → backward →
Adam, in a bare loop. The pipeline: `methods.train.train` as users run it, crops from a pack of half-minute tracks,
the chain of recipes/clmr.yaml without its pitch shift, drawn anew for every view, metrics, collapse watch. They take
turns step by step, so that a busy machine hurts both alike, and each step of the pipeline is divided by its neighbour
alone; the median of these shares is what the pipeline keeps. It must keep 90 %. One thread for torch, unless told
otherwise: with more threads than idle cores, the many short operations of an augmentation wait for each other.
"""

import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pytorch_lightning import Callback
from pytorch_lightning import __version__ as lightning_version

from ssl_music import audio, pack
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
    """One training: what it trains, and how many steps are timed."""

    name: str
    encoder: Callable[[], Encoder]
    batch_size: int
    precision: str
    steps: int


SMALL = {
    "width": 16,
    "depth": 6,
    "bands": 64,
    "sample_rate": 22050,
    "input_samples": 32768,
    "n_fft": 1024,
    "hop": 512,
}
CASES = [
    Case("SampleCNN as published, float32", SampleCNN, 16, "32-true", 9),
    Case("SampleCNN as published, bf16 autocast", SampleCNN, 16, "bf16-mixed", 15),
    Case("ShortChunk(width=16), float32", lambda: ShortChunk(width=16), 48, "32-true", 40),
    Case("ShortChunk of recipes/clmr_small.yaml, bf16 autocast", lambda: ShortChunk(**SMALL), 48, "bf16-mixed", 60),
]


class Listed(Catalog):
    """Tracks that are given."""

    columns, split_name = {}, "none"

    def __init__(self, tracks: list[Track]) -> None:
        self._tracks = tracks

    @property
    def tracks(self) -> list[Track]:
        return self._tracks


class Turns(Callback):
    """After each step of a training one step alone: seconds of both, beside each other in time.

    The loader begins a batch when one is taken from it, so that loading falls into the pipeline's turn.
    """

    def __init__(self, step: Callable[[], None]) -> None:
        self.step = step
        self.pipeline: list[float] = []
        self.alone: list[float] = []
        self._begun: float | None = None  # of the first batch the loader itself begins

    def on_train_batch_end(self, *_: object) -> None:
        ended = time.perf_counter()
        if self._begun is not None:
            self.pipeline.append(ended - self._begun)
        self.alone.append(timed(self.step))
        self._begun = time.perf_counter()

    def pairs(self) -> list[tuple[float, float]]:
        """(alone, pipeline) of neighbouring steps."""
        return list(zip(self.alone[1:], self.pipeline, strict=True))


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


def step_alone(method: SimCLR, clips: Clips, case: Case) -> Callable[[], None]:
    """One training step on a batch in memory, without augmentation, without Lightning."""
    bare = SimCLR(method.encoder)
    optimizer = bare.configure_optimizers()

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=case.precision == "bf16-mixed"):
            loss = bare.losses(clips)["loss"]
        loss.backward()
        optimizer.step()

    return step


def in_turns(method: SimCLR, packed: pack.Pack, case: Case, turns: Turns, out: Path) -> None:
    """A whole training, as users run it, with a step alone after each of its own."""
    train(
        method,
        packed,
        out=out,
        batch_size=case.batch_size,
        valid_split=None,
        epoch_of="seconds",
        trainer_options={
            "accelerator": "cpu",
            "max_steps": case.steps + 1,
            "precision": case.precision,
            "callbacks": [turns],
        },
    )


def measure(case: Case, packed: pack.Pack, folder: Path) -> str:
    """A row of the table."""
    torch.manual_seed(0)
    method = clmr(case.encoder())
    rows = np.arange(TRACKS).repeat(4)
    samples = method.encoder.input_samples
    loader = ClipLoader(packed, rows, input_samples=samples, batch_size=case.batch_size, crops=2, seed=0)
    clips = loader.batch(0, 0).float()
    views = torch.cat([clips.view(0), clips.view(1)])
    resident = Clips(torch.stack(method.augmented(views).chunk(2)), clips.rows)
    turns = Turns(step_alone(method, resident, case))
    in_turns(method, packed, case, turns, folder / case.name)
    clips_a_step = 2 * case.batch_size
    alone, pipeline = (statistics.median(seconds) / clips_a_step for seconds in zip(*turns.pairs(), strict=True))
    low, share, high = np.quantile([own / whole for own, whole in turns.pairs()], [0.25, 0.5, 0.75])
    load = statistics.median(timed(lambda: loader.batch(0, 1).float()) for _ in range(9)) / clips_a_step
    augment = statistics.median(timed(lambda: method.augmented(views)) for _ in range(9)) / clips_a_step
    print(f"{case.name}: {share:.1%}", flush=True)
    rates = f"{1 / alone:.2f} | {1 / pipeline:.2f} | **{share:.1%}** ({low:.1%} … {high:.1%})"
    verdict = "yes" if share >= MUST_KEEP else "**no**"
    parts = " | ".join(f"{1e3 * seconds:.2f}" for seconds in (load, augment, alone))
    return f"| {case.name} | {case.batch_size} | {rates} | {verdict} | {parts} |"


def timed(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    with tempfile.TemporaryDirectory() as folder:
        packs = {rate: noise_pack(Path(folder), rate) for rate in (16_000, 22_050)}
        table = [measure(case, packs[case.encoder().sample_rate], Path(folder)) for case in CASES]
    machine = (
        f"{os.cpu_count()} cores ({platform.machine()}), threads for torch: {torch.get_num_threads()}; "
        f"torch {torch.__version__}, Lightning {lightning_version}, Python {platform.python_version()}"
    )
    head = ["training", "pairs a batch", "step alone, clips/s", "pipeline, clips/s", "kept", f"≥ {MUST_KEEP:.0%}"]
    head += [f"{part}, ms a clip" for part in ("loading", "augmenting", "step")]
    text = f"""# Training step: alone, and with loading and augmenting

{machine}.
SimCLR with the chain of recipes/clmr.yaml without its pitch shift, two crops of the encoder's length for each of the
pairs of a batch; a clip
is one view. Medians over steps in turns; of the share also the quartiles.

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
