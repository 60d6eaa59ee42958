"""The embeddings of some tracks by an encoder that is being trained, and what their neighbours say of them."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from ssl_music.clips import Waves
from ssl_music.encoders import Encoder

#: of the weights exp(similarity / τ) of neighbours: Wu et al. 2018, arXiv 1805.01978, section 3.4
TEMPERATURE = 0.07


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


def neighbour_scores(known: np.ndarray, targets: np.ndarray, asked: np.ndarray, neighbours: int) -> np.ndarray:
    """What share of the nearest known rows has each tag, by cosine around the mean of the known.

    A neighbour weighs exp(similarity / 0.07), as in Wu et al. 2018 (arXiv 1805.01978, section 3.4).

    Shape: known (M, D), targets (M, K), asked (N, D) → (N, K).

    >>> known, targets = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]), np.eye(3)
    >>> neighbour_scores(known, targets, np.array([[2.0, 0.1]]), neighbours=2).round(3)
    array([[1., 0., 0.]])
    """
    middle = known.mean(axis=0)
    similarity = _unit(asked - middle) @ _unit(known - middle).T  # (N, M)
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :neighbours]  # (N, k)
    near = np.take_along_axis(similarity, nearest, axis=1)
    weights = np.exp((near - near[:, :1]) / TEMPERATURE)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.einsum("nk,nkt->nt", weights, targets[nearest])


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


def _unit(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)
