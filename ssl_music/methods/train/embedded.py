"""The embeddings of some tracks by an encoder that is being trained."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from ssl_music.clips import Waves
from ssl_music.encoders import Encoder


def embedded(encoder: Encoder, waves: Waves, rows: np.ndarray, clips: int, batch_size: int) -> np.ndarray:
    """The mean embedding of evenly spaced clips of each row; encoder and random state stay as they are: (N, D)."""
    weight = next(encoder.parameters(), torch.empty(0))
    device, dtype = weight.device, weight.dtype
    means = []
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad(), evaluating(encoder):
        for some in np.array_split(rows, -(-len(rows) // max(1, batch_size // clips))):
            wave = torch.from_numpy(evenly_spaced(waves, some, clips, encoder.input_samples))  # (n · clips, T)
            wave = wave.to(device).to(torch.float32).mul_(1 / 32768).unsqueeze(1).to(dtype)  # (n · clips, 1, T)
            means.append(encoder(wave).double().view(len(some), clips, -1).mean(dim=1).cpu().numpy())
    return np.concatenate(means)


def evenly_spaced(waves: Waves, rows: np.ndarray, clips: int, count: int) -> np.ndarray:
    """The middles of `clips` equal parts of each row, a short one repeated: (n · clips, count) int16."""
    rows = rows.repeat(clips)
    samples = waves.samples[rows]
    places = np.tile((np.arange(clips) + 0.5) / clips, len(rows) // clips)
    starts = np.maximum(0, (places * (samples - count)).astype(np.int64))
    whole = samples >= count
    found = np.empty((len(rows), count), np.int16)
    if whole.any():
        found[whole] = waves.gather(rows[whole], starts[whole], count)
    for at in np.flatnonzero(~whole):
        found[at] = np.resize(waves.gather(rows[at : at + 1], starts[at : at + 1], int(samples[at]))[0], count)
    return found


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """`module` in evaluation mode; each of its parts comes back to the mode that it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
