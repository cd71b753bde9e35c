"""Checks before a training begins or continues."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from simscaleai.checkpoint import CONFIG_FILE
from simscaleai.data import Dataset
from simscaleai.errors import SimScaleError
from simscaleai.json_data import json_differences
from simscaleai.training.config import TrainConfig
from simscaleai.training.state import STATE_FILE, Progress

MAY_DIFFER_ON_RESUME = ("dataset", "output", "threads", "max_minutes", "resume", "device", "cuda_graph", "tensorboard")
"""Settings that do not change what is learned. The dataset is compared by its digest."""

_LATER_SETTINGS = {"augmentation": 0.0}
"""Settings that trainings of earlier versions did not have, and what they did instead."""


def check_output(config: TrainConfig) -> None:
    """Raise `SimScaleError` if the output folder holds a training and `--resume` is not given."""
    taken = [name for name in (STATE_FILE, CONFIG_FILE) if (config.output / name).exists()]
    if taken and not config.resume:
        raise SimScaleError(f"{config.output} already holds {taken[0]}; add --resume or choose another --output")


def check_success(config: TrainConfig, dataset: Dataset) -> None:
    """Raise `SimScaleError` if demonstrations failed, unless an expert relabelled them or the user allows failures."""
    failed = sum(_is_failure(episode.metadata) for episode in dataset.episodes)
    if failed and not config.allow_failures:
        raise SimScaleError(
            f"{failed} of {len(dataset.episodes)} demonstrations did not succeed; collect successful ones only, or "
            "add --allow-failures"
        )


def check_same_training(before: Progress, now: Progress) -> None:
    """Raise `SimScaleError` unless the training `before` was started as it would be started `now`.

    Settings, data, initial checkpoint and the number of processes must be equal, because weights depend on them.
    """
    settings = {name: value for name, value in now.config.items() if name not in MAY_DIFFER_ON_RESUME}
    earlier = _LATER_SETTINGS | before.config
    different = json_differences({name: value for name, value in earlier.items() if name in settings}, settings)
    if before.dataset_digest != now.dataset_digest:
        different.append("the dataset has changed")
    if before.initial_digest != now.initial_digest:
        different.append("the initial checkpoint has changed")
    if before.processes != now.processes:
        different.append(f"processes: was {before.processes}, is {now.processes} (torchrun --nproc-per-node)")
    if different:
        folder = now.config["output"]
        raise SimScaleError(f"cannot continue {folder}: {'; '.join(different)}; choose another --output")


@contextmanager
def memory_errors_explained(config: TrainConfig) -> Iterator[None]:
    """Replace an out-of-memory error in the `with` block by a message that says what to do.

    Raises:
        SimScaleError: If memory runs out in the `with` block. The last checkpoint stays.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else "out of memory"
        if type(error) is RuntimeError and "allocate memory" not in reason:  # torch's text on a CPU
            raise
        raise SimScaleError(
            f"out of memory ({reason}); lower --batch-size {config.batch_size} and add --resume if there is a "
            f"checkpoint in {config.output}"
        ) from error


def _is_failure(metadata: Mapping[str, Any]) -> bool:
    return metadata["success"] is False and not metadata.get("relabelled", False)
