"""A tagger of three synthetic instruments, fitted in a second, and songs of them."""

from functools import lru_cache

import numpy as np
import torch

from ssl_music.catalogs.synthesis.instruments import INSTRUMENTS, SAMPLE_RATE
from ssl_music.encoders import LogMelStatistics
from ssl_music.tagger import Tagger

TAGS = ["flute", "guitar", "strings"]
WINDOW_SECONDS = 1.0


def played(instrument: str, seconds: float, *, seed: int) -> np.ndarray:
    """Notes of 0.2 to 0.5 s, one behind the other, at random pitches between 200 and 800 Hz."""
    rng = np.random.default_rng(seed)
    wave, at = np.zeros(round(seconds * SAMPLE_RATE), np.float32), 0
    while at < len(wave):
        held = rng.uniform(0.2, 0.5)
        note = INSTRUMENTS[instrument](200 * 4 ** rng.uniform(), held, 0.0, rng)
        note = (0.3 * note / np.abs(note).max())[: len(wave) - at]
        wave[at : at + len(note)] += note
        at += round(held * SAMPLE_RATE)
    return wave


def song(first: str, second: str, *, change_seconds: float, seconds: float, seed: int = 99) -> np.ndarray:
    """One instrument up to the change, another one from there on."""
    return np.concatenate(
        [played(first, change_seconds, seed=seed), played(second, seconds - change_seconds, seed=seed + 1)]
    )


@lru_cache
def tagger() -> Tagger:
    """Log-mel statistics of a second and a linear head: softmax regression on 150 clips."""
    size = round(WINDOW_SECONDS * SAMPLE_RATE)
    encoder = LogMelStatistics(bands=32, input_samples=size).eval()
    clips = np.stack([played(TAGS[number % 3], WINDOW_SECONDS, seed=number) for number in range(150)])
    truth = torch.arange(150) % 3
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Tagger(encoder, TAGS, column="instrument", multi_label=False)
        with torch.no_grad():
            features = encoder(torch.from_numpy(clips).unsqueeze(1))
        deviation, mean = torch.std_mean(features, dim=0)
        inputs = (features - mean) / deviation
        head = torch.nn.Linear(inputs.shape[1], 3)
        optimiser = torch.optim.Adam(head.parameters(), lr=0.01, weight_decay=1e-3)
        for _ in range(150):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(head(inputs), truth).backward()
            optimiser.step()
        with torch.no_grad():  # the standardisation becomes part of the head
            model.head[-1].weight.copy_(head.weight / deviation)
            model.head[-1].bias.copy_(head.bias - head.weight @ (mean / deviation))
    return model.eval()
