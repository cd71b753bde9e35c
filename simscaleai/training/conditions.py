"""What must hold before a training may begin or continue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from simscaleai.checkpoint import CONFIG_FILE
from simscaleai.data import Dataset
from simscaleai.errors import SimScaleError
from simscaleai.training.config import TrainConfig
from simscaleai.training.state import STATE_FILE, Progress

MAY_DIFFER_ON_RESUME = ("dataset", "output", "threads", "max_minutes", "resume", "device", "tensorboard")
"""Settings that do not change what is learned; the dataset is compared by its digest."""


def check_output(config: TrainConfig) -> None:
    """Refuse an output folder that already holds a training, unless it is to be resumed."""
    taken = [name for name in (STATE_FILE, CONFIG_FILE) if (config.output / name).exists()]
    if taken and not config.resume:
        raise SimScaleError(f"{config.output} already holds {taken[0]}; add --resume or choose another --output")


def check_success(config: TrainConfig, dataset: Dataset) -> None:
    """Refuse demonstrations that failed, unless an expert relabelled them or the user wants them."""
    failed = sum(_shows_failure(record.metadata) for record in dataset.episodes)
    if failed and not config.allow_failures:
        raise SimScaleError(
            f"{failed} of {len(dataset.episodes)} demonstrations did not succeed; collect successful ones only, or "
            "add --allow-failures"
        )


@contextmanager
def enough_memory(config: TrainConfig) -> Iterator[None]:
    """Explain it to the user if memory runs out meanwhile.

    Raises:
        SimScaleError: If it does. The last checkpoint stays.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else "out of memory"
        if type(error) is RuntimeError and "allocate memory" not in reason:  # what torch raises on a CPU
            raise
        raise SimScaleError(
            f"out of memory ({reason}); lower --batch-size {config.batch_size} and add --resume if there is a "
            f"checkpoint in {config.output}"
        ) from error


def _shows_failure(metadata: Mapping[str, Any]) -> bool:
    return metadata["success"] is False and not metadata.get("relabelled", False)


def check_same_training(config: TrainConfig, dataset: Dataset, progress: Progress) -> None:
    """Refuse to continue a training under other settings or on other data."""
    now = config.to_json()
    different = [
        f"{name} was {progress.config.get(name)!r}, is {value!r}"
        for name, value in now.items()
        if name not in MAY_DIFFER_ON_RESUME and progress.config.get(name) != value
    ]
    if progress.dataset_digest != dataset.digest:
        different.append("the dataset has changed")
    if different:
        raise SimScaleError(f"cannot continue {config.output}: {'; '.join(different)}; choose another --output")
