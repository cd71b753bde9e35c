"""What it costs to run a policy in another interpreter, with two images of 96 x 96, against a plain loop there.

The policy does next to nothing, so that the cost of the messages stands out. Rounds of both take turns. The figures are
the median of the differences of the rounds, and the difference of the fastest rounds.

python -m benchmarks.processes.hosted_policy_speed --output benchmarks/results/hosted_policy_speed.csv
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np

from benchmarks.processes.plain_loop import cost_row, plain_loop
from benchmarks.tables import write_csv
from envs.registration import find_environment
from policies.registry import make_policy
from tests.policies.foreign.stand_in import write_agent, write_library

AT_MOST = 300.0
"""Largest cost of a call and slot that is wanted [us]."""
CALLS = 200
PLAIN = """
import sys
import numpy as np
from stable_baselines3 import PPO

agent, rng = PPO.load(sys.argv[1], "cpu"), np.random.default_rng(0)
seen = {camera: rng.integers(0, 256, (96, 96, 3), dtype=np.uint8) for camera in sys.argv[3:]}
seen["state"] = rng.normal(size=int(sys.argv[2])).astype(np.float32)

def call():
    agent.predict(seen, True)
"""


def figure(folder: Path, slots: int) -> dict[str, object]:
    """Measure a call for this number of slots, and return a row of the table."""
    spec = find_environment("pick-place").offer()
    state = spec.vectors["state"].size
    observed = {"state": (-9, 9, (state,)), **dict.fromkeys(spec.cameras, (0, 255, (96, 96, 3), "uint8"))}
    path = write_agent(folder / "agent.zip", observation=observed, action=(-1, 1, (spec.action.size,)))
    policy = make_policy(f"sb3:{path}", spec=spec, options={"python": sys.executable})
    everyone, rng = np.arange(slots), np.random.default_rng(0)
    seen = {camera: rng.integers(0, 256, (slots, 96, 96, 3), dtype=np.uint8) for camera in spec.cameras}
    seen["state"] = rng.normal(size=(slots, state)).astype(np.float32)
    policy.reset(everyone, list(range(slots)), [""] * slots)

    def timed(calls: int) -> float:
        begin = time.perf_counter()
        for _ in range(calls):
            policy.predict(seen, everyone)
        return (time.perf_counter() - begin) / calls / slots

    with closing(policy), plain_loop(PLAIN, path, state, *spec.cameras) as plain:
        name = f"{slots} slots: cost of a call and slot [us]"
        return cost_row(name, timed, plain, (CALLS // slots, CALLS), AT_MOST)


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
