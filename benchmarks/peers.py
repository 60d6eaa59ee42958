"""Other people's augmentations, each step alone and CLMR's chain as far as each has it, in ms a clip on one core.

    python benchmarks/peers.py [--clips 16] [--rounds 7] [--sox_python PYTHON]        writes results/peers.md

Every peer as its documentation uses it: torchaudio-augmentations, audiomentations and pedalboard clip by clip,
torch-audiomentations a batch at a time. What is not installed is left out. `Peer.steps` are the steps of CLMR that a
peer has, under the names of our effects, so that ours can be timed on exactly these. Ranges are CLMR's
(torchaudio-augmentations'). The steps that torchaudio-augmentations gets from sox run only beside a torchaudio below
2.9: give --sox_python an interpreter where they do, and workers/sox_chain.py times them there, turn about with the
rest. Such an environment: Python 3.11, the system's libsox, `pip install torch==2.8.0 torchaudio==2.8.0
torchaudio-augmentations==0.2.4`.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch

from ssl_music import audio
from ssl_music._files import replacing
from ssl_music._torchaudio import torchaudio

RATE, SAMPLES = 22_050, 59_049
#: CLMR's chain and chances (Spijkervet & Burgoyne 2021), by the names of our effects
CLMR = {
    "PolarityInversion": 0.8,
    "Noise": 0.01,
    "Gain": 0.3,
    "HighLowPass": 0.8,
    "Delay": 0.3,
    "PitchShift": 0.6,
    "Reverb": 0.6,
}
#: clips that torch-audiomentations takes at once: fastest of 1, 2, 4, 8, 16 and 48 on a CPU
BATCH = 16
RESULTS = Path(__file__).parent / "results" / "peers.md"
Job = Callable[[], float]  #: does its work once and returns the processor's seconds that it took


class Peer(NamedTuple):
    """Another package: which of CLMR's steps it has, and a chain of any of them."""

    name: str
    steps: tuple[str, ...]
    remark: str
    #: clips (N, T), chances → sends all of them through the chain
    job: Callable[[np.ndarray, Mapping[str, float]], Job]

    def has(self, chances: Mapping[str, float]) -> dict[str, float]:
        """Those of the chances that it has the steps for, in their order."""
        return {step: p for step, p in chances.items() if step in self.steps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sox_python", type=Path, help="an interpreter where torchaudio-augmentations has its sox")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    clips = 0.1 * np.random.default_rng(0).standard_normal((arguments.clips, SAMPLES), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        peers = installed(Path(folder), clips, arguments.sox_python)
        jobs: dict[tuple[str, str], Job] = {}
        for peer in peers:
            for step in peer.has(CLMR):
                jobs[peer.name, step] = peer.job(clips, {step: 1.0})
            jobs[peer.name, "its chain"] = peer.job(clips, peer.has(CLMR))
            jobs[peer.name, "all on"] = peer.job(clips, dict.fromkeys(peer.has(CLMR), 1.0))
        times: dict[tuple[str, str], list[float]] = {key: [] for key in jobs}
        for number in range(arguments.rounds + 1):
            for key, job in jobs.items():
                milliseconds = 1000 * job() / arguments.clips
                if number:  # the first round warms up
                    times[key].append(milliseconds)
    columns = [*CLMR, "its chain", "all on"]
    lines = [f"| ms a clip | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for peer in peers:
        cells = [f"{median(times[peer.name, at]):.2f}" if (peer.name, at) in times else "" for at in columns]
        lines.append(f"| {peer.name} | {' | '.join(cells)} |")
    remarks = "\n".join(f"- {peer.name}: {peer.remark}" for peer in peers)
    heading = (
        f"{arguments.clips} clips of {SAMPLES:,} samples, one core, medians of {arguments.rounds} rounds. "
        "Its chain: the steps that it has, with CLMR's chances."
    )
    text = "\n".join([heading, "", *lines, "", remarks, ""])
    print(text)
    with replacing(RESULTS) as path:
        path.write_text(f"# Other people's augmentations\n\n`benchmarks/peers.py`. {text}")


def installed(folder: Path, clips: np.ndarray, sox_python: Path | None = None) -> list[Peer]:
    """Every peer that is there; `folder` is for files that they read."""
    found = [] if sox_python is None else [sox(sox_python, clips, folder)]
    for make in (torchaudio_augmentations, torch_audiomentations, audiomentations, pedalboard):
        try:
            found.append(make(folder))
        except ImportError as error:
            print(f"left out: {make.__name__} ({error})", file=sys.stderr)
    return found


def timed(work: Callable[[], object]) -> Job:
    """The work as a job: processor time, not the clock's, so that a busy machine disturbs less."""

    def job() -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    return job


# ---- the peers


def torchaudio_augmentations(_: Path) -> Peer:
    if not hasattr(torchaudio, "sox_effects"):  # wavaugment's module asks for it while it is imported
        sys.modules["augment"] = ModuleType("augment")
    import torchaudio_augmentations as package

    effects = {
        "PolarityInversion": package.PolarityInversion(),
        "Noise": package.Noise(),
        "Gain": package.Gain(),
        "HighLowPass": package.HighLowPass(RATE),
        "Delay": package.Delay(RATE),
    }

    def job(clips: np.ndarray, chances: Mapping[str, float]) -> Job:
        waves = torch.from_numpy(clips)[:, None]
        chain = package.Compose([package.RandomApply([effects[step]], p=p) for step, p in chances.items()])
        return timed(lambda: [chain(wave) for wave in waves])

    name = f"torchaudio-augmentations {version('torchaudio-augmentations')}"
    return Peer(name, tuple(effects), f"without sox, on torchaudio {torchaudio.__version__}", job)


def torch_audiomentations(_: Path) -> Peer:
    import torch_audiomentations as package

    def effects(step: str, p: float) -> list[Any]:
        more = {"output_type": "dict", "sample_rate": RATE}
        high, low = (
            {"min_cutoff_freq": 200, "max_cutoff_freq": 1200},
            {"min_cutoff_freq": 2200, "max_cutoff_freq": 4000},
        )
        return {
            "PolarityInversion": lambda: [package.PolarityInversion(p=p, **more)],
            "Noise": lambda: [package.AddColoredNoise(40, 80, min_f_decay=0, max_f_decay=0, p=p, **more)],
            "Gain": lambda: [package.Gain(-20, -1, p=p, **more)],
            # its OneOf would choose for the whole batch
            "HighLowPass": lambda: [
                package.HighPassFilter(**high, p=p / 2, **more),
                package.LowPassFilter(**low, p=p / 2, **more),
            ],
            "PitchShift": lambda: [package.PitchShift(-7, 7, p=p, **more)],
        }[step]()

    def job(clips: np.ndarray, chances: Mapping[str, float]) -> Job:
        waves = torch.from_numpy(clips)[:, None]
        made = [effect for step, p in chances.items() for effect in effects(step, p)]
        chain = package.Compose(made, output_type="dict")
        return timed(lambda: [chain(some, sample_rate=RATE).samples for some in waves.split(BATCH)])

    warnings.filterwarnings("ignore", module="torch_pitch_shift")
    steps = ("PolarityInversion", "Noise", "Gain", "HighLowPass", "PitchShift")
    remark = (
        f"{BATCH} clips a batch; high-pass and low-pass are two steps of half the chance; no delay; its impulse "
        "response asks torchaudio for files, which it no longer reads"
    )
    return Peer(f"torch-audiomentations {version('torch-audiomentations')}", steps, remark, job)


def audiomentations(folder: Path) -> Peer:
    import audiomentations as package

    rooms = folder / "rooms"
    rng = np.random.default_rng(0)
    for number, seconds in enumerate(np.linspace(0.2, 1.0, 9)):  # of that reverberation time
        decay = 1000.0 ** (-np.arange(round(seconds * RATE)) / (seconds * RATE))
        audio.write(rooms / f"{number}.wav", (0.1 * rng.standard_normal(len(decay)) * decay).astype(np.float32), RATE)
    either = [
        package.HighPassFilter(200, 1200, min_rolloff=12, max_rolloff=12, p=1.0),
        package.LowPassFilter(2200, 4000, min_rolloff=12, max_rolloff=12, p=1.0),
    ]
    makers = {
        "PolarityInversion": lambda p: package.PolarityInversion(p=p),
        "Noise": lambda p: package.AddGaussianSNR(40, 80, p=p),
        "Gain": lambda p: package.Gain(-20, -1, p=p),
        "HighLowPass": lambda p: package.OneOf(either, p=p),
        "PitchShift": lambda p: package.PitchShift(-7, 7, p=p),
        "Reverb": lambda p: package.ApplyImpulseResponse(rooms, p=p),
    }

    def job(clips: np.ndarray, chances: Mapping[str, float]) -> Job:
        chain = package.Compose([makers[step](p) for step, p in chances.items()])
        return timed(lambda: [chain(clip, RATE) for clip in clips])

    remark = "no delay; reverb is the convolution with one of nine rooms of 0.2 to 1 s; pitch by signalsmith-stretch"
    return Peer(f"audiomentations {version('audiomentations')}", tuple(makers), remark, job)


def pedalboard(_: Path) -> Peer:
    import pedalboard as package

    # no effect draws anything: the numbers are drawn here, and set on plugins made once
    invert, gain, delay = package.Invert(), package.Gain(), package.Delay(feedback=0.0, mix=0.5)
    pitch, room = package.PitchShift(), package.Reverb()
    high = [package.HighpassFilter(), package.HighpassFilter()]  # of first order each
    low = [package.LowpassFilter(), package.LowpassFilter()]

    def filters() -> list[Any]:
        chosen, limits = (high, (200, 1200)) if random.random() < 0.5 else (low, (2200, 4000))
        for one in chosen:
            one.cutoff_frequency_hz = random.uniform(*limits)
        return chosen

    def gains() -> list[Any]:
        gain.gain_db = random.uniform(-20, -1)
        return [gain]

    def delays() -> list[Any]:
        delay.delay_seconds = 0.05 * random.randrange(4, 10)
        return [delay]

    def pitches() -> list[Any]:
        pitch.semitones = random.uniform(-7, 7)
        return [pitch]

    def rooms() -> list[Any]:
        room.room_size, room.damping, room.wet_level = random.random(), random.random(), random.random()
        return [room]

    makers: dict[str, Callable[[], list[Any]]] = {
        "PolarityInversion": lambda: [invert],
        "Gain": gains,
        "HighLowPass": filters,
        "Delay": delays,
        "PitchShift": pitches,
        "Reverb": rooms,
    }

    def job(clips: np.ndarray, chances: Mapping[str, float]) -> Job:
        def work() -> list[np.ndarray]:
            out = []
            for clip in clips:
                chosen = [plugin for step, p in chances.items() if random.random() < p for plugin in makers[step]()]
                out.append(package.Pedalboard(chosen)(clip, RATE))
            return out

        return timed(work)

    remark = "no noise; two filters of first order in a row; reverb is Freeverb, as in sox; pitch by Rubber Band"
    return Peer(f"pedalboard {version('pedalboard')}", tuple(makers), remark, job)


def sox(python: Path, clips: np.ndarray, folder: Path) -> Peer:
    """torchaudio-augmentations in the environment of that interpreter, a process beside this one."""
    np.save(folder / "clips.npy", clips)
    worker = subprocess.Popen(
        [python, Path(__file__).parent / "workers" / "sox_chain.py", folder / "clips.npy"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def answer() -> dict[str, Any]:
        line = worker.stdout.readline() if worker.stdout else ""
        if not line:
            raise SystemExit(f"{python}: the worker ended; are torchaudio-augmentations and libsox there?")
        return json.loads(line)

    def job(its_clips: np.ndarray, chances: Mapping[str, float]) -> Job:
        assert its_clips is clips, "the worker has the clips that it was started with"

        def ask() -> float:
            print(json.dumps(dict(chances)), file=worker.stdin, flush=True)
            return answer()["seconds"]

        return ask

    hello = answer()
    versions = ", ".join(f"{name} {number}" for name, number in hello["versions"].items())
    return Peer(
        "torchaudio-augmentations with sox", tuple(hello["steps"]), f"in its own environment: {versions}", job
    )


if __name__ == "__main__":
    main()
