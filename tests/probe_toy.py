"""Stores of vectors made by hand, for tests of probes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ssl_music._ledger import Row
from ssl_music.vectors import Vectors, VectorsWriter

SHARES = {"train": 0.6, "valid": 0.2, "test": 0.2}


def store(
    root: Path,
    features: np.ndarray | Sequence[np.ndarray],
    labels: Mapping[str, Sequence[tuple[str, ...]]],
    *,
    multi: Sequence[str] = (),
    splits: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    digest: str = "0123456789abcdef",
    order: np.ndarray | None = None,
) -> Vectors:
    """A store with one chunk a track, or with the chunks (n, D) given for each; 60 / 20 / 20 by position if not told.

    `order` writes the tracks in another order, each with its own id, labels and split.
    """
    chunks = [np.atleast_2d(one).astype(np.float32) for one in features]
    count = len(chunks)
    splits = splits or np.repeat(list(SHARES), [round(share * count) for share in SHARES.values()]).tolist()
    header = {
        "digest": digest,
        "encoder": "my_pkg.MyEncoder",
        "embedding_dim": chunks[0].shape[1],
        "sample_rate": 100,
        "input_samples": 100,
        "hop_samples": 100,
        "split_name": "by hand",
        "catalog_fingerprint": "fedcba9876543210",
        "columns": {name: name in multi for name in labels},
    }
    with VectorsWriter(root, header=header) as writer:
        for number in range(count) if order is None else order:
            row = Row(
                f"{number:05d}",
                labels={name: values[number] for name, values in labels.items()},
                split=splits[number],
                group=groups[number] if groups else "",
                seconds=float(len(chunks[number])),
            )
            writer.append(row, [chunks[number]])
        return writer.finish()


def gaussian(count: int, *, classes: int = 2, distance: float, seed: int = 0) -> tuple[np.ndarray, list[tuple[str]]]:
    """Unit Gaussians whose means lie `distance` apart pair by pair, in 8 dimensions."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, count)
    features = random.normal(size=(count, 8))
    features[np.arange(count), truth] += distance / np.sqrt(2)
    return features, [(f"class {number}",) for number in truth]
