"""What a checkpoint says about its making."""

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
    """Return configuration, data, the demonstrations' seeds, effort and versions as plain JSON data.

    Whoever evaluates the checkpoint compares its seeds, and those of the checkpoint that it started from, with the
    seeds of the evaluation.
    """
    seeds = [seed for record in dataset.episodes if (seed := record.metadata["seed"]) is not None]
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
