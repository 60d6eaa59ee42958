"""What a random crop costs: from a pack, from a plain copy in memory, from compressed files.

    python benchmarks/crops.py        writes benchmarks/results/crops.md

59,049 samples at 22.05 kHz (2.68 s, the clip of CLMR), at random places of tracks of half a minute, music-like: a few
harmonic tones with vibrato and decaying noise bursts, so that the codecs have something to do. Everything lies in the
page cache, so this is processor time, not the disk's: it hardly depends on what else the machine does. One thread;
medians over rounds in which the ways take turns.
"""

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch

from ssl_music import pack
from ssl_music._files import replacing
from ssl_music.audio.quiet import quiet
from ssl_music.catalogs.base import Catalog, Track
from ssl_music.clips import Clips, Files

SAMPLES, RATE, SECONDS, TRACKS, BATCH, ROUNDS = 59_049, 22_050, 30, 48, 48, 15
RESULTS = Path(__file__).parent / "results" / "crops.md"
KINDS = [("22.05 kHz mono", RATE, 1), ("44.1 kHz stereo", 2 * RATE, 2)]
ENDINGS = ["flac", "ogg", "mp3"]


class Listed(Catalog):
    split_name = "none"

    def __init__(self, tracks: list[Track]):
        self.columns = {}
        self._tracks = tracks

    @property
    def tracks(self) -> list[Track]:
        return self._tracks


def music(seed: int, rate: int, channels: int) -> np.ndarray:
    """Half a minute of something that sounds made. Shape: (T, channels)."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(SECONDS * rate) / rate
    wave = np.zeros((len(time_s), channels))
    for pitch_hz in rng.choice([110, 131, 147, 165, 196, 220, 262, 294], 4, replace=False):
        vibrato = 0.3 * np.sin(2 * np.pi * 5 * time_s + rng.uniform(0, 6))
        for harmonic in range(1, 8):
            tone = np.sin(harmonic * (2 * np.pi * pitch_hz * time_s + vibrato)) / harmonic**1.3
            wave += 0.05 * tone[:, None] * rng.uniform(0.5, 1, channels)
    beat = np.exp(-8 * (time_s % 0.5))
    wave += 0.1 * beat[:, None] * rng.standard_normal((len(time_s), channels))
    return np.clip(wave, -1, 1).astype(np.float32)


def packed_ways(folder: Path) -> tuple[dict[str, Callable[[], int]], dict[str, str]]:
    """Name → a function that reads a batch and says how many crops these were; name → what it does."""
    tracks = []
    for number in range(TRACKS):
        path = folder / f"{number:02d}.wav"
        soundfile.write(path, music(number, RATE, 1), RATE)
        tracks.append(Track(path.name, path))
    store = pack.pack(Listed(tracks), folder / "packed", sample_rate=RATE, progress=False)
    rng = np.random.default_rng(0)
    held = np.concatenate([block for row in range(TRACKS) for block in store.blocks(row, 1 << 20)])

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.integers(0, TRACKS, count), rng.integers(0, SECONDS * RATE - SAMPLES, count)

    def gather() -> int:
        store.gather(*draw(BATCH), SAMPLES)
        return BATCH

    def single() -> int:
        for _ in range(BATCH):
            store.gather(*draw(1), SAMPLES)
        return BATCH

    def floats() -> int:
        wave = torch.from_numpy(store.gather(*draw(BATCH), SAMPLES)[None, :, None])
        Clips(wave, torch.arange(BATCH)).float()
        return BATCH

    def copy() -> int:
        rows, starts = draw(BATCH)
        batch = np.empty((BATCH, SAMPLES), np.int16)
        for into, start in zip(batch, rows * SECONDS * RATE + starts, strict=True):
            np.copyto(into, held[start : start + SAMPLES])
        return BATCH

    ways = {"copy": copy, "gather": gather, "single": single, "floats": floats}
    return ways, {
        "copy": "the same bytes copied within memory (an array, int16)",
        "gather": f"pack, a batch of {BATCH} (int16)",
        "single": "pack, one by one (int16)",
        "floats": f"pack, a batch of {BATCH}, converted to float32",
    }


def file_ways(folder: Path) -> tuple[dict[str, Callable[[], int]], dict[str, str]]:
    """The same for compressed files: soundfile alone, at their own rate, and `Files`, mixed down and resampled."""
    ways: dict[str, Callable[[], int]] = {}
    names: dict[str, str] = {}
    rng = np.random.default_rng(1)
    for kind, rate, channels in KINDS:
        for ending in ENDINGS:
            paths = [folder / f"{number} {kind}.{ending}" for number in range(4)]
            for number, path in enumerate(paths):
                wave = music(number, rate, channels)
                with soundfile.SoundFile(path, "w", rate, channels) as file:
                    for start in range(0, len(wave), rate):  # libsndfile's Vorbis encoder dies of long blocks
                        file.write(wave[start : start + rate])
            files = Files([Track(path.name, path) for path in paths], RATE, workers=1, progress=False)

            def alone(paths: list[Path] = paths, rate: int = rate) -> int:
                for path in paths:
                    count = SAMPLES * rate // RATE
                    with soundfile.SoundFile(path) as file:
                        file.seek(int(rng.integers(0, SECONDS * rate - count)))
                        file.read(count, dtype="float32", always_2d=True).mean(axis=1)
                return len(paths)

            def whole(files: Files = files) -> int:
                starts = rng.integers(0, files.samples - SAMPLES)
                files.gather(np.arange(len(starts)), starts, SAMPLES)
                return len(starts)

            ways |= {f"{ending} {kind}": alone, f"{ending} {kind} Files": whole}
            names[f"{ending} {kind}"] = f"soundfile, {ending}, {kind}, as it is"
            names[f"{ending} {kind} Files"] = f"`Files`, {ending}, {kind} → 22.05 kHz mono int16"
    return ways, names


def measure(ways: dict[str, Callable[[], int]]) -> dict[str, list[float]]:
    """Milliseconds of processor time a crop, of each round."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(ROUNDS + 1):
        for name, way in ways.items():
            begun = time.process_time()
            count = way()
            lasted = (time.process_time() - begun) / count * 1e3
            if turn:  # the first round warms caches up
                found[name].append(lasted)
    return found


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ways, names = packed_ways(folder)
        more_ways, more_names = file_ways(folder)
        with quiet():  # mpg123 comments on every seek
            found = measure(ways | more_ways)
    names |= more_names
    floor = statistics.median(found["copy"])
    gather = statistics.median(found["gather"])
    lines = [
        "# A random crop of 59,049 samples (2.68 s at 22.05 kHz)",
        "",
        f"{os.cpu_count()} cores ({platform.machine()}), one thread, processor time; "
        f"Python {platform.python_version()}, NumPy {np.__version__}, torch {torch.__version__}, "
        f"soundfile {soundfile.__version__} with "
        f"{soundfile.__libsndfile_version__}. Medians of {ROUNDS} rounds, fastest and slowest in brackets.",
        "",
        "| way | CPU ms a crop | × memory copy | × pack |",
        "|---|---:|---:|---:|",
    ]
    for way, times in found.items():
        middle = statistics.median(times)
        spread = f"{middle:.4f} ({min(times):.4f} … {max(times):.4f})"
        lines.append(f"| {names[way]} | {spread} | {middle / floor:,.1f} | {middle / gather:,.1f} |")
    lines += ["", f"Written by `benchmarks/{Path(__file__).name}`."]
    print("\n".join(lines))
    with replacing(RESULTS) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
