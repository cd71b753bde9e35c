"""What it costs to run an environment in another interpreter, against a plain loop there, in one run.

The environment does next to nothing, so that the cost of the messages stands out. Rounds of both take turns. The
figures are the median of the differences of the rounds, and the difference of the fastest rounds. The plain loop looks
at nothing that the environment gives; the other side gets copies of the observation and of the state at every step.

python -m benchmarks.processes.hosted_speed --output benchmarks/results/hosted_speed.csv
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from benchmarks.processes.plain_loop import Timed, cost_row, plain_loop
from benchmarks.tables import write_csv
from envs.registration import find_environment
from envs.slots import Start

WORLD = '''
import time
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
'''
PLAIN = """
import sys
import numpy as np
from cheap_world import Cheap

env, action = Cheap(images=sys.argv[1] == "images"), np.zeros(4, np.float32)
env.reset(seed=0)

def call():
    env.step(action)
"""
CHOICES = "success=info:won&max_episode_steps=1000000"


@contextmanager
def hosted_loop(kind: str, slots: int) -> Iterator[Timed]:
    """Yield what times a step and slot of the hosted environment, with observation and state, as a run asks."""
    registration = find_environment(f"cheap_world:Cheap?{CHOICES}&images={kind == 'images'}")
    spec = registration.offer()
    env = registration.make(slots, spec.needs("state", cameras=dict(spec.cameras)), True, None)
    everyone, actions = np.arange(slots), np.zeros((slots, 4), dtype=np.float32)
    looking = np.ones(slots, dtype=bool)
    env.reset(everyone, [Start(seed) for seed in range(slots)])

    def timed(steps: int) -> float:
        begin = time.perf_counter()
        for _ in range(steps):
            env.observe(everyone, looking)
            env.step(everyone, actions)
            env.state(everyone)
        return (time.perf_counter() - begin) / steps / slots

    with closing(env):
        yield timed


def run_seconds(workers: int, episodes: int) -> float:
    """Return how long a run with a random policy takes, without its start [s]; a step of the environment takes 2 ms."""
    choices = "success=info:won&max_episode_steps=50&work=0.002"
    words = ["--model", "random", "--env", f"cheap_world:Cheap?{choices}", "--episodes", str(episodes)]
    with tempfile.TemporaryDirectory() as folder:
        words += ["--workers", str(workers), "--num-envs", "4", "--output", f"{folder}/run"]
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "eval.rollout", *words], capture_output=True, text=True, check=True)
        return time.perf_counter() - begin


def figures() -> list[dict[str, object]]:
    """Measure all figures and return the rows of the table."""
    rows: list[dict[str, object]] = []
    for kind, steps, most in (("state", 1000, 100.0), ("images", 200, 500.0)):
        for slots in (1, 8):
            figure = f"{kind}, {slots} slots: cost of a step and slot [us]"
            with plain_loop(PLAIN, kind) as plain, hosted_loop(kind, slots) as hosted:
                rows.append(cost_row(figure, hosted, plain, (steps // slots, steps), most))
    seconds = {(workers, n): min(run_seconds(workers, n) for _ in range(2)) for workers in (1, 2) for n in (8, 168)}
    ratio = (seconds[1, 168] - seconds[1, 8]) / (seconds[2, 168] - seconds[2, 8])
    figure = "two workers against one, starts left out"
    rows.append({"figure": figure, "median": "", "fastest": f"{ratio:.2f}", "at_most": ""})
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
        rows = figures()
    write_csv(arguments.output, rows)
    for row in rows:
        print(*row.values(), sep="  ")


if __name__ == "__main__":
    main()
