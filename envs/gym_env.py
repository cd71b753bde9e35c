"""The single environment: the vector environment with one slot, so that there is no second physics path."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from envs.interface import CONTROL_HZ, ObservationArrays, SimScaleError
from envs.vector_env import TaskVectorEnv


class TaskEnv(gym.Env[ObservationArrays, NDArray[np.float32]]):
    """One slot of a task as a `gymnasium.Env`.

    The task's class says what is done, seen and drawn: `envs.reach.Reach`, `envs.pick_place.PickPlace`,
    `envs.pick_place_language.PickPlaceLanguage`. The same seed and actions give the same episode, bit for bit, as in
    any slot of `TaskVectorEnv`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": CONTROL_HZ}  # noqa: RUF012  Gymnasium's name and type

    def __init__(self, env_id: str, *, render_mode: str | None = None, **options: Any) -> None:
        """Make the environment; `options` are those of `TaskVectorEnv`.

        `gym.make` keeps `max_episode_steps` to itself, as an outer limit: there it can only shorten episodes.
        """
        self._vector = TaskVectorEnv(
            env_id, 1, autoreset_mode=AutoresetMode.DISABLED, render_mode=render_mode, **options
        )
        self.render_mode = render_mode
        self.action_space = self._vector.single_action_space
        self.observation_space = self._vector.single_observation_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObservationArrays, dict[str, Any]]:
        """Begin an episode; see `TaskVectorEnv.reset`. Options: "target" and "instruction", where the task has them."""
        super().reset(seed=seed)
        observation, info = self._vector.reset(seed=[seed], options=options)
        return _first_row(observation), _first_info(info)

    def step(self, action: NDArray[np.float32]) -> tuple[ObservationArrays, float, bool, bool, dict[str, Any]]:
        """Advance by one control step; `action` has shape (4,)."""
        if not isinstance(action, np.ndarray) or action.shape != self.action_space.shape:
            came = f"shape {action.shape}" if isinstance(action, np.ndarray) else type(action).__name__
            raise SimScaleError(f"expected an action array of shape {self.action_space.shape}, got {came}")
        observation, reward, terminated, truncated, info = self._vector.step(action[None])
        return _first_row(observation), float(reward[0]), bool(terminated[0]), bool(truncated[0]), _first_info(info)

    def render(self) -> NDArray[np.uint8] | None:
        """Return a frame in the video profile (480, 480, 3), or None without a render mode."""
        frames = self._vector.render()
        return None if frames is None else frames[0]

    def close(self) -> None:
        """Free the GL contexts."""
        self._vector.close()


def _first_row(observation: ObservationArrays) -> ObservationArrays:
    return {key: rows[0] for key, rows in observation.items()}


def _first_info(info: dict[str, Any]) -> dict[str, Any]:
    values = {key: rows[0] for key, rows in info.items() if not key.startswith("_")}
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in values.items()}
