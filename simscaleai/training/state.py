"""The state of an unfinished training in one safetensors file: weights, averaged weights, optimiser, progress."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from simscaleai.errors import SimScaleError
from simscaleai.files import file_size, replace_file
from simscaleai.json_data import DAMAGE, damage_text, parse_json, read_checked
from simscaleai.training.learner import AveragedModel, Learner

STATE_FILE = "training_state.safetensors"
STATE_VERSION = 2
"""Version of the state. Version 1 computes the digest of the dataset in another way, so it cannot be continued."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a training has come."""

    step: int
    """Number of optimiser steps done."""
    minutes: float
    """Training time, including the time before an interruption."""
    validation_loss: float | None
    """Last loss on held-out episodes."""
    config: dict[str, Any]
    """Configuration of the training."""
    dataset_digest: str
    """Digest of the dataset."""
    initial_digest: str | None = None
    """Digest of the checkpoint that it started from; None if it started from untrained weights."""
    processes: int = 1
    """Number of processes that train together. Each draws its own random numbers."""

    def __post_init__(self) -> None:
        """Check that the number of steps is possible, because it may come from a damaged file."""
        if self.step < 0:
            raise SimScaleError(f"expected a step of at least 0, got {self.step}")


def save_state(
    folder: Path, progress: Progress, learner: Learner, average: AveragedModel, optimizer: torch.optim.Optimizer
) -> None:
    """Write the state of a training to `folder`, atomically."""
    tensors = dict(_named_tensors(learner, average))
    for name, parameter in learner.named_parameters():
        for key, value in optimizer.state[parameter].items():
            tensors[f"optimizer.{name}/{key}"] = value
    stored = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    metadata = {"version": str(STATE_VERSION), "progress": json.dumps(vars(progress))}
    replace_file(folder / STATE_FILE, save(stored, metadata))


def load_progress(folder: Path) -> Progress:
    """Read how far the training in `folder` has come.

    Raises:
        SimScaleError: If the file is damaged or of another version.
    """
    path = folder / STATE_FILE
    try:
        file_size(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        version = metadata.get("version")
        progress = read_checked(Progress, parse_json(metadata["progress"])) if version == str(STATE_VERSION) else None
    except (OSError, SafetensorError, *DAMAGE) as error:
        raise SimScaleError(f"{path} is damaged: {damage_text(error)}; delete it and train anew") from None
    if progress is None:
        raise SimScaleError(
            f"expected {path} of version {STATE_VERSION}, got {version}; train anew in another --output"
        )
    return progress


def restore_state(folder: Path, learner: Learner, average: AveragedModel, optimizer: torch.optim.Optimizer) -> None:
    """Copy the stored tensors into the learner, the averaged weights and the optimiser.

    Raises:
        SimScaleError: If the state belongs to another model.
    """
    path = folder / STATE_FILE
    with safe_open(path, framework="pt") as file, torch.no_grad():
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    try:
        with torch.no_grad():
            for name, tensor in _named_tensors(learner, average):
                tensor.copy_(stored[name])
        parameters = dict(learner.named_parameters())
        for name, value in stored.items():
            if name.startswith("optimizer."):
                parameter_name, _, key = name.removeprefix("optimizer.").rpartition("/")
                parameter = parameters[parameter_name]
                optimizer.state[parameter][key] = value.to(parameter.device)
    except (KeyError, RuntimeError) as error:
        raise SimScaleError(f"{path} belongs to another model: {error}; delete it and train anew") from None


def _named_tensors(learner: Learner, average: AveragedModel) -> Iterator[tuple[str, Tensor]]:
    modules: dict[str, nn.Module] = {"learner": learner, "average": average.model}
    for prefix, module in modules.items():
        for name, tensor in module.state_dict().items():
            yield f"{prefix}.{name}", tensor
