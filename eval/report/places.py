"""Where on the table episodes begin: reset again from their seeds, in the environment and without drawing.

Nothing needs to be recorded for it, since a scene is a function of its seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.interface import Contract, Layout, SimScaleError
from eval.assembly import build_environment, environment_contract
from eval.comparison import Run
from eval.results import EpisodeResult

MOST_EPISODES = 1000
"""More points than these hide each other."""

_FEATURES = {"cube_position": "Where the cube starts", "goal_position": "Where the goal is"}
"""Feature of the environment's state to what is said of it."""

_SLOTS = 50


@dataclass(frozen=True)
class Places:
    """One thing's starting places, in the order of the results that they were derived from."""

    feature: str
    """Its name in the environment's state."""
    title: str
    """What is shown, in words."""
    xy: NDArray[np.float64]
    """Horizontal position in the world frame, (n, 2) [m]."""


def starting_places(run: Run, results: Sequence[EpisodeResult]) -> tuple[Places, ...]:
    """Return where the episodes of `results` begin; nothing if their environment is not here as it was.

    Args:
        run: The run that they belong to.
        results: Its first episodes, as many as are to be shown.
    """
    env_id = run.task.environment
    if not results or env_id is None:
        return ()
    try:
        contract = environment_contract(env_id)
        if contract.environments[env_id] != run.task.scene:
            return ()
        truth = _beginnings(contract, env_id, results)
    except SimScaleError:  # an environment of somebody else, or targets that there are not
        return ()
    layout = contract.vectors["environment_state"]
    return tuple(_places(layout, truth, feature) for feature in _FEATURES if _has(layout, feature))


def _beginnings(contract: Contract, env_id: str, results: Sequence[EpisodeResult]) -> NDArray[np.float32]:
    """Return the environment's state at the start of each episode, (n, size)."""
    env, rows = build_environment(contract, env_id, min(_SLOTS, len(results))), []
    for first in range(0, len(results), env.num_envs):
        batch = results[first : first + env.num_envs]
        padded = [*batch, *[batch[-1]] * (env.num_envs - len(batch))]
        targets = [result.target for result in padded]
        observation, _ = env.reset(seed=[result.seed for result in padded], options={"target": targets})
        rows.append(observation["environment_state"][: len(batch)].copy())
    return np.concatenate(rows)


def _has(layout: Layout, name: str) -> bool:
    return any(feature.name == name and feature.size >= 2 for feature in layout.features)


def _places(layout: Layout, truth: NDArray[np.float32], feature: str) -> Places:
    return Places(feature, _FEATURES[feature], layout.get(truth, feature)[:, :2].astype(np.float64))
