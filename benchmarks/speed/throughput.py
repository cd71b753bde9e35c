"""What 1,000 episodes cost, and whether the model of throughput in docs/guides/scale.md holds.

    python -m benchmarks.speed.throughput                # about ten minutes; Ray rows need the extra `ray`
    python -m benchmarks.speed.throughput --rounds 1

The model: an episode costs core-seconds of simulation (drawing and bookkeeping included) and core-seconds of the
policy. W workers finish W / (simulation + policy) episodes a second, as long as each has a core. Nodes of a cluster
add up like workers. So the cost of one worker predicts all other shapes.

Each figure is what the longer of two runs adds, so start-up is left out. Costs are CPU time. Both are minima over the
rounds, since other programs only ever add to them. Development seeds. Writes benchmarks/results/throughput.csv.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from unittest.mock import patch

from benchmarks.processes.inference_process import large_checkpoint
from benchmarks.processes.ray_cluster import cluster
from benchmarks.run import circumstances
from benchmarks.speed.clocks import clock_on
from benchmarks.speed.measurements import FIRST_SEED, silently
from benchmarks.tables import RESULTS, write_csv
from eval.execution.processes import ONE_THREAD_EACH
from eval.execution.worker import Executor
from eval.rollout import RolloutConfig, run
from policies.base import Policy
from policies.learned.adapter import PolicyAdapter
from policies.scripted.experts import Expert

TABLE = RESULTS / "throughput.csv"

CHECKED = 3
"""Number of workloads for which the model is checked, from the first."""
SHAPES: tuple[tuple[str, int, Executor], ...] = (
    ("1 worker", 1, "process"),
    ("2 workers", 2, "process"),
    ("Ray, 1 node", 1, "ray"),
    ("Ray, 2 nodes", 2, "ray"),
)

Row = tuple[str, str, float, str]
"""Workload, what was measured, the figure, its unit."""


@dataclass(frozen=True)
class Workload:
    """A policy in an environment, and how many episodes suffice to measure it."""

    model: str
    env: str
    slots: int
    """Episodes at the same time in each worker."""
    episodes: int
    """Episodes that the longer run of one worker adds."""
    policy: type[Policy] = PolicyAdapter

    @property
    def name(self) -> str:
        """The name in the table."""
        return f"{Path(self.model).name} in {self.env}"


@dataclass(frozen=True)
class Cost:
    """What one episode takes."""

    simulation: float
    """CPU time of all but the policy [s]."""
    policy: float
    """CPU time of the policy [s]."""
    kilobytes: float
    """Size of its part of the folder of the run."""


def workloads() -> list[Workload]:
    """Return the workloads whose cost is measured. The model is checked with the first `CHECKED`."""
    return [
        Workload("scripted", "pick-place", 256, 2048, Expert),
        Workload("bc-pick-place-image", "pick-place", 16, 128),
        Workload("vla-robust", "pick-place-language", 16, 96),
        Workload("bc-pick-place", "pick-place", 256, 2048),
        Workload("vla-pick-place-diffusion", "pick-place", 16, 64),
        Workload(str(large_checkpoint()), "pick-place-language", 8, 8),
    ]


def cost(load: Workload) -> Cost:
    """Return what an episode of one worker, in this process, takes."""

    def totals(episodes: int) -> tuple[float, float, float]:
        before = time.process_time()
        with clock_on(load.policy, "predict") as clock:
            kilobytes = _run(load, episodes, 1, "process")[1]
        return time.process_time() - before, clock.seconds, kilobytes

    short, long = (totals(load.slots + added) for added in (0, load.episodes))
    total, policy, kilobytes = ((b - a) / load.episodes for a, b in zip(short, long, strict=True))
    return Cost(total - policy, policy, kilobytes)


def rate(load: Workload, workers: int, executor: Executor) -> float:
    """Return the episodes per second of a run without its start."""
    begin, added = workers * load.slots, workers * load.episodes
    short, long = (_run(load, episodes, workers, executor)[0] for episodes in (begin, begin + added))
    return added / (long - short)


def _run(load: Workload, episodes: int, workers: int, executor: Executor) -> tuple[float, float]:
    """Evaluate and return the time [s] and the size of the folder [kB]."""
    with tempfile.TemporaryDirectory() as folder:
        config = RolloutConfig(
            model=load.model,
            env=load.env,
            episodes=episodes,
            seed=FIRST_SEED,
            num_envs=load.slots,
            workers=workers,
            executor=executor,
            output=Path(folder, "run"),
        )
        with patch.dict(os.environ, ONE_THREAD_EACH):  # one worker, which is this process, gets one core, too
            seconds, _ = silently(lambda: run(config))
        return seconds, sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e3


def rows(load: Workload, rounds: int, *, is_checked: bool) -> Iterator[Row]:
    """Yield what 1,000 episodes cost and, if asked for, the rate of several shapes next to what the cost predicts."""
    best = min((cost(load) for _ in range(rounds)), key=lambda each: each.simulation + each.policy)
    yield load.name, "simulation, 1,000 episodes", 1000 * best.simulation, "core-s"
    yield load.name, "policy, 1,000 episodes", 1000 * best.policy, "core-s"
    yield load.name, "folder, 1,000 episodes", best.kilobytes, "MB"
    for shape, workers, executor in SHAPES if is_checked else ():
        highest = max(rate(load, workers, executor) for _ in range(rounds))
        yield load.name, shape, highest, "episodes/s"
        yield load.name, f"{shape}, of the prediction", highest * (best.simulation + best.policy) / workers, "×"


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--output", type=Path, default=TABLE, help="CSV to write")
    arguments = parser.parse_args()
    machine_load = os.getloadavg()[0]  # before this process adds to it
    lines: list[dict[str, object]] = []
    loads = workloads()
    with cluster():
        for name, what, figure, unit in chain(
            *(rows(load, arguments.rounds, is_checked=load in loads[:CHECKED]) for load in loads)
        ):
            print(f"{name:40} {what:34} {figure:8.3g} {unit}", flush=True)
            line = {"workload": name, "what": what, "figure": f"{figure:.4g}", "unit": unit}
            lines.append(line | circumstances(machine_load))
    write_csv(arguments.output, lines)


if __name__ == "__main__":
    main()
