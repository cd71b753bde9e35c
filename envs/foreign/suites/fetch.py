"""Fetch: a mobile manipulator's arm reaches, pushes, slides, or picks and places. Package `gymnasium-robotics`.

Quirks mended: the package needs a MuJoCo below 3.12, which the lock file has; observations that hold the object are
marked as simulator truth.
"""

from __future__ import annotations

from typing import Any

SUMMARY = "Fetch: reach, push, slide, and pick and place with goals (gymnasium-robotics)."
PYTHONS = ("3.11", "3.12", "3.13")
PACKAGES = ("gymnasium-robotics", "mujoco")
REVISION = 1
USUAL_SLOTS = 8
LIMIT = 50

TASKS = {
    "reach": "move the gripper to the red goal",
    "push": "push the block to the red goal",
    "slide": "hit the puck so that it slides to the red goal",
    "pick-and-place": "pick up the block and hold it at the red goal",
}
CHECKED = "pick-and-place"

IDS = {
    "reach": "FetchReach-v4",
    "push": "FetchPush-v4",
    "slide": "FetchSlide-v4",
    "pick-and-place": "FetchPickAndPlace-v4",
}
FRONT = {"distance": 1.6, "azimuth": 150.0, "elevation": -25.0, "lookat": (1.3, 0.75, 0.5)}

_GRIPPER: list[list[Any]] = [["gripper_position", 3, "m", "world"]]
_OBJECT = [["object_position", 3, "m", "world"], ["object_relative_position", 3, "m", "gripper"]]
_FINGERS = [["finger_positions", 2, "m", "gripper"]]
_OBJECT_MOTION = [
    ["object_rotation", 3, "rad", "world"],
    ["object_velocity", 3, "m/step", "gripper"],
    ["object_angular_velocity", 3, "rad/step", "world"],
]
_MOTION = [["gripper_velocity", 3, "m/step", "world"], ["finger_velocities", 2, "m/step", "gripper"]]


def details(task: str) -> dict[str, Any]:
    """Return what the interface of Gymnasium does not say about `task`."""
    has_object = task != "reach"
    seen = [*_GRIPPER, *_OBJECT, *_FINGERS, *_OBJECT_MOTION, *_MOTION] if has_object else _GRIPPER + _FINGERS + _MOTION
    thing = "object" if has_object else "gripper"
    return {
        "vectors": {
            "observation": {"features": seen, "privileged": has_object},
            "achieved_goal": {"features": [[f"{thing}_position", 3, "m", "world"]], "privileged": has_object},
            "desired_goal": {"features": [["goal_position", 3, "m", "world"]]},
        },
        "cameras": ["front"],
        "action_names": ["delta_x", "delta_y", "delta_z", "gripper"],
        "action_meaning": "displacement of the gripper in the world (±1 = 50 mm), target opening of the fingers",
        "control_hz": 25,
        "max_episode_steps": LIMIT,
        "success_rule": "info:is_success",
        "success": f"The {thing} is within 50 mm of the goal.",
    }


class Fetch:
    """One task, with cameras of any size."""

    def __init__(self, task: str) -> None:
        """Make the environment of `task`, for example "reach"."""
        import gymnasium
        import gymnasium_robotics
        import numpy as np
        from gymnasium import spaces

        gymnasium.register_envs(gymnasium_robotics)
        self._words, self.details = TASKS[task], details(task)
        env: Any = gymnasium.make(IDS[task], disable_env_checker=True)
        self._env = env.unwrapped
        self.action_space: Any = self._env.action_space
        shapes = {key: space.shape for key, space in self._env.observation_space.spaces.items()}
        self.observation_space: Any = spaces.Dict(
            {key: spaces.Box(-np.inf, np.inf, shape, np.float64) for key, shape in shapes.items()}
        )
        self._renderers: dict[Any, Any] = {}

    def reset(self, seed: int, options: Any = None) -> Any:
        """Begin an episode with the object and the goal that the seed gives."""
        observation, info = self._env.reset(seed=seed)
        return observation, {**info, "instruction": self._words}

    def step(self, action: Any) -> Any:
        """Advance by one control step."""
        return self._env.step(action)

    def image(self, camera: str, size: Any) -> Any:
        """Return the picture of a camera; the goal is drawn as a red ball."""
        import mujoco

        if size not in self._renderers:
            self._renderers[size] = mujoco.Renderer(self._env.model, *size)
        self._env._render_callback()
        self._renderers[size].update_scene(self._env.data, _front())
        return self._renderers[size].render()

    def close(self) -> None:
        """Free all resources."""
        for renderer in self._renderers.values():
            renderer.close()
        self._env.close()


def _front() -> Any:
    import mujoco

    camera = mujoco.MjvCamera()
    for name, value in FRONT.items():
        if name == "lookat":
            camera.lookat[:] = value
        else:
            setattr(camera, name, value)
    return camera


def make(task: str) -> Fetch:
    """Return the environment of `task`."""
    return Fetch(task)
