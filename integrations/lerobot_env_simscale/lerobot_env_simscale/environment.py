"""`SimScaleEnv`: one slot of any environment of SimScaleAI, as the `gymnasium.Env` that LeRobot expects.

LeRobot renames `agent_pos` to `observation.state`, `pixels[CAMERA]` to `observation.images.CAMERA`, and every other key
to `observation.KEY`. An export by `python -m simscaleai.data export --format lerobot` has the same names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs import find_environment
from envs.slots import Start
from simscaleai.contract import EnvSpec
from simscaleai.errors import SimScaleError, UnknownNameError

ImageSize = tuple[int, int]
"""Height and width [px]."""

_SLOT = np.zeros(1, dtype=np.intp)
_WITH_IMAGES = np.ones(1, dtype=bool)
_FILM_SIZE = (256, 256)


class SimScaleEnv(gym.Env[dict[str, Any], NDArray[np.float32]]):
    """One slot of an environment of SimScaleAI. An episode ends at its first success or at the time limit."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012  Gymnasium's name and type
    render_mode = "rgb_array"

    def __init__(
        self, task: str, cameras: Sequence[str] | None, image_size: ImageSize, episode_length: int | None
    ) -> None:
        """Make the environment.

        Args:
            task: Name of the environment, as for `--env` of `python -m eval.rollout`.
            cameras: Cameras to observe; None for all.
            image_size: Height and width of the images [px], where the environment leaves the choice.
            episode_length: Time limit in control steps; None for that of the environment.

        Raises:
            SimScaleError: If there is no such environment or camera, or `task` names several environments.
        """
        registration = find_environment(task)
        spec = registration.offer()
        if spec.tasks:
            raise SimScaleError(f"expected one task, got a suite of {len(spec.tasks)}: {task}; name one of its tasks")
        measured = [key for key, layout in spec.vectors.items() if not layout.privileged]
        needs = spec.needs(
            *measured, cameras=camera_sizes(spec, cameras, image_size), instruction=spec.has_instructions
        )
        self._slots = registration.make(1, needs, terminate_on_success=True, max_episode_steps=episode_length)
        self._vectors, self._cameras = needs.vectors, needs.cameras
        self._film_camera = next(iter(spec.film_cameras), None)
        self._seen: NDArray[np.uint8] | None = None
        """Last image of the first camera."""
        self._max_episode_steps = episode_length or spec.max_episode_steps  # LeRobot's name
        self.task = task
        self.task_description = ""
        self.metadata = {**self.metadata, "render_fps": round(spec.control_hz)}
        self.observation_space = self._observation_space()
        low, high = (np.array(limits, np.float32) for limits in (spec.action.low, spec.action.high))
        self.action_space = gym.spaces.Box(low, high, dtype=np.float32)

    def _observation_space(self) -> gym.spaces.Dict:
        spaces: dict[str, gym.Space[Any]] = {
            observation_name(key): gym.spaces.Box(-np.inf, np.inf, (layout.size,), np.float32)
            for key, layout in self._vectors.items()
        }
        if self._cameras:
            images = [(camera, gym.spaces.Box(0, 255, (*size, 3), np.uint8)) for camera, size in self._cameras.items()]
            spaces["pixels"] = gym.spaces.Dict(images)
        return gym.spaces.Dict(spaces)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin the episode of `seed`, the one that `eval.rollout` runs for it. `options` are LeRobot's own."""
        super().reset(seed=seed)
        start = Start(int(self.np_random.integers(2**31)) if seed is None else seed)
        (begun,) = self._slots.reset(_SLOT, [start])
        self.task_description = begun.instruction
        return self._observe(), {"is_success": False}

    def step(self, action: ArrayLike) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Advance by one control step; `action` has shape (A,), values beyond the limits are clipped."""
        transition = self._slots.step(_SLOT, np.asarray(action, np.float32)[None])
        info = {"is_success": bool(transition.success[0]), "failure": transition.failure[0]}
        ended = bool(transition.terminated[0]), bool(transition.truncated[0])
        return self._observe(), float(transition.reward[0]), *ended, info

    def _observe(self) -> dict[str, Any]:
        rows = self._slots.observe(_SLOT, _WITH_IMAGES)
        observation: dict[str, Any] = {observation_name(key): rows[key][0] for key in self._vectors}
        if self._cameras:
            observation["pixels"] = {camera: rows[camera][0] for camera in self._cameras}
            self._seen = next(iter(observation["pixels"].values()))
        return observation

    def render(self) -> NDArray[np.uint8]:
        """Return a picture for a film, uint8 (height, width, 3): what the policy sees through its first camera.

        LeRobot films by default, and a picture of its own would take longer than the step. Without cameras, the picture
        is one for films; black if the environment cannot be filmed.
        """
        if self._seen is not None:
            return self._seen
        if self._film_camera is None:
            return np.zeros((*_FILM_SIZE, 3), np.uint8)
        return self._slots.frame(0, self._film_camera, _FILM_SIZE)

    def close(self) -> None:
        """Free all resources."""
        self._slots.close()


def observation_name(vector: str) -> str:
    """Return the key under which LeRobot gets a vector."""
    return "agent_pos" if vector == "state" else vector


def camera_sizes(spec: EnvSpec, cameras: Sequence[str] | None, image_size: ImageSize) -> dict[str, ImageSize]:
    """Return the cameras to observe with the sizes of their images.

    Raises:
        UnknownNameError: If the environment has no such camera.
    """
    chosen = spec.cameras if cameras is None else cameras
    for camera in chosen:
        if camera not in spec.cameras:
            raise UnknownNameError("camera", camera, spec.cameras)
    return {camera: spec.cameras[camera] or image_size for camera in chosen}
