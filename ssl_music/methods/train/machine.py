"""What a run ran on: versions of what decides about numbers, devices, and how much memory it took."""

import os
import platform
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Trainer

PACKAGES = ("ssl-music", "torch", "pytorch-lightning", "numpy")
DRIVER = Path("/proc/driver/nvidia/version")


def versions() -> dict[str, str]:
    """Of Python and of the packages that decide about numbers."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def machine(trainer: Trainer) -> dict[str, Any]:
    """Where a trainer trains, and in which precision; CUDA and its driver where it is on a GPU."""
    place = trainer.strategy.root_device
    facts = {
        "platform": platform.platform(),
        "devices": [_device_name(place)] * trainer.num_devices,
        "num_nodes": trainer.num_nodes,
        "world_size": trainer.world_size,
        "precision": str(trainer.precision),
        "threads": torch.get_num_threads(),
    }
    if place.type == "cuda":
        found = (
            re.search(r"Kernel Module\s+(?:for \S+\s+)?([\d.]+)", DRIVER.read_text()) if DRIVER.is_file() else None
        )
        facts |= {"cuda": torch.version.cuda, "driver": found[1] if found else None}
    return facts


def peak_memory_gb(device: torch.device) -> dict[str, float]:
    """The most that this process has held, in 10⁹ bytes: "resident", and on a GPU "gpu", the tensors on it.

    >>> peak_memory_gb(torch.device("cpu")).keys() <= {"resident"}  # nothing where the system does not tell
    True
    """
    peaks = {}
    if device.type == "cuda":
        peaks["gpu"] = torch.cuda.max_memory_allocated(device) / 1e9
    if sys.platform != "win32":
        import resource

        unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2) of either
        peaks["resident"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    return peaks


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()}, {os.cpu_count()} cores)"
