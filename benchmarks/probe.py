"""How long the `linear` protocol takes, against scikit-learn's one-versus-rest logistic regression at equal score.

    python benchmarks/probe.py [TRACKS [ROUNDS]]        writes benchmarks/results/probe.md, of 25,000 tracks only

Synthetic vectors as encoders give them: 512-d float32, correlated (deviations along the principal axes fall with the
square root of their number), 50 tags of 1 to 30 % of the tracks. Tenths of them are valid and test. Both sides do all
of the protocol: standardise, fit each of the eleven L2 strengths on train, choose by the macro ROC-AUC on valid, fit
again on train and valid, score test. scikit-learn has its defaults (L-BFGS, tol 1e-4) but for max_iter. Its whole
protocol takes minutes and runs once; the middle one of the strengths is timed in rounds in which all ways take turns.
Threads: as many as BLAS takes; OMP_NUM_THREADS sets others. The whole takes some five minutes.
"""

import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import sklearn
from readme import fill_readme
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info

from ssl_music._files import replacing
from ssl_music._ledger import Row
from ssl_music.probe import PROTOCOLS, probe
from ssl_music.probe.fitted import L2_STRENGTHS
from ssl_music.probe.linear import linear_path
from ssl_music.probe.logistic import Logistic
from ssl_music.probe.task import Part
from ssl_music.vectors import Vectors, VectorsWriter

