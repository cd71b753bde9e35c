"""The training record: how a checkpoint was made."""

from __future__ import annotations

import importlib.metadata
import platform
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
        "seeds": {"first": min(seeds), "last": max(seeds), "count": len(set(seeds))} if seeds else None,
        "initial": None if initial is None else {"digest": initial.digest, "training": initial.training},
        "steps": step,
        "validation_loss": validation_loss,
        "minutes": round(minutes, 2),
        "threads": torch.get_num_threads(),
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("numpy", "torch", "simscaleai"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
