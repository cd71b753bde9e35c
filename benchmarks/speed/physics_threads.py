"""How much of a second thread the physics of one process uses, and where the rest is lost.

    python -m benchmarks.speed.physics_threads

Steps 64 to 256 slots with one and with two threads, and in two processes of half the slots and one thread each. The
time outside the physics engine runs on one thread. So the gain of two threads on whole steps is at most
1 / (outside + inside / gain of the engine), which the table gives next to the measured gain. Figures are medians over
rounds in which all ways run in turn. Writes benchmarks/results/physics_threads.csv.
"""

from __future__ import annotations

import argparse
import os
import statistics
from multiprocessing.synchronize import Barrier
from pathlib import Path

from benchmarks.run import circumstances
from benchmarks.speed.measurements import ENV_ID, FIRST_SEED, STEPS, physics_clock, seconds_side_by_side, step_all
from benchmarks.tables import RESULTS, write_csv
from envs.tabletop.vector_env import TaskVectorEnv

TABLE = RESULTS / "physics_threads.csv"
SLOTS = (64, 128, 256)


def threads(slots: int, num_threads: int) -> tuple[float, float]:
    """Return the time of a step of one slot in this process, and the part of it inside the engine [µs]."""
    env = _env(slots, num_threads)
    with physics_clock() as physics:
        seconds = step_all(env)
    env.close()
    return 1e6 * seconds / (slots * STEPS), 1e6 * physics.seconds / (slots * STEPS)


def processes(slots: int) -> float:
    """Return the time of a step of one slot in two processes of half the slots each [µs]."""
    return 1e6 * seconds_side_by_side(_step, slots // 2, 2) / (slots * STEPS)


def _step(slots: int, ready: Barrier, done: Barrier) -> None:
    env = _env(slots, 1)
    ready.wait()
    step_all(env)
    done.wait()


def _env(slots: int, num_threads: int) -> TaskVectorEnv:
    env = TaskVectorEnv(ENV_ID, slots, environment_state=True, terminate_on_success=False, num_threads=num_threads)
    env.reset(seed=FIRST_SEED)
    return env


def figures(slots: int) -> dict[str, float]:
    """Measure all ways once."""
    whole, inside = threads(slots, 1)
    whole_two, inside_two = threads(slots, 2)
    two_processes = processes(slots)
    gain, outside = inside / inside_two, whole - inside
    return {
        "µs a step, 1 thread": whole,
        "share of the engine": inside / whole,
        "gain of the engine, 2 threads": gain,
        "gain of whole steps, 2 threads": whole / whole_two,
        "gain that the serial part allows": whole / (outside + inside / gain),
        "gain of whole steps, 2 processes": whole / two_processes,
    }


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=TABLE, help="CSV to write")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]  # before this process adds to it
    lines: list[dict[str, object]] = []
    for slots in SLOTS:
        rounds = [figures(slots) for _ in range(arguments.rounds)]
        for what in rounds[0]:
            figure = statistics.median(each[what] for each in rounds)
            print(f"{slots:4} slots  {what:36} {figure:8.3g}", flush=True)
            lines.append({"slots": slots, "what": what, "figure": f"{figure:.4g}"} | circumstances(load))
    write_csv(arguments.output, lines)


if __name__ == "__main__":
    main()