TRACKS, DIMENSIONS, TAGS, ROUNDS = 25_000, 512, 50, 5
MIDDLE = L2_STRENGTHS[len(L2_STRENGTHS) // 2]
RESULTS = Path(__file__).parent / "results" / "probe.md"


def synthetic(tracks: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, D) and targets (N, K) of which a linear classifier tells a good part."""
    random = np.random.default_rng(0)
    hidden = random.normal(size=(tracks, DIMENSIONS))
    axes = np.linalg.qr(random.normal(size=(DIMENSIONS, DIMENSIONS)))[0]
    order = np.arange(1, DIMENSIONS + 1)
    features = (hidden / np.sqrt(order)) @ axes + 0.02 * random.normal(size=hidden.shape)
    features = features * random.uniform(0.5, 2, DIMENSIONS) + random.normal(size=DIMENSIONS)
    told = hidden @ (random.normal(size=(DIMENSIONS, TAGS)) / order[:, None] ** 0.7)
    told = 2 * told / told.std(axis=0) + random.logistic(size=told.shape)
    shares = np.geomspace(0.01, 0.3, TAGS)
    thresholds = np.array([np.quantile(tag, 1 - share) for tag, share in zip(told.T, shares, strict=True)])
    return features.astype(np.float32), (told > thresholds).astype(np.float32)


def parts(features: np.ndarray, targets: np.ndarray) -> dict[str, Part]:
    tenth = len(features) // 10
    rows = dict(
        zip(("train", "valid", "test"), np.split(np.arange(len(features)), [-2 * tenth, -tenth]), strict=True)
    )
    return {name: Part(some, features[some], targets[some], np.arange(len(some))) for name, some in rows.items()}


def stored(folder: str, task: dict[str, Part]) -> Vectors:
    header = {
        "digest": "00",
        "encoder": "synthetic",
        "embedding_dim": DIMENSIONS,
        "sample_rate": 1,
        "input_samples": 1,
        "hop_samples": 1,
        "split_name": "synthetic",
        "catalog_fingerprint": "00",
        "columns": {"tag": True},
    }
    with VectorsWriter(folder, header=header) as writer:
        for split, some in task.items():
            for row, vector, track in zip(some.rows, some.features, some.targets, strict=True):
                labels = {"tag": tuple(f"{tag:02}" for tag in np.flatnonzero(track))}
                writer.append(Row(str(row), labels=labels, split=split, seconds=1.0), [vector[None]])
        return writer.finish()


def our_protocol(task: dict[str, Part]) -> tuple[float, np.ndarray]:
    chosen = PROTOCOLS["linear"](task["train"], task["valid"], "multi", 0, True)
    return chosen.settings["l2"], chosen.score(task["test"].features)


def our_strength(task: dict[str, Part]) -> np.ndarray:
    train, _, test = task.values()
    (score,) = linear_path(train.features, train.targets, kind="multi", l2_strengths=[MIDDLE])
    return score(test.features)


def their_fit(features: np.ndarray, targets: np.ndarray, l2: float, jobs: int) -> Callable[[np.ndarray], np.ndarray]:
    scale = StandardScaler().fit(features)
    one = LogisticRegression(C=1 / (l2 * len(features)), max_iter=2000)
    fitted = OneVsRestClassifier(one, n_jobs=jobs).fit(scale.transform(features), targets.astype(int))
    return lambda features: fitted.predict_proba(scale.transform(features))


def their_protocol(task: dict[str, Part], jobs: int) -> tuple[float, np.ndarray]:
    train, valid, test = task.values()
    reached = [
        roc_auc_score(valid.targets, their_fit(train.features, train.targets, l2, jobs)(valid.features))
        for l2 in L2_STRENGTHS
    ]
    l2 = L2_STRENGTHS[int(np.argmax(reached))]
    both = [np.concatenate(arrays) for arrays in zip(train[1:3], valid[1:3], strict=True)]
    return l2, their_fit(*both, l2, jobs)(test.features)


def their_strength(task: dict[str, Part], jobs: int) -> np.ndarray:
    train, _, test = task.values()
    return their_fit(train.features, train.targets, MIDDLE, jobs)(test.features)


@contextmanager
def counted() -> Iterator[dict[type, float]]:
    """GFLOP of the matrix products of the optimiser, by their precision, and of nothing else."""
    done = {np.float32: 0.0, np.float64: 0.0}
    at, curved = Logistic.at, Logistic.curved

    def count(precision: type, problem: Logistic, weights: np.ndarray) -> None:
        done[precision] += 4 * len(problem.targets) * weights.size / 1e9  # forth and back, multiply and add

    def counting_at(problem, weights):
        count(np.float64, problem, weights)
        return at(problem, weights)

    def counting_curved(problem, point, direction):
        count(np.float32, problem, direction)
        return curved(problem, point, direction)

    Logistic.at, Logistic.curved = counting_at, counting_curved
    try:
        yield done
    finally:
        Logistic.at, Logistic.curved = at, curved


def product_speed(precision: type) -> float:
    """GFLOP/s of big square matrix products on all threads: the physical limit. The fastest of some."""
    matrix = np.random.default_rng(0).normal(size=(2048, 2048)).astype(precision)
    seconds = [timed(lambda: matrix @ matrix)[0] for _ in range(7)]
    return 2 * 2048**3 / 1e9 / min(seconds)


def timed(way: Callable) -> tuple[float, object]:
    begun = time.perf_counter()
    result = way()
    return time.perf_counter() - begun, result


def spread(seconds: list[float]) -> str:
    around = f" ({min(seconds):.1f} … {max(seconds):.1f})" if len(seconds) > 1 else " (one run)"
    return f"{statistics.median(seconds):.1f}{around}"


def main() -> None:
    tracks = int(sys.argv[1]) if len(sys.argv) > 1 else TRACKS
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    task = parts(*synthetic(tracks))
    threads = max(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")
    truth = task["test"].targets

    with tempfile.TemporaryDirectory() as folder:
        vectors = stored(folder, task)
        whole, result = timed(lambda: probe(vectors, "tag"))
    print(f"probe, with intervals: {whole:.1f} s, L2 {result.settings['l2']:g}", flush=True)

    # in turns, so that what else the machine does hits all alike
    names = ["our protocol", "our strength", "their strength", "their strength, 2 jobs"]
    ways = [our_protocol, our_strength, lambda task: their_strength(task, 1), lambda task: their_strength(task, 2)]
    taken: dict[str, list[float]] = {name: [] for name in names}
    told: dict[str, np.ndarray] = {}
    chosen: dict[str, float] = dict.fromkeys(names[1:], MIDDLE)
    for _ in range(rounds):
        for name, way in zip(names, ways, strict=True):
            seconds, scores = timed(lambda way=way: way(task))
            taken[name].append(seconds)
            if name == "our protocol":
                chosen[name], scores = scores
            told[name] = scores
            print(f"{name}: {seconds:.1f} s", flush=True)
    jobs = 1 + (statistics.median(taken[names[3]]) < statistics.median(taken[names[2]]))
    name = f"their protocol{', 2 jobs' if jobs == 2 else ''}"
    seconds, (chosen[name], told[name]) = timed(lambda: their_protocol(task, jobs))
    taken[name] = [seconds]

    with counted() as done:
        our_protocol(task)
    train, both = len(task["train"].rows), tracks - len(truth)
    done[np.float64] += 4 * (train + both) * DIMENSIONS**2 / 1e9  # second moments, and the turn to the axes
    speed = {precision: product_speed(precision) for precision in done}
    limit = sum(done[precision] / speed[precision] for precision in done)

    rows = []
    pairs = {"our protocol": name, "our strength": min(names[2:], key=lambda name: statistics.median(taken[name]))}
    for way, theirs in pairs.items():
        ratio = statistics.median(taken[theirs]) / statistics.median(taken[way])
        area = [roc_auc_score(truth, told[one]) for one in (way, theirs)]
        what = "all 11 strengths, chosen on valid, refit" if "protocol" in way else "one strength, on train"
        differ = np.abs(told[way] - told[theirs]).max()
        rows += [
            f"| {what} | this toolkit | {spread(taken[way])} | {ratio:.1f} × | {chosen[way]:g} | {area[0]:.5f} | |",
            f"| {what} | scikit-learn{', 2 jobs' if '2' in theirs else ''} | {spread(taken[theirs])} | 1 × "
            f"| {chosen[theirs]:g} | {area[1]:.5f} | {differ:.1e} |",
        ]
    slower = max(names[2:], key=lambda name: statistics.median(taken[name]))
    median = statistics.median(taken["our protocol"])
    sizes = " / ".join(f"{len(part.rows):,}" for part in task.values())
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, scikit-learn {sklearn.__version__}"
    lines = [
        f"# The linear probe: {tracks:,} tracks × {DIMENSIONS} × {TAGS} tags",
        "",
        f"Written by `benchmarks/probe.py`. {os.cpu_count()} cores ({platform.machine()}), threads for BLAS and us: "
        f"{threads}; {versions}. Synthetic vectors, {sizes} train / valid / test. Seconds by the clock, median of "
        f"{rounds} rounds, fastest and slowest in brackets. scikit-learn: "
        "`OneVsRestClassifier(LogisticRegression())` on the same standardised features, in one job with BLAS on all "
        "threads or in two jobs, whichever is faster; "
        f"for the one strength the other takes {spread(taken[slower])} s.",
        "",
        "| what | who | seconds | faster | L2 | macro ROC-AUC of test | scores differ at most |",
        "|---|---|---:|---:|---:|---:|---:|",
        *rows,
        "",
        f"With vectors read from disk, all metrics and the bootstrap of 1000 draws, `probe` takes {whole:.1f} s.",
        "",
        f"Physical limit: {done[np.float32]:,.0f} GFLOP of matrix products in float32 and {done[np.float64]:,.0f} in "
        f"float64, at the {speed[np.float32]:,.0f} and {speed[np.float64]:,.0f} GFLOP/s that big square matrix "
        f"products reach here on all threads, take {limit:.1f} s; "
        f"the protocol takes {median / limit:.1f} times that.",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if tracks == TRACKS:
        with replacing(RESULTS) as path:
            path.write_text(text)
        fill_readme("probe", "\n".join(line for line in lines if line.startswith("|")))


if __name__ == "__main__":
    main()
