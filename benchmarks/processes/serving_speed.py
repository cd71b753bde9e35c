"""How many predictions per second a served policy gives to 8 clients, against the same policy in process, in one run.

In process, one program asks the policy for 8 rows at a time, a full tile, and does nothing else. Served, the policy
runs in one process, too; a second one holds the 8 clients, each of which sends its next request when it has the reply
to the last. Their requests are packed beforehand: what a client does is not what a server costs. Rates are the best of
several rounds in turn, since other programs on the machine only ever take time away. The CPU time of a prediction
depends less on other programs, and shows what the server itself costs.

python -m benchmarks.processes.serving_speed --output benchmarks/results/serving_speed.csv
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from websockets.asyncio.client import connect

from benchmarks.tables import write_csv
from policies.base import Observation, Policy
from policies.foreign.openpi.codec import pack
from policies.registry import make_policy

CLIENTS = 8
ROUNDS = 5
SECONDS_BEFORE = 0.5
"""Time in which the clients already ask, but are not counted [s]."""
MODELS = ("vla-robust", "bc-pick-place")


def observations(policy: Policy) -> Observation:
    """Return a random observation for each client."""
    rng, needs = np.random.default_rng(0), policy.needs
    seen: Observation = {
        key: rng.normal(size=(CLIENTS, layout.size)).astype(np.float32) for key, layout in needs.vectors.items()
    }
    for key, size in needs.cameras.items():
        seen[key] = rng.integers(0, 256, (CLIENTS, *size, 3), dtype=np.uint8)
    return seen


def rate_in_process(policy: Policy, seen: Observation, seconds: float) -> float:
    """Return predictions per second in this process."""
    slots, count = np.arange(CLIENTS), 0
    policy.reset(slots, list(range(CLIENTS)), ["pick up the cube"] * CLIENTS)
    policy.predict(seen, slots)
    begin = time.perf_counter()
    while (passed := time.perf_counter() - begin) < seconds:
        policy.predict(seen, slots)
        count += CLIENTS
    return count / passed


async def rate_served(port: int, seen: Observation, seconds: float) -> float:
    """Return predictions per second that the clients together get from the server."""
    frames = [
        pack({**{key: rows[client] for key, rows in seen.items()}, "prompt": "pick up the cube"})
        for client in range(CLIENTS)
    ]
    begin = asyncio.get_running_loop().time() + SECONDS_BEFORE
    counts = await asyncio.gather(*(_ask(port, frame, begin, begin + seconds) for frame in frames))
    return sum(counts) / seconds


async def _ask(port: int, frame: bytes, begin: float, end: float) -> int:
    """Return how many replies a client gets between the times `begin` and `end`."""
    count, now = 0, asyncio.get_running_loop().time
    async with connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None) as connection:
        await connection.recv()
        while now() < end:
            await connection.send(frame)
            await connection.recv()
            count += begin <= now() < end
    return count


@contextmanager
def server(model: str) -> Iterator[tuple[int, int]]:
    """Serve `model` in another process; yield the port, and the id of the process."""
    command = [sys.executable, "-m", "policies.serve", "--model", model, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        first = process.stdout.readline() if process.stdout else ""
        yield int(re.findall(r"ws://127\.0\.0\.1:(\d+)", first)[0]), process.pid
    finally:
        process.terminate()
        process.communicate()


def cpu_seconds(process: int) -> float:
    """Return the CPU time that a process has used [s], as Linux counts it."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def figures(model: str, seconds: float) -> dict[str, object]:
    """Measure one policy and return the row of the table."""
    policy = make_policy(model, spec=None)
    seen = observations(policy)
    alone, served, cpu_alone, cpu_served = [], [], [], []
    with server(model) as (port, process):
        asyncio.run(rate_served(port, seen, 0.5))
        for _ in range(ROUNDS):
            before = time.process_time()
            alone.append(rate_in_process(policy, seen, seconds))
            cpu_alone.append((time.process_time() - before) / (alone[-1] * seconds + CLIENTS))
            before = cpu_seconds(process)
            served.append(asyncio.run(rate_served(port, seen, seconds)))
            cpu_served.append((cpu_seconds(process) - before) / (served[-1] * (seconds + SECONDS_BEFORE)))
    return {
        "policy": model,
        "clients": CLIENTS,
        "in_process_per_s": f"{max(alone):.0f}",
        "served_per_s": f"{max(served):.0f}",
        "ratio": f"{max(served) / max(alone):.2f}",
        "in_process_cpu_ms": f"{1000 * min(cpu_alone):.2f}",
        "served_cpu_ms": f"{1000 * min(cpu_served):.2f}",
    }


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows = [figures(model, arguments.seconds) for model in arguments.models]
    for row in rows:
        print(row)
    if arguments.output:
        write_csv(arguments.output, rows)


if __name__ == "__main__":
    main()
