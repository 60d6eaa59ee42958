"""How a track is cut into chunks, and what the header of a store of vectors must say."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ssl_music._ledger import Row
from ssl_music.errors import UserError

POOLED = "pooled.npy"

#: what the header of a store must say; `columns` maps a label column to whether its tags go together
HEADER = (
    "digest",
    "encoder",
    "embedding_dim",
    "sample_rate",
    "input_samples",
    "hop_samples",
    "split_name",
    "catalog_fingerprint",
    "columns",
)


def chunk_starts(samples: int, *, input_samples: int, hop_samples: int) -> np.ndarray:
    """Where the chunks of a track of `samples` begin, in samples.

    Chunks start at 0, hop, 2·hop … while they fit. What is left behind the last one is heard too where it is longer
    than half a chunk: by one more chunk that ends where the track ends. A track shorter than a chunk is one chunk,
    which the embedder loops.

    >>> chunk_starts(1000, input_samples=400, hop_samples=400)
    array([  0, 400])
    >>> chunk_starts(1001, input_samples=400, hop_samples=400)
    array([  0, 400, 601])
    >>> chunk_starts(100, input_samples=400, hop_samples=400)
    array([0])
    """
    if min(samples, input_samples, hop_samples) < 1:
        raise UserError(
            f"samples {samples}, input_samples {input_samples}, hop_samples {hop_samples}: all must be ≥ 1"
        )
    starts = np.arange(0, max(samples - input_samples, 0) + 1, hop_samples)
    left = samples - (int(starts[-1]) + input_samples)
    return np.append(starts, samples - input_samples) if 2 * left > input_samples else starts


def row_starts(row: Row, header: Mapping[str, Any]) -> np.ndarray:
    """`chunk_starts` of a track whose length stands in its row."""
    samples = round(row.seconds * header["sample_rate"])
    return chunk_starts(samples, input_samples=header["input_samples"], hop_samples=header["hop_samples"])
