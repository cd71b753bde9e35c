"""The baseline for the speed of environments: FetchPickAndPlace of Gymnasium-Robotics, in another interpreter.

    python -m venv peers && peers/bin/pip install gymnasium-robotics 'mujoco<3.12'
    python -m benchmarks.run --peers peers/bin/python

Gymnasium-Robotics needs an older MuJoCo than this project. So `fetch_figure` runs this file in the other interpreter,
where `fetch.py KIND` prints one figure. This file imports nothing from this project.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SLOTS = 16
_STEPS = 100
_IMAGE_STEPS = 60
_CONTROL_DT = 0.04  # s: 20 substeps of 2 ms


def fetch_figure(peers: Path, kind: str, processes: int = 1) -> float:
    """Measure the figure `kind` (a key of `FIGURES`) in the interpreter `peers`, and return it.

    With several `processes`, all of them measure at the same time, and the figures are added up.
    """
    started = [
        subprocess.Popen([str(peers), __file__, kind], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    figures = []
    for process in started:
        out, err = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{peers} could not measure FetchPickAndPlace: {err.strip()[-400:]}")
        figures.append(float(out.split()[-1]))
    return sum(figures)


def single_speed() -> float:
    """Return simulated seconds per wall second of one environment."""
    env = _make()
    return _STEPS * 4 * _CONTROL_DT / _step_single(env, _STEPS * 4)


def vector_speed() -> float:
    """Return simulated seconds per wall second of 16 environments in the faster of Gymnasium's two vector modes."""
    import gymnasium as gym

    modes: list[Callable[..., Any]] = [gym.vector.SyncVectorEnv, gym.vector.AsyncVectorEnv]
    return max(_SLOTS * _STEPS * _CONTROL_DT / _step_vector(mode([_make] * _SLOTS)) for mode in modes)


def image_speed() -> float:
    """Return control steps per wall second of one environment that draws a 128 x 128 image after each step."""
    env = _make(render_mode="rgb_array", width=128, height=128)
    env.reset(seed=0)
    env.render()
    return _IMAGE_STEPS / _step_single(env, _IMAGE_STEPS, look=env.render)


FIGURES = {"single": single_speed, "vector": vector_speed, "image": image_speed}


def _make(**options: Any) -> Any:
    import gymnasium as gym
    import gymnasium_robotics

    gym.register_envs(gymnasium_robotics)
    return gym.make("FetchPickAndPlace-v4", **options)


def _step_single(env: Any, steps: int, look: Callable[[], Any] = lambda: None) -> float:
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(steps)]
    start = time.perf_counter()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        look()
        if terminated or truncated:
            env.reset()
    return time.perf_counter() - start


def _step_vector(env: Any) -> float:
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(_STEPS)]
    env.step(actions[0])
    start = time.perf_counter()
    for rows in actions:
        env.step(rows)
    seconds = time.perf_counter() - start
    env.close()
    return seconds


if __name__ == "__main__":
    print(FIGURES[sys.argv[1]]())
