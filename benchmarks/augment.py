"""What the linear part of the CLMR chain costs, in ms a clip on one core, against plain scipy.signal clip by clip.

    python benchmarks/augment.py [--clips 48] [--rounds 15]

Peer: the same effects with the same chances and ranges, one clip at a time in numpy and scipy.signal (`butter` and
`sosfilt`, `fftconvolve`, slices), float32 throughout. Floor: one rfft and irfft of every clip at the size that the
chain chooses. Everything runs in turn in every round, so a busy machine hits all alike; the processor's time, not
the clock's; medians over the rounds, and the median of the rounds' ratios. Writes results/augment.md.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import scipy.signal
import torch

from ssl_music.augment import Augmentation, Chain, Delay, Gain, HighLowPass, Noise, PolarityInversion, Reverb
from ssl_music.augment.layers import ROWS_PER_PASS, fast_size

RATE, SAMPLES = 22_050, 59_049
#: CLMR's chain and chances (Spijkervet & Burgoyne 2021), without the pitch shift
CLMR: dict[type[Augmentation], float] = {
    PolarityInversion: 0.8,
    Noise: 0.01,
    Gain: 0.3,
    HighLowPass: 0.8,
    Delay: 0.3,
    Reverb: 0.6,
}
FLOOR = "floor"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    wave = 0.1 * torch.randn(arguments.clips, 1, SAMPLES, generator=torch.Generator().manual_seed(0))
    entries = {"CLMR's chances": CLMR, "every effect on": dict.fromkeys(CLMR, 1.0)}
    entries |= {f"{effect.__name__} alone": {effect: 1.0} for effect in CLMR}
    jobs: dict[tuple[str, str], Callable[[], object]] = {}
    for name, chances in entries.items():
        jobs[name, "fused"] = _chain(wave, chances)
        jobs[name, "scipy"] = _scipy(wave.numpy()[:, 0], chances)
    for name in ("CLMR's chances", "every effect on"):
        jobs[name, "in turn"] = _in_turn(wave, entries[name])
    jobs[FLOOR, "fused"] = _floor(wave)

    times = _measure(jobs, arguments.rounds, arguments.clips)
    table = _table(list(entries), times)
    heading = (
        f"Clips of {SAMPLES:,} samples at {RATE} Hz, {arguments.clips} a batch, {arguments.rounds} rounds, one core"
    )
    print(f"{heading}\n\n{table}")
    (Path(__file__).parent / "results" / "augment.md").write_text(
        f"# Augmentation\n\n{heading}; `benchmarks/augment.py`.\n\n{table}\n"
    )


def _measure(
    jobs: dict[tuple[str, str], Callable[[], object]], rounds: int, clips: int
) -> dict[tuple[str, str], list[float]]:
    """Every job once a round, after one round to warm up; ms of processor time a clip."""
    times: dict[tuple[str, str], list[float]] = {key: [] for key in jobs}
    for number in range(rounds + 1):
        for key, job in jobs.items():
            start = time.process_time()
            job()
            if number:
                times[key].append(1000 * (time.process_time() - start) / clips)
    return times


def _table(names: list[str], times: dict[tuple[str, str], list[float]]) -> str:
    lines = [
        "| | ours, ms a clip | scipy, ms a clip | ours faster by | ours / floor | unfused, ms a clip |",
        "|---|" + "---|" * 5,
    ]
    floor = times[FLOOR, "fused"]
    for name in names:
        ours, peer = times[name, "fused"], times[name, "scipy"]
        unfused = f"{median(times[name, 'in turn']):.2f}" if (name, "in turn") in times else ""
        lines.append(
            f"| {name} | {median(ours):.3f} | {median(peer):.3f} | {_ratio(peer, ours):.1f} × "
            f"| {_ratio(ours, floor):.2f} | {unfused} |"
        )
    return "\n".join([*lines, f"| floor: rfft + irfft of {_n_fft():,} | {median(floor):.3f} | | | 1 | |"])


def _ratio(above: list[float], below: list[float]) -> float:
    return median(one / other for one, other in zip(above, below, strict=True))


# ---- ours


def _effects(chances: dict[type[Augmentation], float]) -> list[Augmentation]:
    return [effect(p=p).at_rate(RATE) for effect, p in chances.items()]


def _chain(wave: torch.Tensor, chances: dict[type[Augmentation], float]) -> Callable[[], object]:
    chain, generator = Chain(_effects(chances), sample_rate=RATE), torch.Generator().manual_seed(0)
    return lambda: chain(wave, generator)


def _in_turn(wave: torch.Tensor, chances: dict[type[Augmentation], float]) -> Callable[[], object]:
    effects, generator = _effects(chances), torch.Generator().manual_seed(0)

    def run() -> torch.Tensor:
        out = wave
        for effect in effects:
            out = effect(out, generator)
        return out

    return run


def _n_fft() -> int:
    return fast_size(SAMPLES + sum(effect.tail_samples() for effect in _effects(CLMR)))


def _floor(wave: torch.Tensor) -> Callable[[], object]:
    n_fft = _n_fft()
    return lambda: [torch.fft.irfft(torch.fft.rfft(some, n=n_fft), n=n_fft) for some in wave.split(ROWS_PER_PASS)]


# ---- the peer


def _scipy(waves: np.ndarray, chances: dict[type[Augmentation], float]) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    steps = [(PEER[effect], p) for effect, p in chances.items()]

    def run() -> list[np.ndarray]:
        out = []
        for clip in waves:
            changed = clip.copy()
            for step, p in steps:
                if rng.random() < p:
                    changed = step(changed, rng)
            out.append(changed)
        return out

    return run


def _noise(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal(len(wave), np.float32)
    ratio = np.float32(10 ** (-rng.uniform(40, 80) / 20))
    return wave + noise * (ratio * np.linalg.norm(wave) / np.linalg.norm(noise))


def _filter(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    kind, low, high = [("highpass", 200, 1200), ("lowpass", 2200, 4000)][rng.integers(2)]
    sections = scipy.signal.butter(2, rng.uniform(low, high), kind, fs=RATE, output="sos").astype(np.float32)
    return scipy.signal.sosfilt(sections, wave)


def _delay(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    samples = round(rng.integers(4, 10) * 0.05 * RATE)
    out = wave * np.float32(0.5)
    out[samples:] += np.float32(0.25) * wave[:-samples]
    return out


def _reverb(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    rt60_samples, wet = rng.uniform(0.2, 1.0) * RATE, rng.uniform(0.1, 0.5)
    late = round(rng.uniform(0, 0.02) * RATE)
    decay = np.exp(np.arange(round(rt60_samples), dtype=np.float32) * np.float32(-np.log(1000) / rt60_samples))
    tail = rng.standard_normal(len(decay), np.float32) * decay
    impulse = np.zeros(late + len(tail), np.float32)
    impulse[late:] = tail * np.float32(np.sqrt(wet) / np.linalg.norm(tail))
    impulse[0] += np.float32(np.sqrt(1 - wet))
    return scipy.signal.fftconvolve(wave, impulse)[: len(wave)]


PEER: dict[type[Augmentation], Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    PolarityInversion: lambda wave, rng: -wave,
    Noise: _noise,
    Gain: lambda wave, rng: wave * np.float32(10 ** (rng.uniform(-20, -1) / 20)),
    HighLowPass: _filter,
    Delay: _delay,
    Reverb: _reverb,
}


if __name__ == "__main__":
    main()
