"""Devices on which learned policies compute, and how many rows a model gets at once there."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from typing import Any, Literal

from simscaleai.errors import SimScaleError

Device = Literal["cpu", "cuda"]

TILES: Mapping[str, int] = {"cpu": 8, "cuda": 64}
"""Number of rows in one call of a model, by device. Another number would round differently."""


def check_device(device: Device) -> None:
    """Check that this machine has the device.

    Raises:
        SimScaleError: If it does not.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        built = torch.version.cuda or "none"
        raise SimScaleError(
            f"--device cuda needs a GPU that torch can use; torch {torch.__version__} here (CUDA: {built}) finds none; "
            "install a torch build for CUDA and a driver, or use --device cpu"
        )


def device_entries(device: Device | None) -> dict[str, Any]:
    """Return the entries of a run's fingerprint that follow from where its policy computes.

    They are empty for the CPU, where a policy gives the same bits with and without `--device`.
    """
    if device in (None, "cpu"):
        return {}
    import torch

    return {
        "inference": {
            "device": device,
            "name": torch.cuda.get_device_name(),
            "cuda": torch.version.cuda,
            "tile": TILES[device],
        }
    }


def return_freed_memory() -> None:
    """Return memory that was freed to the system. glibc keeps that of a loaded model for later, several hundred MB."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # another C library has none
        if trim is not None:
            trim(0)


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def calls_at_once(device: Device) -> int:
    """Return how many calls of a model run at the same time: one per core on a CPU, one on a GPU."""
    return cores() if device == "cpu" else 1
