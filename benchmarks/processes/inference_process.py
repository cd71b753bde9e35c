"""What one inference process for all workers costs and saves, against a model in each worker.

    python -m benchmarks.processes.inference_process                    # 200 episodes, three rounds: about 20 minutes
    python -m benchmarks.processes.inference_process --episodes 20 --rounds 1

Both ways run in turn on development seeds. Figures are minima over the rounds, since other programs only ever add to
them. Memory is the sum over all processes of the run, each page shared among its users (PSS). Writes
benchmarks/results/inference_process.csv.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import astuple, dataclass
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.run import circumstances
from benchmarks.speed.measurements import FIRST_SEED
from benchmarks.tables import RESULTS, write_csv
from envs.registration import find_environment
from eval.execution.processes import inherited_by_workers
from policies.base import Chunks
from policies.learned.devices import Device
from policies.learned.process.supervisor import InferenceProcess
from policies.learned.rows import PolicyOutline, Rows
from simscaleai.checkpoint import save_checkpoint
from simscaleai.models.presets import preset_arguments
from simscaleai.models.registry import create_model
from simscaleai.processing import Processor

TABLE = RESULTS / "inference_process.csv"
ENV, HORIZON, IMAGE_SIZE = "pick-place-language", 8, 96

Row = tuple[str, float, str, str]
"""What was measured, the figure, its unit, and its target as text."""

_ROWS, _CALLS, _ROUNDS = 8, 200, 10
_SECONDS_BETWEEN_SAMPLES = 0.2
_LIVE_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


# Overhead of a call


class Instant:
    """Answers at once, so that only the way of the rows to the process and back takes time."""

    rows_at_once, calls_at_once = _ROWS, 1

    def __init__(self) -> None:
        spec = find_environment(ENV).offer()
        size = (IMAGE_SIZE, IMAGE_SIZE)
        self.outline = PolicyOutline(
            identity="instant",
            options={},
            needs=spec.needs("state", cameras={"front": size, "wrist": size}, instruction=True),
            noise=(11, HORIZON * spec.action.size),
            draws_seeds=False,
            chunk=(HORIZON, spec.action.size),
        )

    def compute(self, rows: Rows) -> Chunks:
        """Return zeros."""
        return np.zeros((len(rows), *self.outline.chunk), np.float32)


def overhead() -> float:
    """Return the time of a call of 8 rows with two 96² images to the inference process and back [ms]."""
    context, outline = multiprocessing.get_context("spawn"), Instant().outline
    inference = InferenceProcess(context, Instant, outline, rows=_ROWS, seats=1)
    with inherited_by_workers():
        inference.start()
    try:
        inference.receive()
        policy = inference.policy_at(inference.take_seat(alone=False))()
        slots, rng = np.arange(_ROWS), np.random.default_rng(0)
        policy.reset(slots, range(_ROWS), ["put the red cube on the yellow goal"] * _ROWS)
        cameras = {
            key: rng.integers(0, 256, (_ROWS, *size, 3), np.uint8) for key, size in outline.needs.cameras.items()
        }
        state = {key: np.zeros((_ROWS, each.size), np.float32) for key, each in outline.needs.vectors.items()}
        return min(_milliseconds(partial(policy.predict, state | cameras, slots)) for _ in range(_ROUNDS))
    finally:
        inference.stop()


def _milliseconds(call: partial[Any]) -> float:
    """Return the mean time of a call [ms]."""
    begun = time.perf_counter()
    for _ in range(_CALLS):
        call()
    return 1e3 * (time.perf_counter() - begun) / _CALLS


# Time and memory of a run


@dataclass(frozen=True)
class Cost:
    """What a run took."""

    seconds: float
    cpu_seconds: float
    """Time of all cores, in all processes."""
    megabytes: float
    """Largest memory of the command and its processes together."""


def cost(model: str, episodes: int, workers: int, device: Device | None, num_envs: int | None = None) -> Cost:
    """Evaluate `model`, a name or a checkpoint folder, with the command, and return what it took."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["--model", model, "--env", ENV, "--episodes", str(episodes), "--seed", str(FIRST_SEED)]
        words += ["--workers", str(workers), "--output", f"{folder}/run", "--quiet"]
        words += [] if device is None else ["--device", device]
        words += [] if num_envs is None else ["--num-envs", str(num_envs)]
        before, begun = _cpu_seconds(), time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "eval.rollout", *words], stdout=subprocess.DEVNULL)
        megabytes = _largest_memory(process)
        seconds = time.perf_counter() - begun
    if process.returncode:
        raise RuntimeError(f"expected exit code 0 of eval.rollout {' '.join(words)}, got {process.returncode}")
    return Cost(seconds, _cpu_seconds() - before, megabytes)


