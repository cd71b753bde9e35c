"""The state of an unfinished training in one safetensors file: weights, their average, the optimiser, the step."""

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
from simscaleai.files import replace_file
from simscaleai.training.learner import AveragedModel, Learner

STATE_FILE = "training_state.safetensors"
STATE_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a training has come."""

    step: int
    """Optimiser steps done."""
    minutes: float
    """Time spent, over all legs."""
    validation_loss: float | None
    """Last loss on held-out episodes."""
    config: dict[str, Any]
    """What it was asked to do."""
    dataset_digest: str
    """What it learns from."""


def save_state(
    folder: Path, progress: Progress, learner: Learner, average: AveragedModel, optimizer: torch.optim.Optimizer
) -> None:
    """Write the state atomically."""
    tensors = dict(_modules_tensors(learner, average))
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
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        if metadata.get("version") != str(STATE_VERSION):
            raise SimScaleError(f"{path} has version {metadata.get('version')}, this is {STATE_VERSION}; train anew")
        return Progress(**json.loads(metadata["progress"]))
    except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise SimScaleError(f"{path} is damaged ({error}); delete it and train anew") from None


def restore_state(folder: Path, learner: Learner, average: AveragedModel, optimizer: torch.optim.Optimizer) -> None:
    """Put everything back where `save_state` found it.

    Raises:
        SimScaleError: If the state belongs to another model.
    """
    path = folder / STATE_FILE
    with safe_open(path, framework="pt") as file, torch.no_grad():
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    try:
        with torch.no_grad():
            for name, tensor in _modules_tensors(learner, average):
                tensor.copy_(stored[name])
    except (KeyError, RuntimeError) as error:
        raise SimScaleError(f"{path} belongs to another model: {error}") from None
    parameters = dict(learner.named_parameters())
    for name, value in stored.items():
        if name.startswith("optimizer."):
            parameter_name, _, key = name.removeprefix("optimizer.").rpartition("/")
            parameter = parameters[parameter_name]
            optimizer.state[parameter][key] = value if key == "step" else value.to(parameter.device)


def _modules_tensors(learner: Learner, average: AveragedModel) -> Iterator[tuple[str, Tensor]]:
    modules: dict[str, nn.Module] = {"learner": learner, "average": average.model}
    for prefix, module in modules.items():
        for name, tensor in module.state_dict().items():
            yield f"{prefix}.{name}", tensor
