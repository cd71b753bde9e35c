"""A real Ray cluster of several nodes on this machine, and commands that run on it, for tests."""

import contextlib
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}


@contextmanager
def running_cluster(*cpus):
    """Run a cluster without a CPU on its head, and with a node for each number of `cpus`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(ROOT))
        from ray.cluster_utils import Cluster

        head = {**NODE, "num_cpus": 0, "include_dashboard": False}
        nodes = Cluster(initialize_head=True, head_node_args=head)
        try:
            for number in cpus:
                nodes.add_node(**NODE | {"num_cpus": number})
            yield nodes
        finally:
            nodes.shutdown()


@contextmanager
def starting(cluster):
    """Yield a function that starts a command on the cluster; kill what is left of it at the end.

    The command finds modules in the working directory, and the nodes do not inherit its environment.
    """
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{Path.cwd()}", "RAY_ADDRESS": cluster.address}
    started = []

    def begin(*arguments, command="rollout"):
        words = [sys.executable, "-m", f"eval.{command}", "--executor", "ray", *map(str, arguments)]
        with Path("stderr").open("w") as errors:
            process = subprocess.Popen(words, env=environment, stderr=errors)
        started.append(process)
        return process

    try:
        yield begin
    finally:
        for process in started:
            process.kill()
            process.wait()


def wait_until(condition, seconds=300.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def has_lines(folder, n):
    path = Path(folder, "episodes.jsonl")
    return path.exists() and path.read_bytes().count(b"\n") >= n


def is_running(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
