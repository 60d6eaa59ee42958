"""Which copies of recordings their fingerprints find, what they mistake for copies, and how fast they are made.

    python benchmarks/fingerprint.py [MUSIC] [--pack PACK]        writes benchmarks/results/fingerprint.md

MUSIC is a folder with tracks.csv, whose column `group` says which files are of one recording or composition; PACK is
what `ssl-music pack` made of it at 22,050 Hz, so as not to decode it again. With neither: built-in music, printed and
not written. Clips of more than 3.4 s and notes of 1.9 to 3.4 s, drawn by a fixed seed, are altered and looked up
among the whole catalog. A copy is found where its own clip is among its matches; of clips that are cut, those count
that still have 1.9 s. All clips are then held against all, at several limits of the bit error rate.

Speed is processor time on one thread, of audio that lies in memory at 22,050 Hz, beside that of the Fourier
transforms alone: as many of the same length, in batches of as many. They take turns; medians of the rounds.
No other fingerprinter stands beside it: chromaprint wants a C library, and is not in this environment.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from unittest.mock import patch

import numpy as np
import scipy
import soxr
from scipy.fft import next_fast_len, rfft

from ssl_music import audio
from ssl_music._files import replacing
from ssl_music.catalogs import Catalog, Folder, Synthetic
from ssl_music.fingerprint import Match, bits, fingerprint, fingerprint_catalog, matches, near_duplicates
from ssl_music.pack import Pack, pack

RATE, SEED, CLIPS, NOTES, ROUNDS, TIMED = 22_050, 0, 60, 40, 7, 10
LIMITS = (0.20, 0.25, 0.30, 0.35, 0.40)
RESULTS = Path(__file__).parent / "results" / "fingerprint.md"
#: (N,) float32 at 22,050 Hz, and a random source → the same altered
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def through_all(wave: np.ndarray) -> np.ndarray:
    """Cut, quieter, through 16 kHz and through mp3."""
    narrow = soxr.resample(soxr.resample(0.3 * wave[9_999:], RATE, 16_000), 16_000, RATE)
    return audio.through_mp3(narrow, RATE, kbit_per_second=48)


def noisy(wave: np.ndarray, random: np.random.Generator, snr_db: float) -> np.ndarray:
    power = np.mean(wave.astype(np.float64) ** 2)
    return wave + random.normal(scale=np.sqrt(power / 10 ** (snr_db / 10)), size=len(wave))


CHANGES: dict[str, Change] = {
    "Ogg Vorbis, quality 3": lambda wave, _: audio.through_ogg(wave, RATE, quality=3),
    "mp3, 48 kbit/s mono": lambda wave, _: audio.through_mp3(wave, RATE, kbit_per_second=48),
    "mp3, 16 kbit/s mono": lambda wave, _: audio.through_mp3(wave, RATE, kbit_per_second=16),
    "gain −20 dB": lambda wave, _: 0.1 * wave,
    "1.3 s cut off the beginning": lambda wave, _: wave[28_665:],
    "6 s from the middle": lambda wave, _: wave[len(wave) // 3 :][: 6 * RATE],
    "16 kHz, 0.45 s cut off, −10 dB, mp3 at 48 kbit/s": lambda wave, _: through_all(wave),
    "white noise, SNR 20 dB": lambda wave, random: noisy(wave, random, 20),
    "white noise, SNR 10 dB": lambda wave, random: noisy(wave, random, 10),
    "clipped, +12 dB": lambda wave, _: np.clip(4 * wave, -1, 1),
    "0.3 % faster": lambda wave, _: soxr.resample(wave, 1.003 * RATE, RATE),
    "1 % faster": lambda wave, _: soxr.resample(wave, 1.01 * RATE, RATE),
    "5 % faster": lambda wave, _: soxr.resample(wave, 1.05 * RATE, RATE),
}


def heard(packed: Pack, row: int) -> np.ndarray:
    """Shape: (N,) float32."""
    return np.concatenate(list(packed.blocks(row, 1 << 20))).astype(np.float32) / 32768


def altered(packed: Pack, rows: np.ndarray, change: Change) -> dict[str, np.ndarray]:
    """The fingerprints of altered tracks that are long enough to be matched."""
    random = np.random.default_rng(SEED)
    made = {
        packed.tracks[row].id: fingerprint([np.asarray(change(heard(packed, row), random), np.float32)], RATE)
        for row in rows
    }
    return {id: prints for id, prints in made.items() if len(prints) >= matches.SHORTEST_FRAMES}


def found_again(packed: Pack, prints: Mapping[str, np.ndarray]) -> Iterator[str]:
    """A line a change: found / asked, median and highest bit error rate, of clips and of notes; false matches."""
    groups, random = groups_of(packed), np.random.default_rng(SEED)
    frames = np.array([len(prints.get(track.id, ())) for track in packed.tracks])
    clips = np.flatnonzero(frames >= matches.BLOCK_FRAMES)
    notes = np.flatnonzero((frames >= matches.SHORTEST_FRAMES) & (frames < matches.BLOCK_FRAMES))
    drawn = [
        random.choice(rows, min(most, len(rows)), replace=False) for rows, most in ((clips, CLIPS), (notes, NOTES))
    ]
    for name, change in CHANGES.items():
        cells, false = [], 0
        for rows in drawn:
            copies = altered(packed, rows, change)
            told = near_duplicates(copies, prints, progress=False)
            rates = [match.bit_error_rate for match in told if match.query == match.reference]
            spread = [f"{np.median(rates):.3f}", f"{max(rates):.3f}"] if rates else ["", ""]
            cells += [f"{len(rates)} / {len(copies)}" if copies else "", *spread]
            false += sum(apart(match, groups) for match in told)
        yield f"| {name} | {' | '.join(cells)} | {false} |"


def groups_of(packed: Pack) -> dict[str, str]:
    """The group of each track; one without is one by itself."""
    return {track.id: track.group or track.id for track in packed.tracks}


def apart(match: Match, groups: Mapping[str, str]) -> bool:
    """Whether a match is of two groups."""
    return groups[match.query] != groups[match.reference]


def all_pairs(packed: Pack, prints: Mapping[str, np.ndarray]) -> Iterator[str]:
    """A line a limit: pairs of one group and of two, and the most alike of these."""
    groups = groups_of(packed)
    for limit in LIMITS:
        with patch.object(matches, "LIMIT", limit):
            begun = time.process_time()
            told = near_duplicates(prints, prints, progress=False)
            seconds = time.process_time() - begun
        pairs = [match for match in told if match.query < match.reference]
        false = [match for match in pairs if apart(match, groups)]
        own = " (ours)" if limit == matches.LIMIT else ""
        nearest = ""
        if false:
            names = " and ".join(Path(id).stem for id in (false[0].query, false[0].reference))
            nearest = f"{false[0].bit_error_rate:.3f}: {names}"
        yield f"| {limit:.2f}{own} | {len(pairs) - len(false)} | {len(false)} | {nearest} | {seconds:.1f} |"


def speed(packed: Pack) -> list[str]:
    """Two lines: fingerprints, and the transforms alone, in seconds of audio a second."""
    waves = [heard(packed, int(row)) for row in np.argsort(packed.samples)[-TIMED:]]
    seconds = sum(map(len, waves)) / RATE
    rate = RATE / (RATE // bits.WORKING_HZ)
    length = next_fast_len(round(bits.WINDOW_SECONDS * rate), real=True)
    frames = np.random.default_rng(SEED).normal(size=(bits.FRAMES_AT_ONCE, length)).astype(np.float32)
    batches = round(seconds / bits.HOP_SECONDS / len(frames))

    def whole() -> None:
        for wave in waves:
            fingerprint([wave], RATE)

    def transforms() -> None:
        for _ in range(batches):
            rfft(frames, axis=1)

    ways = {"fingerprints": whole, f"the transforms alone, rfft of {length:,} float32": transforms}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(ROUNDS + 1):
        for name, way in ways.items():
            begun = time.process_time()
            way()
            if turn:  # the first round warms caches up
                times[name].append(time.process_time() - begun)
    medians = {name: statistics.median(lasted) for name, lasted in times.items()}
    floor = list(medians.values())[-1]
    return [
        f"| {name} | {seconds / medians[name]:,.0f} ({seconds / max(lasted):,.0f} … {seconds / min(lasted):,.0f}) "
        f"| {medians[name] / floor:.2f} |"
        for name, lasted in times.items()
    ]


def catalog_of(music: Path | None, folder: Path) -> Catalog:
    if music is None:
        return Synthetic(folder / "music", pieces=60, seconds=9.0)
    return Folder(music, labels=music / "tracks.csv", columns=[])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("music", type=Path, nargs="?")
    parser.add_argument("--pack", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if chosen.pack is None:
            packed = pack(catalog_of(chosen.music, folder), folder / "pack", sample_rate=RATE)
        else:
            packed = Pack(chosen.pack)
        assert packed.sample_rate == RATE, f"{chosen.pack}: packed at {packed.sample_rate} Hz; wanted {RATE}"
        stored = fingerprint_catalog(packed, folder / "prints")
        prints = {id: np.array(stored[id]) for id in stored}
        hours = packed.samples.sum() / RATE / 3600
        size = sum(map(len, prints.values())) * 4 / 1e6
        lines = [
            "# Fingerprints",
            "",
            f"{len(prints):,} clips of {len(set(groups_of(packed).values())):,} groups, {hours:.2f} h, catalog "
            f"{packed.fingerprint()}, seed {SEED}; {len(stored.broken)} more are shorter than 0.38 s; {size:.1f} MB, "
            f"{30 / bits.HOP_SECONDS * 4 / 1e3:.1f} KB for half a minute. "
            f"{os.cpu_count()} cores ({platform.machine()}), one thread, processor time; Python "
            f"{platform.python_version()}, NumPy {np.__version__}, SciPy {scipy.__version__}. No other fingerprinter "
            "is installed here to stand beside it.",
            "",
            "## Copies that are found",
            "",
            f"Of clips of more than 3.4 s, and of notes of 1.9 to 3.4 s, looked up among all clips with the limit "
            f"{matches.LIMIT:.2f}: found / asked, median and highest bit error rate of those found. False: matches "
            "with a clip of another group.",
            "",
            "| change | clips found | median | highest | notes found | median | highest | false |",
            "|---|---:|---:|---:|---:|---:|---:|---:|",
            *found_again(packed, prints),
            "",
            "## What is mistaken for a copy",
            "",
            "All clips against all. Clips of one group share audio or do not, those of two groups should not. Limits "
            "are of the bit error rate.",
            "",
            "| limit | pairs of one group | pairs of two | most alike of these | CPU s |",
            "|---|---:|---:|---|---:|",
            *all_pairs(packed, prints),
            "",
            "## Speed",
            "",
            f"Of {TIMED} clips, medians of {ROUNDS} rounds, slowest and fastest in brackets.",
            "",
            "| way | × real time | time, × transforms |",
            "|---|---:|---:|",
            *speed(packed),
            "",
            f"Written by `benchmarks/{Path(__file__).name}`.",
        ]
    print("\n".join(lines))
    if chosen.music is not None or chosen.pack is not None:
        with replacing(RESULTS) as temporary:
            temporary.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
