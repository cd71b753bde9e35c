"""Measures what depends on a GPU, on a machine with CUDA: the speed of training and of evaluation.

    python -m benchmarks.speed.gpu            # at most ten minutes; no network
    python -m benchmarks.speed.gpu --steps 300

Writes benchmarks/results/gpu.csv. Without CUDA, rows that need it read "not measured".
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch

from benchmarks.processes.inference_process import device_rate
from benchmarks.run import circumstances
from benchmarks.tables import RESULTS, write_csv
from benchmarks.training.training_speed import input_speed, training_speed
from simscaleai.training.inputs import windows

TABLE = RESULTS / "gpu.csv"
NOT_MEASURED = "not measured"

Row = tuple[str, str, str, Callable[[], float]]
"""What is measured, its unit, its target as text, and the function that measures it."""


def cpu_rows() -> list[Row]:
    """Return the rows that any machine can measure."""
    return [("input pipeline alone, 2 images of 96², one thread", "images/s", "≥ 25000", input_speed)]


def gpu_rows(steps: int) -> list[Row]:
    """Return the rows that need CUDA: `steps` steps each of the small VLA, batch 256, two 96² images."""
    speed = partial(training_speed, steps, device="cuda", validation_fraction=0.0, allow_failures=True)
    return [
        ("training, bfloat16", "steps/s", "≥ 60", partial(speed, bfloat16=True)),
        ("training, bfloat16, augmentation", "steps/s", "", partial(speed, bfloat16=True, augmentation=0.5)),
        ("training, bfloat16, images read from files", "steps/s", "", partial(_from_files, speed)),
        ("training, float32", "steps/s", "", speed),
        ("training, bfloat16, without CUDA graph", "steps/s", "", partial(speed, bfloat16=True, cuda_graph=False)),
        ("evaluation of vla large (65 M) with 8 workers", "times CPU", "≥ 5", _evaluation_ratio),
    ]


def _evaluation_ratio() -> float:
    """Return the episodes per second with the policy on the GPU, divided by those with it on all cores of the CPU."""
    on_gpu, on_cpu = (device_rate(device, workers=8, slots=16) for device in ("cuda", "cpu"))
    return on_gpu / on_cpu


def _from_files(speed: Callable[..., float]) -> float:
    with patch.object(windows, "MOST_OF_FREE_MEMORY", 0.0):
        return speed(bfloat16=True)


def main() -> None:
    """Measure every row, print it, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000, help="optimiser steps of each training row")
    parser.add_argument("--output", type=Path, default=TABLE, help="CSV to write")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]  # before this process adds to it
    has_cuda = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if has_cuda else "none"
    conditions = {"gpu": device, "torch": torch.__version__, **circumstances(load)}
    lines: list[dict[str, object]] = []
    rows = [(row, True) for row in cpu_rows()] + [(row, has_cuda) for row in gpu_rows(arguments.steps)]
    for (what, unit, target, measure), can_measure in rows:
        figure = f"{measure():.4g}" if can_measure else NOT_MEASURED
        print(f"{what:52} {figure:>12} {unit:9} {target}", flush=True)
        lines.append({"what": what, "unit": unit, "target": target, "figure": figure, **conditions})
    write_csv(arguments.output, lines)


if __name__ == "__main__":
    main()
