"""The run folder of a quickstart, read back."""

import csv
import json
import math
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssl_music.errors import UserError
from ssl_music.pack import Pack
from ssl_music.probe import NAMES
from ssl_music.vectors import Vectors

PRETRAINED = "pretrained"


class Curve(NamedTuple):
    """What was logged under one name. Shape: both (n,)."""

    steps: np.ndarray
    values: np.ndarray


class Score(NamedTuple):
    """One column of the table: what was asked, of whom, and what each encoder reached as (value, low, high)."""

    title: str
    metric: str
    chance: float
    encoders: dict[str, tuple[float, float, float]]


class Run:
    """What a quickstart left in its folder.

    `results` is results.json; `training` is train/run.json, `curves` are the columns of train/metrics.csv, both empty
    where the file is missing; `packed` is None where the packed music was deleted to save space.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        path = self.root / "results.json"
        if not path.is_file():
            raise UserError(
                f"{path}: not there, so {self.root} is no finished run; run ssl-music quickstart --out it"
            )
        self.results: dict[str, Any] = _read_json(path)
        path = self.root / "train" / "run.json"
        self.training: dict[str, Any] = _read_json(path) if path.is_file() else {}
        self.curves = read_curves(self.root / "train" / "metrics.csv")
        self.vectors = Vectors(self.root / "vectors" / PRETRAINED)
        self.packed = Pack(self.root / "pack") if (self.root / "pack").is_dir() else None

    @property
    def weights(self) -> Path | None:
        """The trained encoder's file."""
        name = self.training.get("weights")
        return self.root / "train" / name if name else None

    @property
    def method(self) -> str:
        """The class of the method, as far as it is known."""
        return self.training.get("settings", {}).get("method", {}).get("class", "")

    @property
    def columns(self) -> dict[str, bool]:
        """Label column → whether a song may have several of its tags; those that were probed come first."""
        known = self.vectors.header["columns"]
        probed = [name for name in self.results.get("probes", {}) if name in known]
        return {name: known[name] for name in dict.fromkeys([*probed, *known])}

    @cached_property
    def trivial_loss(self) -> float | None:
        """What guessing costs, ln(2B − 1): the loss over its logged share of that."""
        loss, share = self.curves.get("train/loss"), self.curves.get("train/loss_over_trivial")
        if loss is None or share is None or not np.array_equal(loss.steps, share.steps):
            return None
        return float(np.median(loss.values / share.values))

    @cached_property
    def scores(self) -> list[Score]:
        """Every column of the table in numbers: the probes by their first metric, then the search."""
        scores = []
        for column, results in self.results.get("probes", {}).items():
            first = next(iter(results.values()))
            metric = next(iter(first["metrics"]))  # the one the probe was tuned by
            reached = {who: tuple(result["metrics"][metric]) for who, result in results.items()}
            scores.append(Score(column, NAMES[metric], first["chance"][metric], reached))
        search = self.results.get("search", {})
        if search:
            reached = {who: tuple(value) for who, value in search.items() if isinstance(value, list)}
            metric = f"precision@{search['k']}"
            scores.append(Score(f"search by {search['column']}", metric, search["chance"], reached))
        return scores


def read_curves(path: Path) -> dict[str, Curve]:
    """The columns of metrics.csv; a step without a value in a column is no point of its curve.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "metrics.csv"
    >>> _ = path.write_text("step,epoch,train/loss,valid/loss\\n0,0,4.5,\\n9,0,,4.25\\n")
    >>> read_curves(path)["valid/loss"]
    Curve(steps=array([9.]), values=array([4.25]))
    """
    if not path.is_file():
        return {}
    points: dict[str, list[tuple[float, float]]] = {}
    with path.open(newline="") as handle:
        for row in csv.DictReader(handle):
            for name, cell in row.items():
                if name not in ("step", "epoch") and cell and math.isfinite(value := float(cell)):
                    points.setdefault(name, []).append((float(row["step"]), value))
    return {name: Curve(*np.array(sorted(curve)).T) for name, curve in points.items()}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: cannot be read ({error}); delete it and run ssl-music quickstart again") from error
