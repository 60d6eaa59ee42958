"""What our augmentations cost, in ms a clip on one core, beside other people's on the same clips and the same steps.

    python benchmarks/augment.py [--clips 48] [--rounds 9] [--sox_python PYTHON]

writes results/augment.md, and the table of peers into the README.

Peers: those of peers.py that are installed, each with the steps of CLMR's chain that it has; ours runs exactly these,
with CLMR's chances and with every one on. --sox_python adds torchaudio-augmentations whole, sox parts included, in an
environment of its own (see peers.py). Floors: one rfft and irfft of each clip, as a whole and in the frames that
the engine takes. Everything runs in turn in every round, so a busy machine hits all alike; the processor's time, not
the clock's; medians over the rounds, and the median of the rounds' ratios. Peak memory is that of a process of its
own, over many clips.
"""

import argparse
import multiprocessing
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import numpy as np
import torch
from peers import CLMR, RATE, SAMPLES, Job, Peer, installed, timed
from readme import fill_readme

from ssl_music import augment
from ssl_music._files import replacing
from ssl_music._memory import keep_memory
from ssl_music.augment import presets
from ssl_music.augment.convolve import SHORTEST_FRAME, filtered
from ssl_music.augment.fused import ROWS_PER_PASS

RESULTS = Path(__file__).parent / "results" / "augment.md"
LINEAR = ("PolarityInversion", "Gain", "HighLowPass", "Delay", "Reverb")
WHOLE = 60_000  # the FFT size that holds a clip and the ringing of a filter
MEMORY_CLIPS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sox_python", type=Path, help="an interpreter where torchaudio-augmentations has its sox")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()  # as the command line does; those peers that run in this process have it too
    clips = 0.1 * np.random.default_rng(0).standard_normal((arguments.clips, SAMPLES), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        peers = installed(Path(folder), clips, arguments.sox_python)
        times = _measure(_jobs(peers, clips), arguments.rounds, arguments.clips)
    memory = ", ".join(f"{name} {_peak_over_batch(preset):.1f} ×" for name, preset in presets.PRESETS.items())
    heading = (
        f"{arguments.clips} clips of {SAMPLES:,} samples at {RATE} Hz in one batch, one core, "
        f"medians of {arguments.rounds} rounds."
    )
    text = "\n\n".join(
        [
            heading,
            "## Against others: the steps of CLMR's chain that each has",
            _against(peers, times),
            "\n".join(f"- {peer.name}: {peer.remark}" for peer in peers),
            "## Ours, against one rfft and irfft of a clip",
            _alone(times),
            f"Peak memory over {MEMORY_CLIPS} clips, in batches, the batch itself included: {memory}.",
        ]
    )
    print(text)
    fill_readme("augment", _against(peers, times))
    with replacing(RESULTS) as path:
        path.write_text(f"# Augmentation\n\n`benchmarks/augment.py`. {text}\n")


# ---- what is measured: a job has a kind and a name


def _jobs(peers: list[Peer], clips: np.ndarray) -> dict[tuple[str, str], Job]:
    jobs: dict[tuple[str, str], Job] = {}
    for peer in peers:
        chances = peer.has(CLMR)
        jobs[peer.name, "theirs"] = peer.job(clips, chances)
        jobs[peer.name, "ours"] = _ours(clips, chances)
        jobs[peer.name, "theirs, all on"] = peer.job(clips, dict.fromkeys(chances, 1.0))
        jobs[peer.name, "ours, all on"] = _ours(clips, dict.fromkeys(chances, 1.0))
    for name in ("clmr", "key_safe", "light"):
        jobs["alone", f"preset {name}"] = _preset(clips, name)
    jobs["alone", "linear part of CLMR's chain"] = _ours(clips, {step: CLMR[step] for step in LINEAR})
    jobs["alone", "linear part, all on"] = _ours(clips, dict.fromkeys(LINEAR, 1.0))
    for effect in _effects():
        jobs["alone", effect] = _ours(clips, {effect: 1.0})
    wave = torch.from_numpy(clips)
    jobs["floor", "whole"] = timed(
        lambda: [torch.fft.irfft(torch.fft.rfft(some, n=WHOLE), n=WHOLE) for some in wave.split(ROWS_PER_PASS["cpu"])]
    )
    pass_all = torch.ones(1, SHORTEST_FRAME // 2 + 1)
    jobs["floor", "frames"] = timed(
        lambda: [filtered(some[:, None], lambda _: pass_all, 343) for some in wave.split(ROWS_PER_PASS["cpu"])]
    )
    return jobs


def _measure(jobs: Mapping[tuple[str, str], Job], rounds: int, clips: int) -> dict[tuple[str, str], list[float]]:
    """Every job once a round, after one round to warm up; ms a clip."""
    times: dict[tuple[str, str], list[float]] = {key: [] for key in jobs}
    for number in range(rounds + 1):
        for key, job in jobs.items():
            milliseconds = 1000 * job() / clips
            if number:
                times[key].append(milliseconds)
    return times


def _effects() -> list[str]:
    """Every effect that can be made without more than its chance."""
    needs = ("Augmentation", "Chain", "Drawn", "Foreign", "ImpulseResponse", "RandomResizedCrop")
    return [name for name in augment.__all__ if name not in needs]


def _ours(clips: np.ndarray, chances: Mapping[str, float]) -> Job:
    effects = [getattr(augment, step)(p=p) for step, p in chances.items()]
    return _run(augment.Chain(effects, sample_rate=RATE), clips)


def _preset(clips: np.ndarray, name: str) -> Job:
    return _run(presets.named(name, sample_rate=RATE), clips)


def _run(chain: augment.Chain, clips: np.ndarray) -> Job:
    wave, generator = torch.from_numpy(clips)[:, None], torch.Generator().manual_seed(0)
    return timed(lambda: chain(wave, generator))


def _peak_over_batch(preset: Callable[..., augment.Chain]) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (preset,))


def _peak(preset: Callable[..., augment.Chain]) -> float:
    torch.set_num_threads(1)
    chain = preset(sample_rate=RATE)
    chain(torch.zeros(ROWS_PER_PASS["cpu"], 1, SAMPLES))  # tables, plans and libraries are no part of it
    wave = torch.randn(MEMORY_CLIPS, 1, SAMPLES)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew (Linux)
    before = _resident("VmRSS")
    chain(wave, torch.Generator().manual_seed(0))
    return 1 + (_resident("VmHWM") - before) / (4 * wave.numel())  # the batch itself is one


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


# ---- tables


def _against(peers: list[Peer], times: Mapping[tuple[str, str], list[float]]) -> str:
    lines = ["| | steps | theirs | ours | faster by | all on: theirs | ours | faster by |", "|---|" + "---|" * 7]
    for peer in peers:
        of = {kind: times[peer.name, kind] for kind in ("theirs", "ours", "theirs, all on", "ours, all on")}
        usual = f"{median(of['theirs']):.2f} | {median(of['ours']):.2f} | {_ratio(of['theirs'], of['ours']):.1f} ×"
        full = (
            f"{median(of['theirs, all on']):.2f} | {median(of['ours, all on']):.2f} "
            f"| {_ratio(of['theirs, all on'], of['ours, all on']):.1f} ×"
        )
        lines.append(f"| {peer.name} | {len(peer.has(CLMR))} of {len(CLMR)} | {usual} | {full} |")
    return "\n".join(lines)


def _alone(times: Mapping[tuple[str, str], list[float]]) -> str:
    floor = times["floor", "whole"]
    lines = ["| | ms a clip | / floor |", "|---|---|---|"]
    lines.append(f"| **floor**: rfft + irfft of {WHOLE:,} | {median(floor):.3f} | 1 |")
    frames = times["floor", "frames"]
    lines.append(
        f"| the same in frames of {SHORTEST_FRAME:,}, cut and joined | {median(frames):.3f} "
        f"| {_ratio(frames, floor):.2f} |"
    )
    for (kind, name), its in times.items():
        if kind == "alone":
            lines.append(f"| {name} | {median(its):.3f} | {_ratio(its, floor):.2f} |")
    return "\n".join(lines)


def _ratio(above: list[float], below: list[float]) -> float:
    return median(one / other for one, other in zip(above, below, strict=True))


if __name__ == "__main__":
    main()
