"""Release check: real packages give the same `episodes.jsonl` in every way that a plan can be run.

    python -m benchmarks.processes.every_way                       # what is installed
    python -m benchmarks.processes.every_way --only vla pusht      # some runs

The runs: our expert, shipped checkpoints, suites of others (`python -m envs install`), Meta-World with its own expert,
an agent of Stable-Baselines3 (`python -m policies install sb3`), and a checkpoint behind `policies.serve`. The ways:
two workers, shards that are merged, a Ray cluster of two nodes, and for checkpoints an inference process, also on each
node. Each is compared with one process. The tests in `tests/eval/execution/test_same_bytes.py` do the same with small
stand-ins. Writes benchmarks/results/every_way.csv; the exit code is 1 if bytes differ.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes.ray_cluster import cluster
from benchmarks.run import circumstances
from benchmarks.speed.measurements import FIRST_SEED
from benchmarks.tables import RESULTS, write_csv
from envs.foreign.suites import find_suite
from policies.foreign.libraries import find_library
from simscaleai.hosting.interpreters import installed_python, is_installed

TABLE = RESULTS / "every_way.csv"
_AGENT = "import gymnasium, stable_baselines3 as sb3; sb3.PPO('MlpPolicy', gymnasium.make('Pendulum-v1')).save('agent')"
_PENDULUM = ("--env", "gym:Pendulum-v1", "--success", "return>=-900")
_TWO = ("--workers", "2", "--num-envs", "2")


@dataclass(frozen=True)
class Run:
    """A policy in an environment."""

    flags: tuple[str, ...]
    is_learned: bool = False
    """Whether an inference process can compute the policy."""
    needs: Callable[[], bool] = lambda: True
    """Whether the packages of others are installed."""
    served: str = ""
    """Checkpoint that is served; its address becomes the model."""


RUNS = {
    "scripted": Run(("--model", "scripted", "--env", "pick-place")),
    "bc": Run(("--model", "bc-pick-place", "--env", "pick-place"), is_learned=True),
    "vla": Run(("--model", "vla-pick-place", "--env", "pick-place"), is_learned=True),
    "vla-diffusion": Run(("--model", "vla-pick-place-diffusion", "--env", "pick-place"), is_learned=True),
    "pusht": Run(("--model", "random", "--env", "pusht"), needs=lambda: _has_suite("pusht")),
    "metaworld": Run(("--model", "host:expert", "--env", "metaworld/reach-v3"), needs=lambda: _has_suite("metaworld")),
    "sb3": Run(("--model", "sb3:agent", *_PENDULUM), needs=lambda: _has_sb3()),
    "served": Run(("--env", "pick-place"), served="vla-pick-place-diffusion"),
}


def _has_suite(name: str) -> bool:
    return is_installed(name, find_suite(name).lock)


def _has_sb3() -> bool:
    return is_installed("sb3", find_library("sb3").lock)


def ways(run: Run) -> Iterator[tuple[str, Callable[[list[str]], bytes]]]:
    """Yield the name of each way, and a function that runs flags in this way and returns the bytes of the episodes."""
    yield "--workers 2", lambda flags: episodes([*flags, *_TWO])
    for number in (1, 3, 8):
        yield f"{number} shards", lambda flags, of=number: merged(flags, of)  # type: ignore[misc]
    yield "Ray", lambda flags: episodes([*flags, *_TWO, "--executor", "ray"])
    if run.is_learned:
        yield "inference process", lambda flags: episodes([*flags, *_TWO, "--device", "cpu"])
        yield "Ray, inference process", lambda flags: episodes([*flags, *_TWO, "--executor", "ray", "--device", "cpu"])


def episodes(flags: list[str]) -> bytes:
    """Run the command in a process of its own, and return the bytes of its episodes."""
    with tempfile.TemporaryDirectory() as folder:
        _command("eval.rollout", *flags, "--quiet", "--output", folder)
        return Path(folder, "episodes.jsonl").read_bytes()


def merged(flags: list[str], of: int) -> bytes:
    """Run each shard, merge them, and return the bytes of the episodes."""
    with tempfile.TemporaryDirectory() as folder:
        shards = [f"{folder}/{number}" for number in range(1, of + 1)]
        for number, shard in enumerate(shards, start=1):
            _command("eval.rollout", *flags, "--quiet", "--shard", f"{number}/{of}", "--output", shard)
        _command("eval.merge", *shards, "--quiet", "--output", f"{folder}/whole")
        return Path(folder, "whole", "episodes.jsonl").read_bytes()


def _command(module: str, *flags: str) -> None:
    subprocess.run([sys.executable, "-m", module, *flags], check=True)


@contextmanager
def prepared(run: Run) -> Iterator[list[str]]:
    """Yield the flags of a run, with its server running."""
    if not run.served:
        yield list(run.flags)
        return
    command = [sys.executable, "-m", "policies.serve", "--model", run.served, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            words = (word for line in server.stdout or () for word in line.split())
            yield ["--model", next(word for word in words if word.startswith("ws://")).rstrip(";"), *run.flags]
        finally:
            server.kill()


def compared(name: str, shape: list[str]) -> Iterator[dict[str, object]]:
    """Yield a line for each way of the run `name`."""
    with prepared(RUNS[name]) as flags:
        expected = episodes([*flags, *shape])
        for way, evaluate in ways(RUNS[name]):
            found = evaluate([*flags, *shape])
            line = {"run": name, "way": way, "episodes": expected.count(b"\n"), "equal": found == expected}
            print(*line.values(), flush=True)
            yield line | {"sha256": hashlib.sha256(found).hexdigest()[:16]}


def main() -> int:
    """Compare all ways of all runs and write the table; return 1 if bytes differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=8)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=[name for name, run in RUNS.items() if run.needs()])
    parser.add_argument("--output", type=Path, default=TABLE, help="CSV to write")
    arguments = parser.parse_args()
    shape = ["--episodes", str(arguments.episodes), "--seed", str(FIRST_SEED)]
    output, load = arguments.output.resolve(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        if "sb3" in arguments.only:
            python = installed_python("sb3", find_library("sb3").lock, "python -m policies install")
            subprocess.run([python, "-c", _AGENT], check=True)
        with cluster():
            lines = [line | circumstances(load) for name in arguments.only for line in compared(name, shape)]
    write_csv(output, lines)
    return 0 if all(line["equal"] for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
