"""Measurements of training: the input pipeline alone, and steps per second on any device.

The data are a few scripted demonstrations of PickPlaceLanguage with two 96² images, on development seeds.
"""

from __future__ import annotations

import csv
import os
import tempfile
import time
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.measurements import FIRST_SEED, silently
from eval.collect import CollectConfig, collect
from simscaleai.data import Dataset
from simscaleai.processing import Processor
from simscaleai.training.config import TrainConfig
from simscaleai.training.inputs.windows import WindowSampler
from simscaleai.training.log import METRICS_FILE
from simscaleai.training.trainer import train

BATCH_SIZE = 256
SMALL_VLA = ("patch_size=12", "embed_dim=128", "num_heads=4", "num_layers=4")
"""Model arguments of the small VLA of the shipped checkpoints."""

_IMAGE_SIZE = 96
_ROUNDS = 20


def input_speed(episodes: int = 96) -> float:
    """Return the images per second that one thread reads as uint8, at random places: two per sample, batches of 256."""
    dataset = Dataset(_demonstrations(episodes))
    processor = Processor.fit(dataset.needs, dataset.statistics)
    sampler = WindowSampler(dataset, processor, action_horizon=8, image_shift=4)
    rng = np.random.default_rng(0)
    begun = time.perf_counter()
    for _ in range(_ROUNDS):
        sampler.select(rng.integers(0, dataset.num_frames, BATCH_SIZE), rng)
    return _ROUNDS * BATCH_SIZE * len(processor.cameras) / (time.perf_counter() - begun)


def training_speed(steps: int, *, episodes: int = 96, **changes: Any) -> float:
    """Return the optimiser steps per second of the small VLA at batch 256, over the last two thirds of `steps`.

    Args:
        steps: Number of steps, at least 3.
        episodes: Number of demonstrations.
        **changes: Values of the `TrainConfig` other than the defaults.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = {"action_horizon": 8, "batch_size": BATCH_SIZE, "model_arguments": SMALL_VLA} | changes
        config = TrainConfig(
            model="vla",
            dataset=(_demonstrations(episodes),),
            output=Path(folder) / "vla",
            steps=steps,
            checkpoint_interval=steps,
            **settings,
        )
        silently(partial(train, config))
        with (config.output / METRICS_FILE).open(newline="") as file:
            rows = [(int(row["step"]), 60 * float(row["minutes"])) for row in csv.DictReader(file)]
    first = next(row for row in rows if row[0] >= steps // 3)
    return (rows[-1][0] - first[0]) / (rows[-1][1] - first[1])


@lru_cache(maxsize=1)
def _demonstrations(episodes: int) -> Path:
    """Collect demonstrations into a folder that stays as long as this process."""
    folder = tempfile.TemporaryDirectory()
    config = CollectConfig(
        output=Path(folder.name) / "data",
        env="pick-place-language",
        episodes=episodes,
        seed=FIRST_SEED,
        image_size=_IMAGE_SIZE,
        workers=min(8, os.cpu_count() or 1),
        phrasings="grammar",
        keep_failures=True,
    )
    silently(partial(collect, config))
    _FOLDERS.append(folder)
    return Path(folder.name) / "data"


_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []
