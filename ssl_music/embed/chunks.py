"""Blocks of audio as they are decoded → chunks as the encoder wants them, by the rule of `vectors.chunk_starts`."""

from collections.abc import Iterable, Iterator

import numpy as np


class Chunks:
    """Cuts a stream of blocks, each (n,) float32, into chunks of (input_samples,), holding about one chunk.

    After the last chunk `samples` says how long the stream was; `vectors.chunk_starts(samples, …)` says where the
    chunks began. A stream shorter than one chunk is looped.

    >>> chunks = Chunks([np.arange(5.0), np.arange(5.0, 11.0)], input_samples=4, hop_samples=4)
    >>> [chunk.tolist() for chunk in chunks], chunks.samples
    ([[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [7.0, 8.0, 9.0, 10.0]], 11)
    """

    def __init__(self, blocks: Iterable[np.ndarray], *, input_samples: int, hop_samples: int) -> None:
        self.blocks = blocks
        self.input_samples = input_samples
        self.hop_samples = hop_samples
        self.samples = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        size, start = self.input_samples, 0  # start: where the next chunk begins
        held, begins = np.empty(0, np.float32), 0  # held[0] is sample number `begins`
        self.samples = 0
        for block in self.blocks:
            held = np.concatenate([held, block]) if len(held) else block
            self.samples += len(block)
            while start + size <= self.samples:
                yield held[start - begins : start - begins + size]
                start += self.hop_samples
            # the last chunk may have to end where the track ends, so `size` samples stay
            keep = max(0, min(start, self.samples - size) - begins)
            held, begins = held[keep:], begins + keep
        if not self.samples:
            return
        if self.samples < size:
            yield np.resize(held, size)
        elif 2 * (self.samples - (start - self.hop_samples + size)) > size:
            yield held[-size:]
