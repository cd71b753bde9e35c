"""What it costs to run a policy in another interpreter, with two images of 96 x 96, against calling it here.

The policy does next to nothing, so that the cost of the messages stands out. Calls there and here take turns, and the
figure is that of the fastest hundredth, since other programs on the machine only ever add time.

python -m benchmarks.processes.hosted_policy_speed --output benchmarks/results/hosted_policy_speed.csv
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

import numpy as np

from benchmarks.tables import write_csv
from envs.registration import find_environment
from policies.registry import make_policy
from tests.policies.foreign.stand_in import write_agent, write_library

AT_MOST = 300.0
"""Largest cost of a call and slot that is wanted [us]."""
CALLS = 1500
FASTEST = 0.01


def figure(folder: Path, slots: int) -> dict[str, object]:
    """Measure a call for this number of slots, and return a row of the table."""
    spec = find_environment("pick-place").offer()
    state = spec.vectors["state"].size
    observed = {"state": (-9, 9, (state,)), **dict.fromkeys(spec.cameras, (0, 255, (96, 96, 3), "uint8"))}
    path = write_agent(folder / "agent.zip", observation=observed, action=(-1, 1, (spec.action.size,)))
    policy = make_policy(f"sb3:{path}", spec=spec, options={"python": sys.executable})
    agent = import_module("stable_baselines3").PPO.load(path, "cpu")
    everyone, rng = np.arange(slots), np.random.default_rng(0)
    seen = {camera: rng.integers(0, 256, (slots, 96, 96, 3), dtype=np.uint8) for camera in spec.cameras}
    seen["state"] = rng.normal(size=(slots, state)).astype(np.float32)
    policy.reset(everyone, list(range(slots)), [""] * slots)
    hosted, here = [], []
    for _ in range(CALLS):
        begin = time.perf_counter()
        policy.predict(seen, everyone)
        middle = time.perf_counter()
        for row in range(slots):
            agent.predict({key: values[row] for key, values in seen.items()}, True)
        hosted.append(middle - begin)
        here.append(time.perf_counter() - middle)
    policy.close()
    cost = (np.quantile(hosted, FASTEST) - np.quantile(here, FASTEST)) / slots * 1e6
    return {"figure": f"{slots} slots: cost of a call and slot [us]", "value": f"{cost:.0f}", "at_most": AT_MOST}


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/hosted_policy_speed.csv"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        write_library(Path(name))
        sys.path.insert(0, name)
        os.environ["PYTHONPATH"] = os.pathsep.join([name, *filter(None, [os.environ.get("PYTHONPATH")])])
        rows = [figure(Path(name), slots) for slots in (1, 8)]
    write_csv(arguments.output, rows)
    for row in rows:
        print(*row.values(), sep="  ")


if __name__ == "__main__":
    main()