def _cpu_seconds() -> float:
    """Return the CPU time of the processes that have ended among those that this one started [s]."""
    return sum(os.times()[2:4])


def _largest_memory(process: subprocess.Popen[bytes]) -> float:
    """Wait for a process and return the largest memory of it and its descendants at any time [MB]."""
    largest = 0.0
    while process.poll() is None:
        largest = max(largest, sum(map(_pss, _descendants(process.pid))))
        time.sleep(_SECONDS_BETWEEN_SAMPLES)
    return largest


def _descendants(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in task.read_text().split():
                found += _descendants(int(child))
    return found


def _pss(pid: int) -> float:
    """Return the memory of a process [MB], its part of shared pages; 0 if it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1e3
    return 0.0


@lru_cache(maxsize=1)
def large_checkpoint() -> Path:
    """Return a checkpoint of the VLA `large` with random weights, in a folder that stays as long as this process."""
    folder = tempfile.TemporaryDirectory()
    spec = find_environment(ENV).offer()
    size = (IMAGE_SIZE, IMAGE_SIZE)
    needs = spec.needs("state", cameras={"front": size, "wrist": size}, instruction=True)
    length = needs.vectors["state"].size
    arguments = preset_arguments("large") | {
        "image_size": IMAGE_SIZE,
        "patch_size": 12,
        "in_channels": 6,
        "state_dim": length,
        "action_horizon": HORIZON,
        "action_head_type": "diffusion",
    }
    vector = {"min": [-1.0] * length, "max": [1.0] * length, "mean": [0.0] * length, "std": [1.0] * length}
    action = {key: values[: spec.action.size] for key, values in vector.items()}
    save_checkpoint(
        Path(folder.name) / "large",
        model=create_model("vla", **arguments),
        model_name="vla",
        model_arguments=arguments,
        needs=needs,
        processor=Processor.fit(needs, {"observation.state": vector, "action": action}),
        training={},
        n_action_steps=HORIZON,
    )
    _LIVE_FOLDERS.append(folder)
    return Path(folder.name) / "large"


def device_rate(device: Device | None, *, workers: int, slots: int) -> float:
    """Return the episodes per second of the VLA `large`: what the longer of two runs adds, so without the start."""
    first, second = (
        cost(str(large_checkpoint()), waves * workers * slots, workers, device, num_envs=slots) for waves in (1, 4)
    )
    return 3 * workers * slots / (second.seconds - first.seconds)


def compared(name: str, model: str, episodes: int, workers: int, rounds: int) -> Iterator[Row]:
    """Run `model` with a model in each worker and with one process, in turn, and yield what differs."""
    runs: dict[Device | None, list[Cost]] = {None: [], "cpu": []}
    for _ in range(rounds):
        for device, costs in runs.items():
            costs.append(cost(model, episodes, workers, device))
    each, one = (Cost(*map(min, zip(*map(astuple, costs), strict=True))) for costs in runs.values())
    what = f"{name}, {episodes} episodes, {workers} workers"
    yield f"{what}: a model in each", each.seconds, "s", ""
    yield f"{what}: one process", one.seconds, "s", ""
    yield f"{what}: time of one process", one.seconds / each.seconds, "of a model in each", "≤ 1"
    yield f"{what}: CPU time of one process", one.cpu_seconds / each.cpu_seconds, "of a model in each", ""
    yield f"{what}: memory, a model in each", each.megabytes, "MB", ""
    yield f"{what}: memory, one process", one.megabytes, "MB", "one model less per worker"


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, default=TABLE, help="CSV to write")
    arguments = parser.parse_args()
    workers, rounds = arguments.workers, arguments.rounds
    load = os.getloadavg()[0]  # before this process adds to it
    lines: list[dict[str, object]] = []
    for what, figure, unit, target in chain(
        [("call of 8 rows, two 96² images, to the process and back", overhead(), "ms", "≤ 0.4")],
        compared("vla", "vla", arguments.episodes, workers, rounds),
        compared("VLA large", str(large_checkpoint()), 2 * workers, workers, rounds),
    ):
        print(f"{what:62} {figure:8.3g} {unit:19} {target}", flush=True)
        line = {"what": what, "figure": f"{figure:.4g}", "unit": unit, "target": target}
        lines.append(line | circumstances(load))
    write_csv(arguments.output, lines)


if __name__ == "__main__":
    main()
