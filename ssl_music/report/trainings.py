"""What a training left in its folder: its facts (run.json) and its curves (metrics.csv)."""

import csv
import json
import math
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssl_music.errors import UserError


class Curve(NamedTuple):
    """What was logged under one name. Shape: both (n,)."""

    steps: np.ndarray
    values: np.ndarray


class Training:
    """One training, read back; `curves` is empty where metrics.csv is missing.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "run.json").write_text('{"settings": {"method": {"class": "SimCLR"}}}')
    >>> Training(folder, name="mine").method
    'SimCLR'
    """

    def __init__(self, root: Path, *, name: str) -> None:
        self.root, self.name = root, name
        self.facts = read_json(root / "run.json")
        self.curves = read_curves(root / "metrics.csv")

    @property
    def method(self) -> str:
        """The class of the method, as far as it is known."""
        return self.facts.get("settings", {}).get("method", {}).get("class", "")

    @property
    def weights(self) -> Path | None:
        """The file of the trained weights."""
        name = self.facts.get("weights")
        return self.root / name if name else None

    @cached_property
    def trivial_loss(self) -> float | None:
        """What guessing costs: the loss over its logged share of that; None where it was not the same all along."""
        loss, share = self.curves.get("train/loss"), self.curves.get("train/loss_over_trivial")
        if loss is None or share is None or not np.array_equal(loss.steps, share.steps):
            return None
        if not share.values.all():
            return None
        costs = loss.values / share.values
        middle = float(np.median(costs))
        return middle if np.ptp(costs) <= 1e-3 * abs(middle) else None


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


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file that a run wrote."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: cannot be read ({error}); delete it and run what wrote it again") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: holds {type(found).__name__}, wanted the facts of a run; run what wrote it again")
    return found
