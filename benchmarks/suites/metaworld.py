"""Meta-World: the package's own policies in ten tasks, also after a kill that cannot be caught, with --resume."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from benchmarks.our_runs import our_command, wait_for_episodes
from benchmarks.suites.plain import Found, Row, equal, found_in, our_run, plain_loop, suite_python

SEEDS = 50
TASKS = (
    "reach",
    "push",
    "pick-place",
    "door-open",
    "drawer-open",
    "drawer-close",
    "button-press-topdown",
    "peg-insert-side",
    "window-open",
    "window-close",
)

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
    success, total = False, 0.0
    for step in range(500):
        action = np.clip(np.asarray(policy.get_action(observation), np.float32), -1, 1)
        observation, reward, _, _, info = env.step(action)
        total += float(reward)
        success = bool(info["success"])
        if success:
            break
    found[seed] = [success, step + 1, total]
print(json.dumps(found))
"""


def check() -> Iterator[Row]:
    """Yield a row for each task: success, steps and return of every seed.

    Raises:
        SimScaleError: If Meta-World is not installed.
    """
    python = suite_python("metaworld")
    for task in TASKS:
        with tempfile.TemporaryDirectory() as text:
            folder, times = Path(text), [time.perf_counter()]
            flags = ["--model", "host:expert", "--env", f"metaworld/{task}-v3", "--episodes", SEEDS]
            plain = plain_loop(python, PLAIN_LOOP, f"{task}-v3", SEEDS)
            times.append(time.perf_counter())
            ours = []
            for workers in (1, 2):
                ours.append(our_run([*flags, "--workers", workers], folder / f"run{workers}"))
                times.append(time.perf_counter())
            killed = killed_run([*flags, "--workers", 2], folder / "killed")
        seconds = [round(end - begin, 1) for begin, end in pairwise(times)]
        yield {
            "environment": f"metaworld/{task}-v3",
            "episodes": SEEDS,
            "successes": sum(won for won, _, _ in plain.values()),
            "equal_1_workers": equal(plain, ours[0]),
            "equal_2_workers": equal(plain, ours[1]),
            "equal_after_kill": equal(plain, killed),
            **dict(zip(("plain_s", "1_workers_s", "2_workers_s"), seconds, strict=True)),
        }


def killed_run(flags: list[object], output: Path) -> Found:
    """Return what a run of ours finds that was killed after a few episodes and then resumed."""
    words = our_command(*flags, "--output", output)
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        wait_for_episodes(output, 3, run)
        run.send_signal(signal.SIGKILL)
    subprocess.run([*words, "--resume"], check=True, capture_output=True)
    return found_in(output)
