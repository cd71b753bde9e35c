"""What must hold before a training may begin or continue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simscaleai.checkpoint import CONFIG_FILE
from simscaleai.data import Dataset
from simscaleai.errors import SimScaleError
from simscaleai.training.config import TrainConfig
from simscaleai.training.state import STATE_FILE, Progress

MAY_DIFFER_ON_RESUME = ("dataset", "output", "threads", "max_minutes", "resume", "device")
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
