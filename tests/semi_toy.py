"""Tones of which only some have labels, and a tiny noisy student; as a program, one to be killed.

python semi_toy.py OUT '{"stop": ["teacher", 1, 0], "how": "kill"}'
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback
from training_toy import Tones, tiny_encoder

from ssl_music.augment import Gain, Noise
from ssl_music.catalogs import Track
from ssl_music.methods import Consistency, Method, NoisyStudent
from ssl_music.methods.train import train


def stop(how: str) -> None:
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError("stopped by the test")


class PartlyLabelled(Tones):
    """Six of 18 tracks to train on and six of nine to validate with have labels.

    Tracks that a teacher hears are counted (it asks from the main thread); the one of number `stop_at` ends it all.
    """

    def __init__(self, stop_at: int | None = None, how: str = "raise") -> None:
        super().__init__()
        self.stop_at, self.how = stop_at, how
        self.labelled_tracks = 0

    @property
    def tracks(self) -> list[Track]:
        return [
            Track(track.id, track.path, labels=track.labels if self.has_labels(row) else {}, split=track.split)
            for row, track in enumerate(super().tracks)
        ]

    @staticmethod
    def has_labels(row: int) -> bool:
        return row < 6 or 18 <= row < 24

    def gather(self, rows: np.ndarray, starts: np.ndarray, count: int) -> np.ndarray:
        if threading.current_thread() is threading.main_thread():
            self.labelled_tracks += 1
            if self.labelled_tracks == self.stop_at:
                stop(self.how)
        return super().gather(rows, starts, count)


class StopIn(Callback):
    """Ends a stage of a training, (folder, epoch, batch), behind that batch."""

    def __init__(self, place: list | None, how: str) -> None:
        self.place, self.how = place and tuple(place), how

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if (Path(trainer.default_root_dir).name, trainer.current_epoch, batch_idx) == self.place:
            stop(self.how)


def semi_method(kind: str = "student", column: str = "traits", norm: str = "layer", **arguments: Any) -> Method:
    torch.manual_seed(7)
    effects = [Gain(p=0.5), Noise(p=0.5, low_snr_db=10.0, high_snr_db=30.0)]
    family = {"student": NoisyStudent, "consistency": Consistency}[kind]
    return family(tiny_encoder(norm), column, effects, **{"learning_rate": 1e-2, **arguments})


def semi_training(
    out: Path,
    *,
    place: list | None = None,
    stop_at: int | None = None,
    how: str = "raise",
    method: dict[str, Any] | None = None,
    trainer: dict[str, Any] | None = None,
    music: PartlyLabelled | None = None,
    **settings: Any,
) -> Path:
    """Two epochs: one batch of labelled tracks in each, or six of both kinds."""
    options = {"accelerator": "cpu", "max_epochs": 2, "log_every_n_steps": 1, "enable_progress_bar": False}
    return train(
        semi_method(**(method or {})),
        music or PartlyLabelled(stop_at, how),
        out=out,
        trainer_options={**options, **(trainer or {}), "callbacks": [StopIn(place, how)]},
        **{"batch_size": 4, "seed": 3, "checkpoint_every_steps": 1, **settings},
    )


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    semi_training(Path(sys.argv[1]), **json.loads(sys.argv[2]))
