"""Meta-World: a Sawyer arm in fifty manipulation tasks, and MT10, ten of them in one run. Package `metaworld` 3.

Quirks mended: goal and objects are drawn from the seed of the episode (the package's `reset(seed)` ignores it); the
goal is part of the observation (the package hides it unless a task is set).
"""

from __future__ import annotations

from typing import Any

SUMMARY = "Meta-World: fifty tasks of a Sawyer arm, with goals and objects drawn from the seed (metaworld)."
PYTHONS = ("3.11", "3.12", "3.13")
PACKAGES = ("metaworld", "mujoco")
REVISION = 1
USUAL_SLOTS = 8
LIMIT = 500

TASKS = {
    "assembly-v3": "pick up the ring and place it over the peg",
    "basketball-v3": "put the ball into the basket",
    "bin-picking-v3": "move the cube from one bin to the other",
    "box-close-v3": "put the cover on the box",
    "button-press-topdown-v3": "press the button from above",
    "button-press-topdown-wall-v3": "reach past the wall and press the button from above",
    "button-press-v3": "press the button",
    "button-press-wall-v3": "reach past the wall and press the button",
    "coffee-button-v3": "press the button of the coffee machine",
    "coffee-pull-v3": "pull the mug away from the coffee machine",
    "coffee-push-v3": "push the mug under the coffee machine",
    "dial-turn-v3": "turn the dial",
    "disassemble-v3": "take the ring off the peg",
    "door-close-v3": "close the door",
    "door-lock-v3": "lock the door",
    "door-open-v3": "open the door",
    "door-unlock-v3": "unlock the door",
    "drawer-close-v3": "close the drawer",
    "drawer-open-v3": "open the drawer",
    "faucet-close-v3": "turn the faucet clockwise",
    "faucet-open-v3": "turn the faucet counterclockwise",
    "hammer-v3": "drive in the nail with the hammer",
    "hand-insert-v3": "insert the gripper into the hole",
    "handle-press-side-v3": "press the handle down from the side",
    "handle-press-v3": "press the handle down",
    "handle-pull-side-v3": "pull the handle up from the side",
    "handle-pull-v3": "pull the handle up",
    "lever-pull-v3": "pull the lever up",
    "peg-insert-side-v3": "insert the peg into the hole from the side",
    "peg-unplug-side-v3": "pull the peg out of the hole",
    "pick-out-of-hole-v3": "pick the puck out of the hole",
    "pick-place-v3": "pick up the puck and hold it at the goal",
    "pick-place-wall-v3": "pick up the puck and hold it at the goal behind the wall",
    "plate-slide-back-side-v3": "slide the plate out of the cabinet from the side",
    "plate-slide-back-v3": "slide the plate out of the cabinet",
    "plate-slide-side-v3": "slide the plate into the cabinet from the side",
    "plate-slide-v3": "slide the plate into the cabinet",
    "push-back-v3": "pull the puck back to the goal",
    "push-v3": "push the puck to the goal",
    "push-wall-v3": "push the puck past the wall to the goal",
    "reach-v3": "reach the goal",
    "reach-wall-v3": "reach the goal behind the wall",
    "shelf-place-v3": "put the block onto the shelf",
    "soccer-v3": "kick the ball into the goal",
    "stick-pull-v3": "pull the container with the stick",
    "stick-push-v3": "push the container with the stick",
    "sweep-into-v3": "sweep the block into the hole",
    "sweep-v3": "sweep the block off the table",
    "window-close-v3": "slide the window shut",
    "window-open-v3": "slide the window open",
}
MT10 = ("reach", "push", "pick-place", "door-open", "drawer-open", "drawer-close", "button-press-topdown")
GROUPS = {"mt10": tuple(f"{task}-v3" for task in (*MT10, "peg-insert-side", "window-open", "window-close"))}
CHECKED = "reach-v3"

DETAILS = {
    "vectors": {
        "state": {"features": [["hand_position", 3, "m", "world"], ["gripper_opening", 1, "1", "gripper"]]},
        "environment_state": {
            "features": [
                ["hand_position", 3, "m", "world"],
                ["gripper_opening", 1, "1", "gripper"],
                ["objects", 14, "m, quaternion", "world"],
                ["previous", 18, "m, quaternion", "world"],
                ["goal_position", 3, "m", "world"],
            ],
            "privileged": True,
        },
    },
    "cameras": ["corner2", "corner", "corner3", "topview", "behindGripper", "gripperPOV"],
    "action_names": ["delta_x", "delta_y", "delta_z", "gripper"],
    "action_meaning": "displacement of the hand in the world (±1 = 10 mm), effort that closes the gripper",
    "control_hz": 80,
    "max_episode_steps": LIMIT,
    "success_rule": "info:success",
    "success": "Meta-World's own success of the task: info['success'] is 1.",
}


class MetaWorld:
    """One task. Its observation has the hand as `state`, and the whole vector of the package as simulator truth."""

    details = DETAILS

    def __init__(self, task: str) -> None:
        """Make the environment of `task`, for example "reach-v3"."""
        import numpy as np
        from gymnasium import spaces
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS

        self._words = TASKS[task]
        self._renderers: dict[Any, Any] = {}
        self._env = env = ALL_V3_ENVIRONMENTS[task]()
        env.seeded_rand_vec, env._freeze_rand_vec, env._set_task_called = True, False, True
        env._partially_observable = False
        vars(env).pop("sawyer_observation_space", None)  # it is cached, and would clip the goal to zero
        self.action_space = self._env.action_space
        self.observation_space = spaces.Dict(
            {
                key: spaces.Box(-np.inf, np.inf, (size,), np.float64)
                for key, size in {"state": 4, "environment_state": 39}.items()
            }
        )

    def reset(self, seed: int, options: Any = None) -> Any:
        """Begin an episode with the goal and the objects that the seed gives."""
        self._env.seed(seed)
        self.raw_observation, info = self._env.reset()
        return self._split(), {**info, "instruction": self._words}

    def step(self, action: Any) -> Any:
        """Advance by one control step."""
        self.raw_observation, *others = self._env.step(action)
        return (self._split(), *others)

    def image(self, camera: str, size: Any) -> Any:
        """Return the picture of a camera of the scene."""
        import mujoco

        if size not in self._renderers:
            self._renderers[size] = mujoco.Renderer(self._env.model, *size)
        self._renderers[size].update_scene(self._env.data, camera)
        picture = self._renderers[size].render()
        return picture[::-1, ::-1] if camera.startswith("corner") else picture  # those three hang upside down

    def close(self) -> None:
        """Free all resources."""
        for renderer in self._renderers.values():
            renderer.close()
        self._env.close()

    def _split(self) -> Any:
        return {"state": self.raw_observation[:4], "environment_state": self.raw_observation}


def make(task: str) -> MetaWorld:
    """Return the environment of `task`."""
    return MetaWorld(task)


def expert(task: str) -> Any:
    """Return the package's scripted policy for `task`."""
    from metaworld.policies import ENV_POLICY_MAP

    return ENV_POLICY_MAP[task]()
