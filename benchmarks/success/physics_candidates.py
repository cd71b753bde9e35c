"""Compares physics options by the success of the expert, the stability of the grasp, and speed.

    python -m benchmarks.success.physics_candidates --episodes 200

Every candidate changes some physics options of the shipped scene. Writes benchmarks/results/physics_candidates.csv.
Uses development seeds only.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

import envs.tabletop.simulation
from benchmarks.tables import RESULTS, write_csv
from envs.registration import find_environment
from envs.slots import SlotEnv, Start
from eval.episodes.loop import rollout
from eval.episodes.plan import plan_episodes
from eval.execution.assembly import build_environment, build_policy, closing
from eval.probing.noise import DisplacementNoise
from eval.runs.summary import summarise
from policies.scripted.experts import EXPERTS
from simscaleai.assets import asset_path
from simscaleai.contract import Observation

ENV_ID = "SimScale/PickPlaceLanguage-v0"
SLOTS = 32
HELD_CUBES = 64
FIRST_SEED = 3_000_100_000
TABLE = RESULTS / "physics_candidates.csv"


def options(integrator: str, milliseconds: float, **others: Any) -> dict[str, Any]:
    """Return physics options: an integrator by its MuJoCo name, a time step [ms], and any others."""
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
    """Return a replacement for `load_scene` that compiles scenes with other physics options."""

    def load(name: str) -> mujoco.MjModel:
        spec = mujoco.MjSpec.from_file(str(asset_path(f"{name}.xml")))
        for option, value in differing.items():
            setattr(spec.option, option, value)
        return spec.compile()

    return load


def run_expert(episodes: int, noise: float) -> tuple[float, float, float]:
    """Return success rate, mean steps, and environment steps per second of the expert under action noise."""
    registration = find_environment(ENV_ID)
    policy = build_policy("scripted", None, registration.offer())
    with closing(build_environment(registration, [policy.needs], SLOTS)) as env:
        probes = [DisplacementNoise(noise, env.spec.action)] if noise else []
        start = time.perf_counter()
        results = rollout(env, policy, plan_episodes(episodes, FIRST_SEED), probes=probes)
        seconds = time.perf_counter() - start
    summary = summarise(results, episodes)
    return summary.success_rate, summary.mean_steps, summary.mean_steps * episodes / seconds


def grasp_creep(seconds: float = 3.0) -> tuple[float, float]:
    """Lift cubes, hold them still for `seconds`, and return the mean and the largest slip in the gripper [mm]."""
    registration = find_environment(ENV_ID)
    expert = EXPERTS[ENV_ID](registration.offer())
    env = registration.make(HELD_CUBES, expert.needs, True, None)
    hold = np.array([0, 0, 0, -1], dtype=np.float32)
    env.reset(np.arange(HELD_CUBES), [Start(FIRST_SEED + index) for index in range(HELD_CUBES)])
    lifted, stage = np.zeros(HELD_CUBES, dtype=bool), np.full(HELD_CUBES, "", dtype=object)
    for _ in range(40):
        actions = expert.act(_observe(env))
        actions[lifted] = hold
        slots = np.flatnonzero(~lifted | (stage == "lifted"))
        transition = env.step(slots, actions[slots])
        stage[slots] = transition.stage
        lifted |= stage == "lifted"
        if (transition.terminated | transition.truncated).any():
            break
    in_hand, slots = _cube_from_ee(env), np.flatnonzero(lifted)
    for _ in range(int(env.spec.control_hz * seconds)):
        env.step(slots, np.tile(hold, (len(slots), 1)))
    slip = 1000 * np.linalg.norm((_cube_from_ee(env) - in_hand)[lifted], axis=1)
    return float(slip.mean()), float(slip.max())


def _observe(env: SlotEnv) -> Observation:
    return env.observe(np.arange(env.num_slots), np.zeros(env.num_slots, dtype=bool))


def _cube_from_ee(env: SlotEnv) -> NDArray[np.float32]:
    """Return the position of each target cube relative to the end effector [m], shape (N, 3)."""
    observation, vectors = _observe(env), env.spec.vectors
    cube = vectors["environment_state"].get(observation["environment_state"], "cube_position")
    from_ee: NDArray[np.float32] = cube - vectors["state"].get(observation["state"], "ee_position")
    return from_ee


def main() -> None:
    """Measure every candidate and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=200)
    episodes = parser.parse_args().episodes
    rows = []
    for name, differing in CANDIDATES.items():
        envs.tabletop.simulation.load_scene = scene_loader(differing)  # type: ignore[assignment]
        success, steps, speed = run_expert(episodes, noise=0.0)
        noisy, _, _ = run_expert(episodes, noise=0.5)
        mean_slip, max_slip = grasp_creep()
        rows.append(
            {
                "candidate": name,
                "episodes": episodes,
                "success": success,
                "success under noise 0.5": noisy,
                "steps": round(steps, 1),
                "mean slip mm/3s": round(mean_slip, 2),
                "max slip mm/3s": round(max_slip, 2),
                "steps/s": round(speed),
            }
        )
        print(*rows[-1].values(), sep=" | ", flush=True)
    write_csv(TABLE, rows)


if __name__ == "__main__":
    main()
