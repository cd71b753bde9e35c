"""The training record: how a checkpoint was made."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable
from typing import Any

import torch

from simscaleai.checkpoint import Checkpoint
from simscaleai.data import Dataset
from simscaleai.training.config import TrainConfig


def training_record(
    config: TrainConfig,
    dataset: Dataset,
    *,
    initial: Checkpoint | None,
    processes: int,
    step: int,
    minutes: float,
    validation_loss: float | None,
) -> dict[str, Any]:
    """Return configuration, dataset, seeds of the demonstrations, steps, minutes and versions as plain JSON data.

    An evaluation compares its own seeds with the seeds of these demonstrations, and with the seeds in the training
    record of `initial`, the checkpoint from which the training started.
    """
    seeds = [seed for episode in dataset.episodes if (seed := episode.metadata["seed"]) is not None]
    return {
        "config": config.to_json(),
        "dataset": {
            "digest": dataset.digest,
            "episodes": len(dataset.episodes),
            "frames": dataset.num_frames,
            "provenance": dataset.provenance,
        },
        "seeds": {"intervals": intervals(seeds), "count": len(set(seeds))} if seeds else None,
        "initial": None if initial is None else {"digest": initial.digest, "training": initial.training},
        "steps": step,
        "validation_loss": validation_loss,
        "minutes": round(minutes, 2),
        "processes": processes,
        "threads": torch.get_num_threads(),
        "versions": _versions(),
    }


def intervals(numbers: Iterable[int]) -> list[list[int]]:
    """Return the distinct `numbers` as intervals [first, last] of consecutive numbers, ascending and disjoint."""
    found: list[list[int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("numpy", "torch", "simscaleai"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
