"""Every method learns something: after a few steps on the synthetic catalog its encoder finds music better than it
did at random initialisation.

Judged by searching: the pieces by other artists in the order of their similarity to a query, and the average
precision with which those of its genre come first. Queries are the pieces of the valid and test splits, whose artists
the training has not heard. Norms are calibrated on the catalog, before and after alike.
"""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from ssl_music import checkpoint, pack
from ssl_music._registry import members
from ssl_music.catalogs import Synthetic, Track
from ssl_music.encoders import Encoder, ShortChunk
from ssl_music.methods import Method
from ssl_music.methods.train import train
from ssl_music.pack import Pack

#: in average precision; a guess has 0.1, and random encoders reach 0.2
GAIN = 0.01
CROPS = 6


class Case(NamedTuple):
    """A method's arguments here, and how long it trains."""

    arguments: dict[str, Any]
    steps: int = 100
    batch_size: int = 24


CASES = {
    "SimCLR": Case({"temperature": 0.1}, steps=200),
    "MoCo": Case({"queue_size": 256, "momentum": 0.99}, steps=200),
    "MoCoV3": Case({"hidden_dim": 128, "projection_dim": 64}),
    "BYOL": Case({"hidden_dim": 128, "projection_dim": 64, "momentum": 0.99}, steps=300),
    "VICReg": Case({}),
    "COLA": Case({"learning_rate": 3e-4}, steps=200),
    "CPC": Case({"segments": 4, "steps": 1, "learning_rate": 1e-3}, batch_size=12),
    "PASE": Case({}, batch_size=12),
    "Supervised": Case({"column": "genre"}),
    "NoisyStudent": Case({"column": "genre"}),
    "Consistency": Case({"column": "genre"}),
    "MetricLearning": Case({"column": "genre"}),
    "Editorial": Case({}),
}


class HalfLabelled(Pack):
    """Half of the train split has lost its genre: what semi-supervised methods are for."""

    @property
    def tracks(self) -> list[Track]:
        return [
            replace(track, labels={}) if track.split == "train" and number // 10 % 2 else track
            for number, track in enumerate(super().tracks)
        ]


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    root = tmp_path_factory.mktemp("synthetic")
    catalog = Synthetic(root / "music", pieces=120, seed=3)
    return pack.pack(catalog, root / "pack", sample_rate=22050, progress=False)


def small_encoder() -> Encoder:
    torch.manual_seed(0)
    return ShortChunk(width=8, depth=4, bands=48, sample_rate=22050, input_samples=16384, n_fft=1024, hop=512)


@torch.no_grad()
def found(encoder: Encoder, music: Pack) -> float:
    """The share of a query's nearest pieces, by other artists, that are of its genre."""
    encoder, rows = copy.deepcopy(encoder), np.arange(len(music.tracks))
    starts = np.linspace(0, int(music.samples.min()) - encoder.input_samples, CROPS).astype(int)
    waves = [music.gather(rows, np.full(len(rows), start), encoder.input_samples) for start in starts]
    clips = [torch.from_numpy(wave).float()[:, None] / 32768 for wave in waves]
    for norm in encoder.modules():
        if isinstance(norm, torch.nn.modules.batchnorm._BatchNorm):
            norm.reset_running_stats()
            norm.momentum = None
    encoder.train()
    for clip in clips:
        encoder(clip)
    encoder.eval()
    rows_of = torch.stack([encoder(clip) for clip in clips]).mean(0).double()  # (N, D)
    unit = torch.nn.functional.normalize((rows_of - rows_of.mean(0)) / (rows_of.std(0) + 1e-9), dim=1)
    similarity = (unit @ unit.T).numpy()
    genre = music.targets(music.tracks, "genre").argmax(1)
    artist = np.array([track.artist for track in music.tracks])
    precisions = []
    for query, track in enumerate(music.tracks):
        if track.split != "train":
            order = np.argsort(-similarity[query])
            hits = genre[order[artist[order] != artist[query]]] == genre[query]
            precisions.append((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())
    return float(np.mean(precisions))


@pytest.mark.parametrize("name", CASES)
def test_beats_its_random_initialisation(name: str, music: Pack, tmp_path: Path) -> None:
    case, encoder = CASES[name], small_encoder()
    before = found(encoder, music)
    torch.manual_seed(0)
    method = members(Method)[name](encoder, augment="light", **{"learning_rate": 3e-3, **case.arguments})
    weights = train(
        method,
        HalfLabelled(music.root),
        out=tmp_path,
        batch_size=case.batch_size,
        valid_split=None,
        epoch_of="seconds",
        trainer_options={"accelerator": "cpu", "max_steps": case.steps, "enable_progress_bar": False},
    )
    after = found(checkpoint.load_encoder(weights), music)
    assert after > before + GAIN, f"{name}: {before:.3f} before, {after:.3f} after"


def test_every_method_is_asked() -> None:
    ours = {name for name, kind in members(Method).items() if kind.__module__.startswith("ssl_music")}
    assert ours - set(CASES) == {"Collaborative"}, "which learns from listening: tests/test_collaborative.py"
