"""The freeze gate: which physics to simulate, by the experts' success, grasp stability and speed.

    python -m benchmarks.physics_candidates --episodes 200

Every candidate differs from the shipped scene in the options named. Writes benchmarks/results/physics_candidates.csv.
Development seeds only.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

import envs.simulation
from envs.interface import asset_path
from envs.vector_env import TaskVectorEnv
from eval.assembly import build_environment, build_policy
from eval.demonstrator import Demonstrator
from eval.loop import rollout
from eval.plan import plan_episodes
from eval.summary import summarise
from policies.scripted import EXPERTS

ENV_ID = "SimScale/PickPlaceLanguage-v0"
SLOTS = 32
FIRST_SEED = 3_000_100_000
RESULTS = Path(__file__).parent / "results" / "physics_candidates.csv"


def options(integrator: str, milliseconds: float, **others: Any) -> dict[str, Any]:
    """Return physics options: an integrator by its MuJoCo name, a step, and whatever else differs."""
    chosen = getattr(mujoco.mjtIntegrator, f"mjINT_{integrator.upper()}")
    return {"integrator": chosen, "timestep": milliseconds / 1000, **others}


CANDIDATES: dict[str, dict[str, Any]] = {
    "implicitfast 2 ms": options("implicitfast", 2),
    "implicitfast 2.5 ms": options("implicitfast", 2.5),
    "implicitfast 5 ms": options("implicitfast", 5),
    "implicitfast 5 ms noslip": options("implicitfast", 5, noslip_iterations=3),
    "discrete 2 ms": options("discrete", 2),
    "discrete 2.5 ms": options("discrete", 2.5),
    "discrete 5 ms": options("discrete", 5),
    "discrete 5 ms sleep": options("discrete", 5, enableflags=int(mujoco.mjtEnableBit.mjENBL_SLEEP)),
    "discrete 5 ms pyramidal": options("discrete", 5, cone=mujoco.mjtCone.mjCONE_PYRAMIDAL, impratio=1.0),
    "discrete 10 ms": options("discrete", 10),
}


def scene_loader(differing: dict[str, Any]) -> Callable[[str], mujoco.MjModel]:
    """Return a replacement of `envs.simulation.load_scene` that compiles scenes with other physics options."""

    def load(name: str) -> mujoco.MjModel:
        spec = mujoco.MjSpec.from_file(str(asset_path(f"{name}.xml")))
        for option, value in differing.items():
            setattr(spec.option, option, value)
        return spec.compile()

    return load


def run_expert(episodes: int, noise: float) -> tuple[float, float, float]:
    """Return success rate, mean steps, and environment steps per second of the expert under action noise."""
    policy = Demonstrator(build_policy("scripted", None, ENV_ID), SLOTS, noise=noise)
    env, start = build_environment(policy.contract, ENV_ID, SLOTS), time.perf_counter()
    summary = summarise(rollout(env, policy, plan_episodes(episodes, FIRST_SEED)), episodes)
    speed = summary.mean_steps * episodes / (time.perf_counter() - start)
    return summary.success_rate, summary.mean_steps, speed


def grasp_creep(seconds: float = 3.0) -> tuple[float, float]:
    """Lift cubes, hold them still, and return the mean and the largest slip in the hand [mm]."""
    env = TaskVectorEnv(ENV_ID, 64, environment_state=True, autoreset_mode=AutoresetMode.DISABLED)
    expert = EXPERTS[ENV_ID](env.contract)
    observation, info = env.reset(seed=FIRST_SEED)
    ids, lifted = np.arange(64), np.zeros(64, dtype=bool)
    for _ in range(40):
        actions = expert.act(observation, ids)
        actions[lifted] = (0.0, 0.0, 0.0, -1.0)
        observation, _, terminated, truncated, info = env.step(actions, active=~lifted | (info["stage"] == "lifted"))
        lifted |= info["stage"] == "lifted"
        if (terminated | truncated).any():
            break
    in_hand = _cube_from_ee(env, observation)
    for _ in range(int(20 * seconds)):
        observation, *_ = env.step(np.tile(np.array([0, 0, 0, -1], dtype=np.float32), (64, 1)), active=lifted)
    moved = _cube_from_ee(env, observation) - in_hand
    slip = 1000 * np.linalg.norm(moved[lifted], axis=1)
    return float(slip.mean()), float(slip.max())


def _cube_from_ee(env: TaskVectorEnv, observation: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    vectors = env.contract.vectors
    cube = vectors["environment_state"].get(observation["environment_state"], "cube_position")
    from_ee: NDArray[np.float32] = cube - vectors["state"].get(observation["state"], "ee_position")
    return from_ee


def main() -> None:
    """Measure every candidate and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=200)
    episodes = parser.parse_args().episodes
    header = [
        "candidate",
        "episodes",
        "success",
        "success under noise 0.5",
        "steps",
        "mean slip mm/3s",
        "max slip mm/3s",
        "steps/s",
    ]
    rows = []
    for name, differing in CANDIDATES.items():
        envs.simulation.load_scene = scene_loader(differing)  # type: ignore[assignment]
        success, steps, speed = run_expert(episodes, noise=0.0)
        noisy, _, _ = run_expert(episodes, noise=0.5)
        rows.append(
            [name, episodes, success, noisy, round(steps, 1), *(round(slip, 2) for slip in grasp_creep()), round(speed)]
        )
        print(*rows[-1], sep=" | ", flush=True)
    with RESULTS.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


if __name__ == "__main__":
    main()
