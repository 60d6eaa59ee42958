"""What reading and storing cost beside the forward pass itself, when a catalog is embedded.

    python benchmarks/embedding.py        writes benchmarks/results/embedding.md

Bare: the encoder on full batches that lie in memory. The pipeline: `embed` as users run it, from a pack and from ogg
files, vectors written to disk. Both are timed in turns, so that a busy machine hurts both alike; medians of the
rounds. The pipeline must reach 95 % of the bare rate.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from ssl_music import audio
from ssl_music import pack as packing
from ssl_music._files import replacing
from ssl_music.catalogs import Catalog, Folder
from ssl_music.embed import embed
from ssl_music.encoders import Encoder, SampleCNN, ShortChunk

SECONDS, TRACKS, BATCH, MUST_REACH = 30, 12, 16, 0.95
RESULTS = Path(__file__).parent / "results" / "embedding.md"
ENCODERS = [("SampleCNN as published", SampleCNN), ("ShortChunk as published", ShortChunk)]


def bare_rate(encoder: Encoder, batches: int) -> float:
    """Clips a second of the forward pass on batches in memory."""
    wave = torch.randn(BATCH, 1, encoder.input_samples) * 0.1
    with torch.inference_mode():
        begun = time.perf_counter()
        for _ in range(batches):
            encoder(wave)
    return BATCH * batches / (time.perf_counter() - begun)


def pipeline_rate(encoder: Encoder, catalog: Catalog, out: Path) -> float:
    """Clips a second of a whole embedding, start to finished store."""
    begun = time.perf_counter()
    vectors = embed(catalog, encoder, out, batch_size=BATCH, progress=False)
    return len(vectors.chunks) / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder, rng = Path(name), np.random.default_rng(0)
        for number in range(TRACKS):
            wave = np.cumsum(rng.uniform(-1, 1, SECONDS * 22050)) % 2 - 1
            audio.write(folder / "music" / f"{number:02d}.ogg", (0.3 * wave).astype(np.float32), 22050)
        files = Folder(folder / "music")
        for title, kind in ENCODERS:
            torch.manual_seed(0)
            encoder = kind().eval()
            packed = packing.pack(files, folder / title, sample_rate=encoder.sample_rate, progress=False)
            batches = sum(int(samples / encoder.input_samples + 0.5) for samples in packed.samples) // BATCH
            bare_rate(encoder, 1)
            found: dict[str, list[float]] = {"bare": [], "pack": [], "files": []}
            for turn in range(rounds):
                found["bare"].append(bare_rate(encoder, batches))
                found["pack"].append(pipeline_rate(encoder, packed, folder / f"{title}-pack-{turn}"))
                found["files"].append(pipeline_rate(encoder, files, folder / f"{title}-files-{turn}"))
            shares = {
                source: statistics.median(a / b for a, b in zip(found[source], found["bare"], strict=True))
                for source in ("pack", "files")
            }
            rates = " | ".join(f"{statistics.median(found[source]):.1f}" for source in ("bare", "pack", "files"))
            told = " | ".join(
                f"**{shares[source]:.1%}** {'' if shares[source] >= MUST_REACH else '(missed)'}"
                for source in ("pack", "files")
            )
            lines.append(f"| {title} | {rates} | {told} |")
            print(lines[-1], flush=True)
    text = f"""# Embedding: the whole pipeline beside the bare forward pass

{os.cpu_count()} cores ({platform.machine()}), {torch.get_num_threads()} threads for torch {torch.__version__};
{TRACKS} tracks of {SECONDS} s, batches of {BATCH}; the bare rate is the limit. Medians of {rounds} rounds in turns;
shares are medians of the rounds' ratios, at least {MUST_REACH:.0%} is wanted.

| encoder | bare, clips/s | from a pack | from ogg files | pack / bare | files / bare |
|---|---:|---:|---:|---:|---:|
{chr(10).join(lines)}

Written by `benchmarks/embedding.py`.
"""
    with replacing(RESULTS) as temporary:
        temporary.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
