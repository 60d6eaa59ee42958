"""Tones on disk with labels and splits, packed or not, for what trains and embeds."""

import csv
from pathlib import Path

import numpy as np
from training_toy import KINDS, RATE

from ssl_music import audio, pack
from ssl_music.catalogs import Table
from ssl_music.pack import Pack

HZ = {"low": 200, "middle": 600, "high": 1800}


def tones(folder: Path, *, count: int = 72, shared_group: bool = False) -> Table:
    """Half a second of a tone of one of three pitches, steady or trembling; half to train on, the rest in two."""
    generator, time = np.random.default_rng(0), np.arange(RATE // 2) / RATE
    folder.mkdir(parents=True)
    with (folder / "tones.csv").open("w", newline="") as handle:
        table = csv.writer(handle)
        table.writerow(["path", "pitch", "traits", "group", "split"])
        for number in range(count):
            kind, trembling = KINDS[number // 4 % 3], number // 2 % 2
            wave = np.sin(2 * np.pi * HZ[kind] * generator.uniform(0.9, 1.1) * time)
            wave = wave * (1 + 0.8 * trembling * np.sin(2 * np.pi * 9 * time)) / 4
            wave += 0.02 * generator.standard_normal(len(time))
            audio.write(folder / f"{number:02d}.wav", wave.astype(np.float32), RATE)
            split = ("train", "train", "valid", "test")[number // 12 % 4 if count >= 48 else number % 4]
            group = "both" if shared_group and number in (0, count - 1) else ""
            traits = ", ".join([kind, *(["trembling"] if trembling else [])])
            table.writerow([f"{number:02d}.wav", kind, traits, group, split])
    return Table(folder / "tones.csv", columns=["pitch", "traits"], multi=["traits"])


def packed(folder: Path, **arguments: object) -> Pack:
    """The same as a pack."""
    return pack.pack(tones(folder / "tones", **arguments), folder / "pack", sample_rate=RATE, progress=False)  # type: ignore[arg-type]
