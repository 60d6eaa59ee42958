"""The folder of one run: run.json says what made it and how far it got; a second run resumes, or is refused.

run.json              recipe, seed, versions, catalog fingerprint, split; what a setting "auto" has found; when and
                      on what it ran, and what came out
metrics.csv           what was logged of the learning
machine.csv           what was logged of the machine: throughput, waiting for data, memory
last.ckpt             for resuming only
best.safetensors      the weights with the lowest validation loss, where a validation split is watched
encoder.safetensors   what the run was for (tagger.safetensors where it has a head)
"""

import dataclasses
import inspect
import json
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ssl_music._files import replacing
from ssl_music.errors import UserError
from ssl_music.methods.train.machine import versions

#: what a run may differ in and still go on: options of the trainer that change what is shown and not what is learnt,
#: a probe beside the training, and the place of a catalog, whose content has a fingerprint among the facts
MAY_DIFFER = re.compile(
    r"(recipe|settings)\.trainer\.(logger|enable_progress_bar|enable_model_summary|profiler)\b"
    r"|(recipe|settings)\.online\b"
    r"|recipe\.catalog\.init_args\b"
)


class RunFolder:
    """What is known of the run in `out`; nothing is written before `start`.

    `facts` is what a run depends on: with other facts than those on disk, `out` is refused. Where both runs have a
    recipe, the recipes are compared in place of the settings that were made from them.

    >>> import tempfile
    >>> out = Path(tempfile.mkdtemp())
    >>> RunFolder(out, {"seed": 1}).start()
    >>> RunFolder(out, {"seed": 1}).weights is None
    True
    >>> RunFolder(out, {"seed": 2})
    Traceback (most recent call last):
    ...
    ssl_music.errors.UserError: ...: holds a run that was made in another way (seed: 1 there, 2 here); ...
    """

    def __init__(self, out: Path, facts: Mapping[str, Any]) -> None:
        self.out = Path(out)
        self.facts = plain(facts)
        self.run: dict[str, Any] = self._read()
        self.last = self.out / "last.ckpt"
        self.best = self.out / "best.safetensors"
        self.metrics = self.out / "metrics.csv"
        self.machine = self.out / "machine.csv"
        if self.run:
            self._check()

    @property
    def weights(self) -> Path | None:
        """What the run was for, if it is finished."""
        name = self.run.get("weights")
        return self.out / name if name and (self.out / name).is_file() else None

    @property
    def resumable(self) -> Path | None:
        """The checkpoint to go on from, if there is one."""
        return self.last if self.run and self.last.is_file() else None

    @property
    def found(self) -> dict[str, Any]:
        """What the run has found for its settings "auto" when it started: it goes on with that."""
        return self.run.get("found", {})

    def start(self, **found: Any) -> None:
        """Writes run.json; a run that cannot resume begins anew, and leaves of an older one are removed."""
        if self.resumable is None:
            for path in (self.last, self.best, self.metrics, self.machine):
                path.unlink(missing_ok=True)
            self.run = {**self.facts, "versions": versions(), "started": _now(), "finished": None}
            if found:
                self.run["found"] = plain(found)
        self._write()

    def began(self, *, step: int, machine: Mapping[str, Any]) -> None:
        """Adds a process that trains from `step` on: the first one, or one that resumes."""
        session = {"started": _now(), "step": step, **plain(machine)}
        self.run["sessions"] = [*self.run.get("sessions", []), session]
        self._write()

    def forget(self) -> None:
        """Takes back `start`, where a user's mistake showed before anything was learnt."""
        if self.resumable is None:
            for path in (self.out / "run.json", self.metrics, self.machine):
                path.unlink(missing_ok=True)
            if not any(self.out.iterdir()):
                self.out.rmdir()

    def finish(self, **results: Any) -> None:
        """Adds what came out."""
        self.run |= {**plain(results), "finished": _now()}
        self._write()

    def _check(self) -> None:
        ours, theirs = self.facts, {name: self.run.get(name) for name in self.facts}
        if ours.get("recipe") and theirs.get("recipe"):
            ours, theirs = ({name: value for name, value in f.items() if name != "settings"} for f in (ours, theirs))
        differing = [line for line in differences(theirs, ours) if not MAY_DIFFER.match(line)]
        if differing:
            shown = "; ".join(differing[:5]) + ("; …" if len(differing) > 5 else "")
            raise UserError(
                f"{self.out}: holds a run that was made in another way ({shown}); give another out, or delete this "
                "folder to train anew"
            )

    def _read(self) -> dict[str, Any]:
        if self.out.exists() and not self.out.is_dir():
            raise UserError(f"{self.out}: is a file; out has to be a folder")
        path = self.out / "run.json"
        if not path.is_file():
            return {}
        try:
            return json.loads(path.read_text())
        except ValueError as error:
            raise UserError(f"{path}: cannot be read ({error}); give another out, or delete this folder") from error

    def _write(self) -> None:
        with replacing(self.out / "run.json") as temporary:
            temporary.write_text(json.dumps(self.run, indent=1) + "\n")


def differences(theirs: Any, ours: Any, name: str = "") -> list[str]:
    """Where two nests of dicts differ, a line for each place.

    >>> differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}})
    ['a.c: 2 there, 3 here']
    """
    if isinstance(theirs, dict) and isinstance(ours, dict):
        keys = [*theirs, *(key for key in ours if key not in theirs)]
        inner = [(key, f"{name}.{key}" if name else str(key)) for key in keys]
        return [line for key, full in inner for line in differences(theirs.get(key), ours.get(key), full)]
    return [] if theirs == ours else [f"{name}: {theirs!r} there, {ours!r} here"]


def plain(value: Any) -> Any:
    """`value` as JSON gives it back; modules and other objects by class and constructor arguments.

    >>> plain({"path": Path("a"), "pair": (1, 2)})
    {'path': 'a', 'pair': [1, 2]}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(inner) for inner in value]
    if isinstance(value, nn.Module) and not isinstance(value, nn.ModuleList):
        names = [name for name in inspect.signature(type(value)).parameters if hasattr(value, name)]
        return {"class": type(value).__name__, **{name: plain(getattr(value, name)) for name in names}}
    return str(value) if isinstance(value, (Path, torch.dtype, torch.device)) else type(value).__name__


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
