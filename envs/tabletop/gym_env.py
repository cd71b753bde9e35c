"""The single environment: one slot of a task as a `gymnasium.Env`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.slots import Start
from envs.tabletop.arguments import (
    action_space,
    as_actions,
    check_choice,
    goal_reward,
    make_task_slots,
    observation_space,
    own_options,
    per_slot_seeds,
)
from envs.tabletop.names import ACTION, CONTROL_HZ, OVERVIEW
from envs.tabletop.task_slots import START_OPTIONS
from envs.tabletop.vector_env import VIDEO_SIZE
from simscaleai.contract import Observation

Info = dict[str, Any]

_SLOT = np.zeros(1, dtype=np.intp)
_WITH_IMAGES = np.ones(1, dtype=bool)


class TaskEnv(gym.Env[Observation, NDArray[np.float32]]):
    """One slot of a task.

    The class of the task documents goal, observation and random draws: `envs.tabletop.tasks.reach.Reach`,
    `envs.tabletop.tasks.pick_place.PickPlace`, `envs.tabletop.tasks.pick_place_language.PickPlaceLanguage`,
    `envs.tabletop.tasks.stack.Stack`. For goal-conditioned tasks, see `GoalTaskEnv`. The same seed and actions give
    the same episode, bit for bit, as in any slot of `TaskVectorEnv`. An environment can be copied (`copy.deepcopy`)
    and pickled. The copy continues the episode, bit for bit.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": CONTROL_HZ}  # noqa: RUF012  Gymnasium's name and type

    def __init__(self, env_id: str, *, render_mode: str | None = None, **options: Any) -> None:
        """Make the environment.

        `gym.make` does not pass `max_episode_steps` on, but wraps the environment in a `TimeLimit`. There, only this
        wrapper truncates episodes. From the task's own limit on, `info["failure"]` names the failure class.

        Args:
            env_id: Registered id, for example "SimScale/PickPlace-v0".
            render_mode: None or "rgb_array" (`render` returns a picture in the video profile).
            **options: `cameras`, `image_size`, `environment_state`, `terminate_on_success`, `reward`,
                `max_episode_steps` and `num_threads`, as for `TaskVectorEnv`.

        Raises:
            SimScaleError: If the value of an argument is not allowed.
        """
        check_choice("render_mode", render_mode, (None, "rgb_array"))
        self.task_slots = make_task_slots(env_id, 1, **options)
        """The slot, as a `SlotEnv`."""
        self.render_mode = render_mode
        self.action_space = action_space()
        self.observation_space = observation_space(self.task_slots)
        self._episode: Info = {}
        """Entries of the info that stay the same during an episode."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Begin an episode. Options: "target", "instruction" and "perturbation"; see `TaskVectorEnv.reset`."""
        (seed,) = per_slot_seeds([seed], 1)
        super().reset(seed=None if seed is None else int(seed))
        start = Start(
            int(self.np_random.integers(2**31)) if seed is None else int(seed), own_options(options, START_OPTIONS)
        )
        (begun,) = self.task_slots.reset(_SLOT, [start])
        self._episode = {"instruction": begun.instruction, "target": self.task_slots.task.targets[0]}
        success = bool(self.task_slots.task.success()[0])
        return self._observe(), self._make_info(success, begun.stage, "")

    def step(self, action: ArrayLike) -> tuple[Observation, float, bool, bool, Info]:
        """Advance by one control step; `action` has shape (4,). Values beyond ±1 are clipped."""
        transition = self.task_slots.step(_SLOT, as_actions(action, (ACTION.size,))[None])
        info = self._make_info(bool(transition.success[0]), transition.stage[0], transition.failure[0])
        terminated, truncated = bool(transition.terminated[0]), bool(transition.truncated[0])
        if truncated and self._is_limited_by_gymnasium():
            self.task_slots.extend(_SLOT)
            truncated = False
        return self._observe(), float(transition.reward[0]), terminated, truncated, info

    def _is_limited_by_gymnasium(self) -> bool:
        """Return whether `gym.make` made this environment, and registered its id with a time limit."""
        registered = gym.registry.get(self.spec.id) if self.spec else None
        return registered is not None and registered.max_episode_steps is not None

    def get_state(self) -> dict[str, Any]:
        """Return everything that the future of this environment depends on, for `set_state`. It can be pickled.

        A wrapper has a state of its own: the `TimeLimit` of `gym.make` counts steps. `copy.deepcopy` of the whole
        environment copies that, too.
        """
        episode, stream = dict(self._episode), self.np_random.bit_generator.state
        return {"slot": self.task_slots.save(_SLOT), "episode": episode, "stream": stream}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of this or another environment of the same task, bit for bit.

        Raises:
            SimScaleError: If the state comes from another task.
        """
        self.task_slots.restore(_SLOT, state["slot"])
        self._episode = dict(state["episode"])
        self.np_random.bit_generator.state = state["stream"]

    def _observe(self) -> Observation:
        return {key: rows[0] for key, rows in self.task_slots.observe(_SLOT, _WITH_IMAGES).items()}

    def _make_info(self, success: bool, stage: str, failure: str) -> Info:
        distances = {name: values[0].item() for name, values in self.task_slots.task.distances().items()}
        return {"success": success, "stage": stage, "failure": failure, **self._episode, **distances}

    def render(self) -> NDArray[np.uint8] | None:
        """Return a picture in the video profile (480, 480, 3), or None without a render mode."""
        return None if self.render_mode is None else self.task_slots.frame(0, OVERVIEW, VIDEO_SIZE)

    def close(self) -> None:
        """Free the GL contexts."""
        self.task_slots.close()


class GoalTaskEnv(TaskEnv):
    """One slot of a goal-conditioned task, as Hindsight Experience Replay expects it.

    The tasks: `envs.tabletop.tasks.reach_goal.ReachGoal`, `envs.tabletop.tasks.pick_place_goal.PickPlaceGoal`. The
    observation has the keys "observation", "achieved_goal" and "desired_goal". The reward is "sparse", the only one
    that follows from the goals.
    """

    def compute_reward(self, achieved_goal: ArrayLike, desired_goal: ArrayLike, info: object) -> Any:
        """Return the reward of steps that achieve `achieved_goal` (…, 3) [m] if `desired_goal` (…, 3) [m] is desired.

        Returns:
            0 at success and -1 otherwise, float64 (…). `info` has no effect.
        """
        return goal_reward(self.task_slots, achieved_goal, desired_goal)
