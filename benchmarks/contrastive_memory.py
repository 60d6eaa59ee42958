"""What NT-Xent costs at batches whose similarities fit into no memory: peak memory and time, forward and backward.

    python benchmarks/contrastive_memory.py [THREADS]        writes benchmarks/results/contrastive_memory.md

Each row is a process of its own on the CPU, D = 128, float32; the peak is the resident set's above what the process
had before, embeddings included in that. It must stay within 1 GiB and grow in proportion to B at most.
"""

import platform
import subprocess
import sys
from pathlib import Path

import torch

from ssl_music._files import replacing

PAIRS, DIMENSIONS, MUST_FIT_MIB = (4096, 8192, 16384, 32768), 128, 1024
RESULTS = Path(__file__).parent / "results" / "contrastive_memory.md"

ONE = """
import resource, sys, time, torch
from ssl_music.losses import nt_xent
pairs, dimensions, threads, decoupled = map(int, sys.argv[1:])
torch.set_num_threads(threads)
a, b = (torch.randn(pairs, dimensions).requires_grad_() for _ in range(2))
nt_xent(a[:4], b[:4]).backward()
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
nt_xent(a, b, decoupled=bool(decoupled)).backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, time.perf_counter() - start)
"""


def measured(pairs: int, threads: int, decoupled: bool) -> tuple[float, float]:
    """MiB over what the process had, and seconds."""
    words = [str(int(word)) for word in (pairs, DIMENSIONS, threads, decoupled)]
    out = subprocess.run([sys.executable, "-c", ONE, *words], capture_output=True, text=True, check=True).stdout
    mebibytes, seconds = map(float, out.split())
    return mebibytes, seconds


def main() -> None:
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    cases = [(PAIRS[1], True)] + [(pairs, False) for pairs in PAIRS]
    lines = []
    for pairs, decoupled in cases:
        mebibytes, seconds = measured(pairs, threads, decoupled)
        one_matrix = (2 * pairs) ** 2 * 4 / 2**20
        name = "decoupled" if decoupled else "NT-Xent"
        lines.append(f"| {name} | {pairs:,} | {2 * pairs:,} | {one_matrix:,.0f} | {mebibytes:,.0f} | {seconds:.1f} |")
        print(lines[-1], flush=True)
        assert mebibytes < MUST_FIT_MIB, f"{mebibytes:.0f} MiB; wanted below {MUST_FIT_MIB}"
    head = (
        "# Memory of NT-Xent\n\nWritten by `benchmarks/contrastive_memory.py`: one forward and backward pass, "
        f"D = {DIMENSIONS}, float32, torch {torch.__version__}, threads for torch: {threads}, {platform.machine()}. "
        "Peak is above what the process had before. Seconds by the clock, with whatever else the machine did.\n\n"
        "| loss | pairs B | rows 2B | one (2B, 2B) matrix, MiB | peak, MiB | seconds |\n"
        "|---|---:|---:|---:|---:|---:|\n"
    )
    with replacing(RESULTS) as path:
        path.write_text(head + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
