"""Measures how time and memory grow with the numbers of episodes and environments, and with the image size.

    python -m benchmarks.speed.growth

Writes benchmarks/results/growth.csv. Every figure comes from a fresh process, so that its peak memory is its own. Uses
development seeds only.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from benchmarks.run import circumstances
from benchmarks.speed.measurements import ENV_ID, FIRST_SEED, STEPS, silently, step_all
from benchmarks.tables import RESULTS, write_csv
from envs.registration import find_environment
from envs.slots import Start
from envs.tabletop.vector_env import TaskVectorEnv
from eval.rollout import RolloutConfig, run

TABLE = RESULTS / "growth.csv"

EPISODES = (100, 1_000, 10_000)
ENVIRONMENTS = (1, 4, 16, 64, 256)
IMAGE_SIZES = (64, 96, 128, 192, 256, 512)

_FRAMES = 50


def time_per_episode(episodes: int) -> float:
    """Return the time per episode of a recorded run of `episodes` scripted episodes [ms]."""
    with tempfile.TemporaryDirectory() as folder:
        config = RolloutConfig(model="scripted", episodes=episodes, seed=FIRST_SEED, output=Path(folder) / "run")
        seconds, _ = silently(lambda: run(config))
    return 1e3 * seconds / episodes


def time_per_step(environments: int) -> float:
    """Return the time per environment step of a vector environment with `environments` slots [µs]."""
    env = TaskVectorEnv(ENV_ID, environments, environment_state=True, terminate_on_success=False)
    return 1e6 * step_all(env) / (STEPS * environments)


def time_per_frame(size: int) -> float:
    """Return the time to draw one image of `size` x `size` pixels [ms]."""
    registration = find_environment(ENV_ID)
    env = registration.make(1, registration.offer().needs(cameras={"front": (size, size)}), True, None)
    slot, with_image = np.zeros(1, dtype=np.intp), np.ones(1, dtype=bool)
    env.reset(slot, [Start(FIRST_SEED)])
    env.observe(slot, with_image)  # the first frame makes the GL context
    start = time.perf_counter()
    for _ in range(_FRAMES):
        env.observe(slot, with_image)
    return 1e3 * (time.perf_counter() - start) / _FRAMES


SWEEPS: tuple[tuple[str, tuple[int, ...], str, Callable[[int], float]], ...] = (
    ("episodes of a run", EPISODES, "ms per episode", time_per_episode),
    ("environments side by side", ENVIRONMENTS, "µs per environment step", time_per_step),
    ("height and width of an image [px]", IMAGE_SIZES, "ms per image", time_per_frame),
)


def measured_apart(work: Callable[[int], float], size: int) -> tuple[float, float]:
    """Run `work(size)` in a fresh process; return its figure, and the peak memory of that process [MB]."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_figure, args=(work, size, sender))
    process.start()
    sender.close()
    figure, kilobytes = receiver.recv()
    process.join()
    return figure, kilobytes / 1e3


def _send_figure(work: Callable[[int], float], size: int, sender: Connection) -> None:
    figure = work(size)
    sender.send((figure, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


def main() -> None:
    """Measure every sweep and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=TABLE, help="CSV to write")
    arguments = parser.parse_args()
    conditions = circumstances(os.getloadavg()[0])  # before this process adds to the load
    lines: list[dict[str, object]] = []
    for what, sizes, unit, work in SWEEPS:
        for size in sizes:
            figure, memory = measured_apart(work, size)
            print(f"{what:36} {size:>6} {figure:>10.4g} {unit:24} {memory:.0f} MB", flush=True)
            row = {"what": what, "size": size, "figure": f"{figure:.4g}", "unit": unit, "peak_mb": f"{memory:.0f}"}
            lines.append(row | conditions)
    write_csv(arguments.output, lines)


if __name__ == "__main__":
    main()
