"""A catalog of tones in memory and a tiny training, for the tests; as a program, a training to be killed.

python training_toy.py OUT '{"batch_size": 4, "kill": ["batch", 1, 2]}'
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pytorch_lightning import Callback

from ssl_music._registry import members
from ssl_music.augment import Gain, Noise
from ssl_music.catalogs import Catalog, Track
from ssl_music.encoders import SampleCNN
from ssl_music.methods import Method, Supervised
from ssl_music.methods.optimize import Optimization
from ssl_music.methods.train import OnlineProbe, train

RATE = 8000
KINDS = ("high", "low", "middle")
#: methods by their class's name, and what makes them small
SMALL: dict[str, dict[str, Any]] = {
    "BYOL": {"hidden_dim": 12, "projection_dim": 8, "momentum": 0.9},
    "COLA": {"projection_dim": 8},
    "CPC": {"segments": 4, "steps": 2, "context_dim": 8},
    "Editorial": {},
    "MetricLearning": {"column": "traits", "loss": "multi_similarity"},
    "MoCo": {"queue_size": 10, "projection_dim": 8, "momentum": 0.9},
    "MoCoV3": {"hidden_dim": 12, "projection_dim": 8, "momentum": 0.9},
    "PASE": {},
    "SimCLR": {"projection_dim": 8},
    "Supervised": {"column": "traits"},
    "VICReg": {"expander_dim": 12},
}


class Tones(Catalog):
    """Tracks of half a second: a tone of one of three pitches in noise, steady or trembling. A Waves too."""

    columns: ClassVar = {"pitch": False, "some": False, "traits": True}  # "some": only half of the tracks have it
    split_name = "toy"
    sample_rate = RATE

    def __init__(self, train: int = 18, valid: int = 9, seconds: float = 0.5) -> None:
        generator, count = np.random.default_rng(0), train + valid
        time = np.arange(int(seconds * RATE)) / RATE
        self._tracks, waves = [], []
        for number in range(count):
            kind, trembling = KINDS[number % 3], number % 2 == 1
            hz = {"low": 200, "middle": 600, "high": 1800}[kind] * generator.uniform(0.9, 1.1)
            wave = np.sin(2 * np.pi * hz * time) * (1 + 0.8 * trembling * np.sin(2 * np.pi * 9 * time)) / 4
            waves.append(np.round((wave + 0.02 * generator.standard_normal(len(time))) * 32767))
            traits = (kind, "trembling") if trembling else (kind,)
            labels = {"pitch": (kind,), "traits": traits} | ({"some": (kind,)} if number % 6 < 3 else {})
            facts = {"artist": f"{kind} {number % 2}", "album": kind, "labels": labels}
            split = "train" if number < train else "valid"
            self._tracks.append(Track(f"{number:03d}", Path(f"/tones/{number:03d}"), split=split, **facts))
        self._waves = np.array(waves, np.int16)
        self.samples = np.full(count, len(time))

    @property
    def tracks(self) -> list[Track]:
        return self._tracks

    def gather(self, rows: np.ndarray, starts: np.ndarray, count: int) -> np.ndarray:
        return self._waves[np.asarray(rows)[:, None], np.asarray(starts)[:, None] + np.arange(count)]


class Stop(Callback):
    """Ends the process, or raises, at a place of the training: ("batch" | "epoch" | "valid", epoch, batch)."""

    def __init__(self, place: list | None, how: str) -> None:
        self.place, self.how = place and tuple(place), how

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self._perhaps("batch", trainer.current_epoch, batch_idx)

    def on_validation_end(self, trainer, pl_module) -> None:
        self._perhaps("valid", trainer.current_epoch, 0)

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        self._perhaps("epoch", trainer.current_epoch, 0)

    def _perhaps(self, *place: Any) -> None:
        if place != self.place:
            return
        if self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise KeyboardInterrupt if self.how == "interrupt" else RuntimeError("stopped by the test")


def tiny_encoder(norm: str = "layer", width: int = 4) -> SampleCNN:
    """243 samples in, 16 numbers out."""
    return SampleCNN(width=width, depth=4, norm=norm, sample_rate=RATE)


def tiny_method(kind: str = "SimCLR", *, norm: str = "layer", augment: bool = True, seed: int = 7) -> Method:
    """A method with weights that the seed decides."""
    torch.manual_seed(seed)
    effects = [Gain(p=0.5), Noise(p=0.5, low_snr_db=10.0, high_snr_db=30.0)] if augment else []
    if kind in SMALL:
        return members(Method)[kind](tiny_encoder(norm), augment=effects, learning_rate=1e-2, **SMALL[kind])
    return Supervised(tiny_encoder(norm), kind, effects, hidden_dim=4, dropout=0.5, learning_rate=1e-2)


def tiny_training(
    out: Path,
    *,
    kind: str = "SimCLR",
    norm: str = "layer",
    augment: bool = True,
    stop: list | None = None,
    how: str = "raise",
    trainer: dict[str, Any] | None = None,
    online: OnlineProbe | dict | None = None,
    optimizer: Optimization | dict | None = None,
    **settings: Any,
) -> Path:
    """Two epochs of four batches, unless told otherwise."""
    options = {"accelerator": "cpu", "log_every_n_steps": 1, **(trainer or {})}
    if "max_steps" not in options:
        options.setdefault("max_epochs", 2)
    return train(
        tiny_method(kind, norm=norm, augment=augment),
        Tones(),
        out=out,
        trainer_options={**options, "callbacks": [Stop(stop, how)]},
        online=OnlineProbe(**online) if isinstance(online, dict) else online,
        optimizer=Optimization(**optimizer) if isinstance(optimizer, dict) else optimizer,
        **{"batch_size": 4, "seed": 3, **settings},
    )


def run_program(out: Path, settings: dict) -> subprocess.CompletedProcess:
    """`tiny_training` in a process of its own, with as many threads: sums in another order are other sums."""
    return subprocess.run(
        [sys.executable, __file__, str(out), json.dumps(settings)],
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    tiny_training(Path(sys.argv[1]), **json.loads(sys.argv[2]))
