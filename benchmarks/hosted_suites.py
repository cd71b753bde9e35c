"""Release check: in Meta-World, the package's own policies succeed with our runs exactly as in a plain loop.

The plain loop runs in the interpreter of the suite and uses nothing of ours. For each of ten tasks, success and number
of steps of every seed must be equal: with one worker, with two, and after a kill that cannot be caught, with --resume.

python -m envs install metaworld
python -m benchmarks.hosted_suites --seeds 50 --output benchmarks/results/hosted_suites.csv
"""

from __future__ import annotations

import argparse
import csv
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from envs.foreign.suites import find_suite
from eval.runs.reading import read_run
from simscaleai.hosting.interpreters import installed_python

TASKS = ("reach", "push", "pick-place", "door-open", "drawer-open", "drawer-close", "button-press-topdown")
TASKS += ("peg-insert-side", "window-open", "window-close")

PLAIN_LOOP = """
import json, sys
import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.policies import ENV_POLICY_MAP

task, seeds = sys.argv[1], int(sys.argv[2])
found = {}
for seed in range(seeds):
    env, policy = ALL_V3_ENVIRONMENTS[task](), ENV_POLICY_MAP[task]()
    env._set_task_called = env.seeded_rand_vec = True
    env._freeze_rand_vec = env._partially_observable = False
    env.__dict__.pop("sawyer_observation_space", None)
    env.seed(seed)
    observation, _ = env.reset()
    success = False
    for step in range(500):
        action = np.clip(np.asarray(policy.get_action(observation), np.float32), -1, 1)
        observation, _, _, _, info = env.step(action)
        success = bool(info["success"])
        if success:
            break
    found[seed] = [success, step + 1]
print(json.dumps(found))
"""

Found = dict[int, tuple[bool, int]]
"""Seed to success and number of steps."""


def plain_loop(task: str, seeds: int) -> tuple[Found, float]:
    """Return what the plain loop finds, and how long it took [s]."""
    suite = find_suite("metaworld")
    begin = time.perf_counter()
    command = [installed_python(suite.name, suite.lock), "-c", PLAIN_LOOP, task, str(seeds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return {int(seed): (won, steps) for seed, (won, steps) in found.items()}, time.perf_counter() - begin


def command(task: str, seeds: int, workers: int, output: Path) -> list[str]:
    """Return the command of our run."""
    words = ["--model", "host:expert", "--env", f"metaworld/{task}", "--episodes", str(seeds)]
    words += ["--workers", str(workers), "--output", str(output), "--quiet"]
    return [sys.executable, "-m", "eval.rollout", *words]


def our_run(task: str, seeds: int, workers: int, output: Path) -> tuple[Found, float]:
    """Return what our run finds, and how long it took [s]."""
    begin = time.perf_counter()
    subprocess.run(command(task, seeds, workers, output), check=True, capture_output=True)
    return found_in(output), time.perf_counter() - begin


def killed_run(task: str, seeds: int, output: Path) -> Found:
    """Return what our run finds that was killed after a few episodes and then resumed."""
    words = command(task, seeds, 2, output)
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        log = output / "episodes.jsonl"
        while run.poll() is None and not (log.exists() and log.read_bytes().count(b"\n") >= min(3, seeds)):
            time.sleep(0.05)
        run.send_signal(signal.SIGKILL)
    subprocess.run([*words, "--resume"], check=True, capture_output=True)
    return found_in(output)


def found_in(output: Path) -> Found:
    """Return success and steps of every episode of a run."""
    return {each.seed: (each.status == "success", each.steps) for each in read_run(output).results}


def check(task: str, seeds: int, folder: Path) -> dict[str, object]:
    """Check one task and return a row of the table."""
    plain, plain_seconds = plain_loop(task, seeds)
    one, one_seconds = our_run(task, seeds, 1, folder / f"{task}-1")
    two, two_seconds = our_run(task, seeds, 2, folder / f"{task}-2")
    killed = killed_run(task, seeds, folder / f"{task}-killed")
    return {
        "task": task,
        "seeds": seeds,
        "successes": sum(won for won, _ in plain.values()),
        "equal_with_1_worker": one == plain,
        "equal_with_2_workers": two == plain,
        "equal_after_kill": killed == plain,
        "plain_s": round(plain_seconds, 1),
        "1_worker_s": round(one_seconds, 1),
        "2_workers_s": round(two_seconds, 1),
    }


def main() -> int:
    """Check all tasks, write the table, and return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--tasks", nargs="*", default=[f"{task}-v3" for task in TASKS])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/hosted_suites.csv"))
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for task in arguments.tasks:
            rows.append(check(task, arguments.seeds, Path(folder)))
            print(rows[-1], flush=True)
    with arguments.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return 0 if all(value is not False for row in rows for value in row.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
