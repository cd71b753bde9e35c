"""What it costs to run an environment in another interpreter, against a plain loop there, in one run.

The environment does next to nothing, so that the cost of the messages stands out. Figures are minima of several rounds
in turn, since other programs on the machine only ever add time.

python -m benchmarks.processes.hosted_speed --output benchmarks/results/hosted_speed.csv
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.tables import write_csv

WORLD = '''
import sys, time
import gymnasium as gym
import numpy as np
from gymnasium import spaces

class Cheap(gym.Env):
    """A point that moves, with two images of 256 x 256 on request; `work` is the time that a step takes [s]."""

    def __init__(self, images=False, work=0.0):
        parts = {"state": spaces.Box(-np.inf, np.inf, (10,), np.float64)}
        if images:
            parts.update({key: spaces.Box(0, 255, (256, 256, 3), np.uint8) for key in ("front", "wrist")})
            self.drawn = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
        self.observation_space, self.work = spaces.Dict(parts), work
        self.action_space = spaces.Box(-1, 1, (4,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = self.np_random.normal(size=10)
        return self.seen(), {}

    def step(self, action):
        end = time.perf_counter() + self.work
        self.position[:4] += 0.01 * action
        while time.perf_counter() < end:
            pass
        return self.seen(), 0.0, False, False, {"won": False}

    def seen(self):
        return {key: self.position.copy() if key == "state" else self.drawn for key in self.observation_space.spaces}

def plain(images, steps):
    env = Cheap(images)
    env.reset(seed=0)
    action = np.zeros(4, np.float32)
    begin = time.perf_counter()
    for _ in range(steps):
        env.step(action)
    print((time.perf_counter() - begin) / steps)

if __name__ == "__main__":
    plain(sys.argv[1] == "images", int(sys.argv[2]))
'''
CHOICES = "success=info:won&max_episode_steps=1000000"
ROUNDS = 5


def plain_seconds(folder: Path, kind: str, steps: int) -> float:
    """Return the time of a step in a plain loop [s]."""
    command = [sys.executable, folder / "cheap_world.py", kind, str(steps)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def hosted_seconds(kind: str, slots: int, steps: int) -> float:
    """Return the time of a step and slot of the hosted environment, with observation and state, as a run asks [s]."""
    from envs.registration import find_environment
    from envs.slots import Start

    registration = find_environment(f"cheap_world:Cheap?{CHOICES}&images={kind == 'images'}")
    spec = registration.offer()
    env = registration.make(slots, spec.needs("state", cameras=dict(spec.cameras)), True, None)
    everyone, actions = np.arange(slots), np.zeros((slots, 4), dtype=np.float32)
    looking = np.ones(slots, dtype=bool)
    env.reset(everyone, [Start(seed) for seed in range(slots)])
    begin = time.perf_counter()
    for _ in range(steps):
        env.observe(everyone, looking)
        env.step(everyone, actions)
        env.state(everyone)
    seconds = (time.perf_counter() - begin) / steps / slots
    env.close()
    return seconds


def run_seconds(workers: int, episodes: int) -> float:
    """Return how long a run with a random policy takes, without its start [s]; a step of the environment takes 2 ms."""
    choices = "success=info:won&max_episode_steps=50&work=0.002"
    words = ["--model", "random", "--env", f"cheap_world:Cheap?{choices}", "--episodes", str(episodes)]
    with tempfile.TemporaryDirectory() as folder:
        words += ["--workers", str(workers), "--num-envs", "4", "--output", f"{folder}/run"]
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "eval.rollout", *words], capture_output=True, text=True, check=True)
        return time.perf_counter() - begin


def figures(folder: Path) -> list[dict[str, object]]:
    """Measure all figures and return the rows of the table."""
    rows: list[dict[str, object]] = []
    for kind, steps, most in (("state", 2000, 100.0), ("images", 300, 500.0)):
        for slots in (1, 8):
            plain, hosted = [], []
            for _ in range(ROUNDS):
                plain.append(plain_seconds(folder, kind, steps))
                hosted.append(hosted_seconds(kind, slots, max(steps // slots, 50)))
            cost = (min(hosted) - min(plain)) * 1e6
            figure = f"{kind}, {slots} slots: cost of a step and slot [us]"
            rows.append({"figure": figure, "value": f"{cost:.0f}", "at_most": most})
    seconds = {(workers, n): min(run_seconds(workers, n) for _ in range(2)) for workers in (1, 2) for n in (8, 168)}
    ratio = (seconds[1, 168] - seconds[1, 8]) / (seconds[2, 168] - seconds[2, 8])
    rows.append({"figure": "two workers against one, starts left out", "value": f"{ratio:.2f}", "at_most": ""})
    return rows


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/hosted_speed.csv"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cheap_world.py").write_text(WORLD)
        os.environ["PYTHONPATH"] = os.pathsep.join([name, *filter(None, [os.environ.get("PYTHONPATH")])])
        os.environ["SIMSCALE_ENV_PYTHON"] = sys.executable
        rows = figures(folder)
    write_csv(arguments.output, rows)
    for row in rows:
        print(*row.values(), sep="  ")


if __name__ == "__main__":
    main()
