"""PushT: push a T-shaped block onto its outline in the plane. Package `gym-pusht`.

Quirk mended: the package adds up the covered area in the order of a set, which differs between environments, so that
rewards differ in the last digit; here the order is fixed.
"""

from __future__ import annotations

from typing import Any

SUMMARY = "PushT: a disc pushes a T-shaped block onto its outline (gym-pusht)."
PYTHONS = ("3.11", "3.12", "3.13")
PACKAGES = ("gym-pusht", "pymunk")
REVISION = 2
CHECKED = ""
TASKS = {"": "push the grey T-shaped block onto the green T"}
USUAL_SLOTS = 16
LIMIT = 300

DETAILS = {
    "vectors": {
        "agent_pos": {"features": [["agent_position", 2, "px", "canvas"]]},
        "environment_state": {
            "features": [
                ["agent_position", 2, "px", "canvas"],
                ["block_position", 2, "px", "canvas"],
                ["block_angle", 1, "rad", "canvas"],
            ],
            "privileged": True,
        },
    },
    "cameras": ["pixels"],
    "action_names": ["x", "y"],
    "action_meaning": "target position of the disc on the canvas of 512 x 512 [px]",
    "idle": "repeat",
    "control_hz": 10,
    "max_episode_steps": LIMIT,
    "success_rule": "info:is_success",
    "success": "The block covers at least 95 % of its outline.",
}


class PushT:
    """The environment with image and positions at once; images have any size."""

    render_mode = "rgb_array"

    def __init__(self) -> None:
        """Make the environment."""
        import numpy as np
        from gym_pusht.envs.pusht import PushTEnv, pymunk_to_shapely
        from gymnasium import spaces

        class OrderedPushT(PushTEnv):  # type: ignore[misc]
            def _get_coverage(self) -> float:
                shapes = sorted(self.block.shapes, key=lambda shape: shape.get_vertices())
                goal = pymunk_to_shapely(self.get_goal_pose_body(self.goal_pose), shapes)
                return float(goal.intersection(pymunk_to_shapely(self.block, shapes)).area / goal.area)

        self._env = OrderedPushT(obs_type="state", render_mode="rgb_array")
        self.action_space = self._env.action_space
        unbounded = {"agent_pos": 2, "environment_state": 5}
        self.observation_space = spaces.Dict(
            {key: spaces.Box(-np.inf, np.inf, (size,), np.float64) for key, size in unbounded.items()}
        )

    details = DETAILS

    def reset(self, seed: int, options: Any = None) -> Any:
        """Begin an episode with the positions that the seed gives."""
        observation, info = self._env.reset(seed=seed, options=options)
        return self._split(observation), {**info, "instruction": TASKS[""]}

    def step(self, action: Any) -> Any:
        """Advance by one control step."""
        observation, *others = self._env.step(action)
        return (self._split(observation), *others)

    def image(self, camera: str, size: Any) -> Any:
        """Return the canvas as the policies of the package see it, without the marks of a human's display."""
        screen, (height, width) = self._env._draw(), size
        return self._env._get_img(screen, width=width, height=height)

    def render(self) -> Any:
        """Return a picture for films."""
        return self._env.render()

    def close(self) -> None:
        """Free all resources."""
        self._env.close()

    def _split(self, state: Any) -> Any:
        return {"agent_pos": state[:2], "environment_state": state}


def make(task: str) -> PushT:
    """Return the environment."""
    return PushT()
