"""Measurements of the speed table. Each function runs one workload once and returns one figure.

Uses development seeds only.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, redirect_stderr, redirect_stdout
from functools import lru_cache, partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from benchmarks.speed.clocks import Clock, clock_on
from envs.tabletop.names import ACTION, CONTROL_HZ
from envs.tabletop.vector_env import TaskVectorEnv
from eval.collect import CollectConfig, collect
from eval.execution.processes import inherited_by_workers
from eval.rollout import RolloutConfig, run

R = TypeVar("R")

ENV_ID = "SimScale/PickPlace-v0"
SLOTS = 16
FIRST_SEED = 3_000_200_000

STEPS = 200
_IMAGE_STEPS = 100
_RESETS = 200
_REACHED = 7  # exit code of a process that has reached its first control step
_FIRST_STEP = f"""
import os
import envs.tabletop.simulation
import mujoco.batch
mujoco.batch.Batch.step = lambda *args, **kwargs: os._exit({_REACHED})
from eval.rollout import main
main(["--model", "scripted", "--episodes", "1", "--seed", "{FIRST_SEED}", "--output", "run"])
"""


def physics_clock() -> AbstractContextManager[Clock]:
    """Time every `Batch.step` of this process."""
    import mujoco.batch

    return clock_on(mujoco.batch.Batch, "step")


@contextmanager
def engine_clock() -> Iterator[Clock]:
    """Time all calls of the physics engine in this process: in steps and in resets."""
    import mujoco.batch

    with ExitStack() as clocks:
        engine = Clock()
        for method in ("step", "reset", "forward"):
            clocks.enter_context(clock_on(mujoco.batch.Batch, method, engine))
        yield engine


def step_overhead() -> float:
    """Return the part of an environment step outside `Batch.step`, at 16 slots [µs]."""
    with physics_clock() as physics:
        seconds = step_all(_vector_env())
    return 1e6 * (seconds - physics.seconds) / (SLOTS * STEPS)


def step_overhead_share() -> float:
    """Return the share of a step outside `Batch.step`, at 16 slots."""
    with physics_clock() as physics:
        seconds = step_all(_vector_env())
    return 1.0 - physics.seconds / seconds


def vector_speed() -> float:
    """Return simulated seconds per wall second at 16 slots."""
    return SLOTS * STEPS / CONTROL_HZ / step_all(_vector_env())


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
    return STEPS / CONTROL_HZ / (time.perf_counter() - start)


def slot_reset() -> float:
    """Return the time to reset one slot of 16 [ms]."""
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
    """Return the time of `eval.rollout --help` [s]."""
    return _command_time(["-m", "eval.rollout", "--help"], exit_code=0)


def first_step_time() -> float:
    """Return the time from the command to the first control step of a scripted rollout [s]."""
    return _command_time(["-c", _FIRST_STEP], exit_code=_REACHED)


def rollout_share(episodes: int) -> float:
    """Return the share of time outside the physics engine, in a recorded run of `episodes` scripted episodes."""
    with tempfile.TemporaryDirectory() as folder, engine_clock() as physics:
        config = RolloutConfig(model="scripted", episodes=episodes, seed=FIRST_SEED, output=Path(folder) / "run")
        seconds, _ = silently(partial(run, config))
    return 1.0 - physics.seconds / seconds


def vla_share(episodes: int) -> float:
    """Return the share of time outside physics, drawing and network, in an evaluation of the shipped VLA."""
    with ExitStack() as clocks, tempfile.TemporaryDirectory() as folder:
        work = [clocks.enter_context(clock) for clock in (engine_clock(), *_drawing_and_network_clocks())]
        config = RolloutConfig(model="vla", episodes=episodes, seed=FIRST_SEED, output=Path(folder) / "run")
        seconds, _ = silently(partial(run, config))
    return 1.0 - sum(clock.seconds for clock in work) / seconds


def collect_speed(episodes: int) -> float:
    """Return the stored control steps per second of a collection of `episodes` image demonstrations."""
    with tempfile.TemporaryDirectory() as folder:
        config = CollectConfig(output=Path(folder) / "data", episodes=episodes, seed=FIRST_SEED, keep_failures=True)
        seconds, collected = silently(partial(collect, config))
    return collected.summary.mean_steps * collected.summary.episodes / seconds


def image_speed(processes: int, slots: int) -> float:
    """Return the control steps per second of `processes` with `slots` each that draw 128 x 128 images at every step."""
    return processes * slots * _IMAGE_STEPS / seconds_side_by_side(_step_with_images, slots, processes)


def seconds_side_by_side(step: Callable[[int, Barrier, Barrier], None], slots: int, processes: int) -> float:
    """Return how long `processes` take that run `step` at the same time [s].

    Args:
        step: Function of the number of slots and of two barriers. It waits at the first one when its environment is
            made, and at the second one when it has stepped.
        slots: Number of slots in each process.
        processes: Number of processes.
    """
    context = multiprocessing.get_context("spawn")
    ready, done = context.Barrier(processes + 1), context.Barrier(processes + 1)
    workers = [context.Process(target=step, args=(slots, ready, done)) for _ in range(processes)]
    with inherited_by_workers():
        for worker in workers:
            worker.start()
    ready.wait()
    start = time.perf_counter()
    done.wait()
    seconds = time.perf_counter() - start
    for worker in workers:
        worker.join()
    return seconds


def silently(work: Callable[[], R]) -> tuple[float, R]:
    """Run `work` and discard its output; return its duration [s] and its result."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        start = time.perf_counter()
        result = work()
        return time.perf_counter() - start, result


def _drawing_and_network_clocks() -> tuple[AbstractContextManager[Clock], ...]:
    from envs.tabletop.rendering import SceneRenderer
    from simscaleai.models.vla import VisionLanguageAction

    return clock_on(SceneRenderer, "draw"), clock_on(VisionLanguageAction, "predict")


def _step_with_images(slots: int, ready: Barrier, done: Barrier) -> None:
    env = TaskVectorEnv(ENV_ID, slots, cameras=("front",), terminate_on_success=False, num_threads=1)
    env.reset(seed=FIRST_SEED)
    actions = _actions(slots)[:_IMAGE_STEPS]
    env.step(actions[0])  # the first frame makes the GL context
    ready.wait()
    for rows in actions:
        env.step(rows)
    done.wait()


@lru_cache(maxsize=1)
def _vector_env() -> TaskVectorEnv:
    return TaskVectorEnv(
        ENV_ID, SLOTS, environment_state=True, terminate_on_success=False, autoreset_mode=AutoresetMode.NEXT_STEP
    )


@lru_cache(maxsize=1)
def _single_env() -> gym.Env[Any, Any]:
    return gym.make(f"envs:{ENV_ID}", environment_state=True)


def step_all(env: TaskVectorEnv) -> float:
    """Step every slot of `env` with random actions; return the duration [s]."""
    env.reset(seed=FIRST_SEED)
    actions = _actions(env.num_envs)
    start = time.perf_counter()
    for rows in actions:
        env.step(rows)
    return time.perf_counter() - start


def _actions(slots: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-1, 1, (STEPS, slots, ACTION.size)).astype(np.float32)


def _command_time(arguments: list[str], *, exit_code: int) -> float:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - start
    if done.returncode != exit_code:
        raise RuntimeError(f"expected exit code {exit_code} of {arguments}, got {done.returncode}: {done.stderr}")
    return seconds
