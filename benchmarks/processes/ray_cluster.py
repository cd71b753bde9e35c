"""How fast scripted episodes run on a Ray cluster of this machine, against worker processes.

    python -m benchmarks.processes.ray_cluster                    # 2,000 episodes, three rounds
    python -m benchmarks.processes.ray_cluster --episodes 200 --rounds 1

The cluster has two nodes of one CPU each, the other way is `--workers 2`. Both run in turn on development seeds. The
rate counts from the first result to the last, so start-up is left out. Figures are maxima over the rounds, since other
programs only ever take time. Writes benchmarks/results/ray_cluster.csv.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.run import circumstances
from benchmarks.speed.measurements import FIRST_SEED, silently
from benchmarks.tables import RESULTS, write_csv
from eval.execution.worker import Executor
from eval.rollout import RolloutConfig, run
from eval.runs.log_file import EPISODES_FILE

TABLE = RESULTS / "ray_cluster.csv"
TARGET = 0.9
EXECUTORS: tuple[Executor, ...] = ("process", "ray")
_NODES = 2
_NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}
_SECONDS_BETWEEN_LOOKS = 0.02


@contextmanager
def cluster() -> Iterator[None]:
    """Run a cluster of `_NODES` nodes of one CPU each, and set RAY_ADDRESS, until the end of the block."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={**_NODE, "num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(_NODES):
            nodes.add_node(**_NODE)
        os.environ["RAY_ADDRESS"] = nodes.address
        yield
    finally:
        nodes.shutdown()


def rate(executor: Executor, episodes: int) -> float:
    """Return episodes per second between the first result and the last."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "run")
        config = RolloutConfig(
            model="scripted", episodes=episodes, seed=FIRST_SEED, workers=_NODES, executor=executor, output=output
        )
        counts: list[tuple[float, int]] = []
        has_ended = threading.Event()
        watcher = threading.Thread(target=_count_lines, args=(output / EPISODES_FILE, counts, has_ended))
        watcher.start()
        try:
            silently(lambda: run(config))
        finally:
            has_ended.set()
            watcher.join()
    (begun, first), (_, last) = counts[0], counts[-1]
    ended = next(moment for moment, count in counts if count == last)
    return (last - first) / (ended - begun)


def _count_lines(path: Path, counts: list[tuple[float, int]], has_ended: threading.Event) -> None:
    """Append the time [s] and the number of lines of `path` again and again, from its first line on."""
    while not has_ended.wait(_SECONDS_BETWEEN_LOOKS):
        if path.exists() and (lines := path.read_bytes().count(b"\n")):
            counts.append((time.perf_counter(), lines))


def main() -> None:
    """Measure both ways and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=TABLE, help="CSV to write")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]  # before this process adds to it
    with cluster():
        rounds = [{way: rate(way, arguments.episodes) for way in EXECUTORS} for _ in range(arguments.rounds)]
    best = {way: max(each[way] for each in rounds) for way in EXECUTORS}
    rows = [
        ("scripted, --workers 2", best["process"], "episodes/s", ""),
        ("scripted, Ray with 2 nodes of 1 CPU", best["ray"], "episodes/s", ""),
        ("Ray against --workers 2", best["ray"] / best["process"], "×", f"≥ {TARGET}"),
    ]
    lines: list[dict[str, object]] = []
    for what, figure, unit, target in rows:
        print(f"{what:40} {figure:8.3g} {unit:12} {target}", flush=True)
        lines.append({"what": what, "figure": f"{figure:.4g}", "unit": unit, "target": target} | circumstances(load))
    write_csv(arguments.output, lines)


if __name__ == "__main__":
    main()
