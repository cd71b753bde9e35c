"""Release check: LIBERO's initial states, and the states after 20 actions, are those of a plain loop of the package.

Our slot runs the initial states in a shuffled order, so that other episodes have run before in it.

python -m envs install libero
python -m benchmarks.libero_starts --tasks 3 --states 10 --output benchmarks/results/libero_starts.csv
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from envs.foreign.suites import find_suite
from envs.registration import find_environment
from envs.slots import Start
from simscaleai.hosting.interpreters import installed_python

PLAIN_LOOP = """
import contextlib, io, json, os, sys
import numpy as np
with contextlib.redirect_stdout(io.StringIO()):
    from libero.libero import benchmark, get_libero_path
    from libero.libero.envs.env_wrapper import ControlEnv
    suite = benchmark.get_benchmark_dict()["libero_" + sys.argv[1]]()
place, count = int(sys.argv[2]), int(sys.argv[3])
task, states = suite.get_task(place), suite.get_task_init_states(place)
path = os.path.join(get_libero_path("bddl_files"), task.problem_folder, task.bddl_file)
env = ControlEnv(path, use_camera_obs=False, has_offscreen_renderer=True)
actions = np.random.default_rng(0).uniform(-1, 1, (20, 7)).astype(np.float32)
found = []
def seen(observation):
    return [float(np.float32(value)) for value in observation["object-state"]]
for index in range(count):
    env.seed(index)
    env.reset()
    env.set_init_state(states[index])
    for _ in range(10):
        observation, _, _, _ = env.step([0.0] * 6 + [-1.0])
    first = seen(observation)
    for action in actions:
        observation, _, _, _ = env.step(action)
    found.append([first, seen(observation)])
print(json.dumps(found))
"""


def plain_loop(group: str, place: int, count: int) -> list[list[list[float]]]:
    """Return the first and the last observation of objects in each initial state."""
    suite = find_suite("libero")
    command = [installed_python(suite.name, suite.lock), "-c", PLAIN_LOOP, group, str(place), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: list[list[list[float]]] = json.loads(done.stdout.splitlines()[-1])
    return found


def our_slot(group: str, place: int, count: int) -> list[list[list[float]]]:
    """Return the same from one of our slots."""
    registration = find_environment(f"libero/{group}/{place}")
    env = registration.make(1, registration.offer().needs("environment_state"), False, None)
    slot, unseen = np.array([0]), np.array([False])
    actions = np.random.default_rng(0).uniform(-1, 1, (20, 7)).astype(np.float32)
    found: dict[int, list[list[float]]] = {}
    for index in np.random.default_rng(1).permutation(count).tolist():
        env.reset(slot, [Start(index)])
        first = env.observe(slot, unseen)["environment_state"][0].tolist()
        for action in actions:
            env.step(slot, action[None])
        found[index] = [first, env.observe(slot, unseen)["environment_state"][0].tolist()]
    env.close()
    return [found[index] for index in range(count)]


def main() -> int:
    """Check the first tasks of every group, write a table, and return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=3)
    parser.add_argument("--states", type=int, default=10)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/libero_starts.csv"))
    arguments = parser.parse_args()
    rows = []
    for group in find_suite("libero").groups:
        for place in range(arguments.tasks):
            pairs = list(
                zip(
                    plain_loop(group, place, arguments.states),
                    our_slot(group, place, arguments.states),
                    strict=True,
                )
            )
            equal = sum(plain == ours for plain, ours in pairs)
            rows.append({"task": f"libero/{group}/{place}", "states": len(pairs), "equal": equal})
            print(rows[-1], flush=True)
    with arguments.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return 0 if all(row["states"] == row["equal"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
