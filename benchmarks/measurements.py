"""What the speed table measures: each function does one piece of work once and returns one figure.

Development seeds only.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from envs.interface import ACTION_DIM, CONTROL_HZ
from envs.vector_env import TaskVectorEnv
from eval.assembly import build_environment, build_policy
from eval.collect import CollectConfig, collect
from eval.loop import rollout
from eval.plan import plan_episodes

ENV_ID = "SimScale/PickPlace-v0"
SLOTS = 16
FIRST_SEED = 3_000_200_000

_STEPS = 200
_RESETS = 200
_REACHED = 7
_FIRST_STEP = f"""
import os
import envs.simulation
import mujoco.batch
mujoco.batch.Batch.step = lambda *args, **kwargs: os._exit({_REACHED})
from eval.rollout import main
main(["--model", "scripted", "--episodes", "1", "--seed", "{FIRST_SEED}", "--output", "run"])
"""


@dataclass
class Physics:
    """What passed inside `Batch.step`."""

    seconds: float = 0.0
    steps: int = 0
    """Environment steps: one call advances as many as its mask has slots."""


@contextmanager
def physics_timed() -> Iterator[Physics]:
    """Time every `Batch.step` of this process."""
    import mujoco.batch

    physics, original = Physics(), mujoco.batch.Batch.step

    def step(batch: Any, *, ids: NDArray[np.bool_], **options: Any) -> None:
        start = time.perf_counter()
        try:
            original(batch, ids=ids, **options)
        finally:
            physics.seconds += time.perf_counter() - start
            physics.steps += np.count_nonzero(ids)

    mujoco.batch.Batch.step = step
    try:
        yield physics
    finally:
        mujoco.batch.Batch.step = original


def step_overhead() -> float:
    """Return the time outside `Batch.step` of an environment step at 16 slots [µs]."""
    with physics_timed() as physics:
        seconds = _step_all(_vector_env())
    return 1e6 * (seconds - physics.seconds) / physics.steps


def step_overhead_share() -> float:
    """Return the share of a step at 16 slots that passes outside `Batch.step`."""
    with physics_timed() as physics:
        seconds = _step_all(_vector_env())
    return 1.0 - physics.seconds / seconds


def vector_speed() -> float:
    """Return simulated seconds per wall second at 16 slots."""
    return SLOTS * _STEPS / CONTROL_HZ / _step_all(_vector_env())


def single_speed() -> float:
    """Return simulated seconds per wall second of `gym.make`."""
    env = _single_env()
    env.reset(seed=FIRST_SEED)
    actions = _actions(1)[:, 0]
    start = time.perf_counter()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return _STEPS / CONTROL_HZ / (time.perf_counter() - start)


def slot_reset() -> float:
    """Return the time of the reset of one slot among 16 [ms]."""
    env = _vector_env()
    env.reset(seed=FIRST_SEED)
    mask = np.arange(SLOTS) == SLOTS // 2
    seeds: list[int | None] = [None] * SLOTS
    start = time.perf_counter()
    for i in range(_RESETS):
        seeds[SLOTS // 2] = FIRST_SEED + i
        env.reset(seed=seeds, options={"reset_mask": mask})
    return 1e3 * (time.perf_counter() - start) / _RESETS


def help_time() -> float:
    """Return how long `eval.rollout --help` takes [s]."""
    return _command_time(["-m", "eval.rollout", "--help"], exit_code=0)


def first_step_time() -> float:
    """Return the time from the command to the first control step of a scripted rollout [s]."""
    return _command_time(["-c", _FIRST_STEP], exit_code=_REACHED)


def rollout_share(episodes: int) -> float:
    """Return the share of a scripted rollout of `episodes` episodes that passes outside `Batch.step`."""
    policy = build_policy("scripted", None, ENV_ID)
    env = build_environment(policy.contract, ENV_ID, SLOTS)
    with physics_timed() as physics:
        start = time.perf_counter()
        rollout(env, policy, plan_episodes(episodes, FIRST_SEED))
        seconds = time.perf_counter() - start
    return 1.0 - physics.seconds / seconds


def collect_speed(episodes: int) -> float:
    """Return the control steps that are stored per second when `episodes` image demonstrations are collected."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        config = CollectConfig(output=Path(folder) / "data", episodes=episodes, seed=FIRST_SEED, keep_failures=True)
        start = time.perf_counter()
        summary = collect(config)
        return summary.mean_steps * summary.episodes / (time.perf_counter() - start)


@lru_cache(maxsize=1)
def _vector_env() -> TaskVectorEnv:
    return TaskVectorEnv(
        ENV_ID, SLOTS, environment_state=True, terminate_on_success=False, autoreset_mode=AutoresetMode.NEXT_STEP
    )


@lru_cache(maxsize=1)
def _single_env() -> gym.Env[Any, Any]:
    return gym.make(f"envs:{ENV_ID}", environment_state=True)


def _step_all(env: TaskVectorEnv) -> float:
    """Step every slot of `env` under random actions; return the seconds that took."""
    env.reset(seed=FIRST_SEED)
    actions = _actions(SLOTS)
    start = time.perf_counter()
    for rows in actions:
        env.step(rows)
    return time.perf_counter() - start


def _actions(slots: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-1, 1, (_STEPS, slots, ACTION_DIM)).astype(np.float32)


def _command_time(arguments: list[str], *, exit_code: int) -> float:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - start
    if done.returncode != exit_code:
        raise RuntimeError(f"expected exit code {exit_code} of {arguments}, got {done.returncode}: {done.stderr}")
    return seconds
