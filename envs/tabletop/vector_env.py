"""The vector environment: Gymnasium's VectorEnv over the slots of one task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from envs.slots import Start, Transition
from envs.tabletop.arguments import (
    Seeds,
    SeedStream,
    action_space,
    as_actions,
    check_choice,
    check_mask,
    find_autoreset_mode,
    goal_reward,
    make_task_slots,
    observation_space,
    own_options,
    per_slot_options,
    per_slot_seeds,
)
from envs.tabletop.names import ACTION, CONTROL_HZ, OVERVIEW
from envs.tabletop.task_slots import START_OPTIONS
from simscaleai.contract import Observation
from simscaleai.errors import SimScaleError

Info = dict[str, Any]

VIDEO_SIZE = (480, 480)
"""Height and width of the pictures that `render` returns [px]."""


class TaskVectorEnv(VectorEnv[Observation, NDArray[np.float32], NDArray[Any]]):
    """N slots of one task, simulated together.

    An episode depends only on its seed and its actions, not on `num_envs` or on other slots. All three autoreset modes
    of Gymnasium work. This class applies the time limit itself, since native vector environments take no wrappers. An
    environment can be copied (`copy.deepcopy`) and pickled. The copy continues the episodes, bit for bit.

    A slot whose action is not finite, or whose simulation diverges, ends its episode at that step (`terminated`,
    `info["failure"]`) in the state from before the step. Other slots are not affected.

    Observations have the key "state", the key "environment_state" on request, and one key for each camera.

    Attributes:
        task_slots: The slots, as a `SlotEnv`.
        autoreset_mode: When a slot is reset after its episode ended.

    Example:
        >>> env = TaskVectorEnv("SimScale/PickPlace-v0", 16, cameras=("front",), image_size=(96, 96))
        >>> observation, info = env.reset(seed=0)
        >>> observation["front"].shape
        (16, 96, 96, 3)
    """

    def __init__(
        self,
        env_id: str,
        num_envs: int = 1,
        *,
        cameras: Sequence[str] = (),
        image_size: int | tuple[int, int] = 128,
        environment_state: bool = False,
        terminate_on_success: bool = True,
        reward: str = "sparse",
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        num_threads: int | None = None,
    ) -> None:
        """Compile the scene and allocate the slots.

        Args:
            env_id: Registered id, for example "SimScale/PickPlace-v0".
            num_envs: Number of slots, N.
            cameras: Cameras to observe, of "front" and "wrist".
            image_size: Height and width of each image [px]; one number for both.
            environment_state: Whether to observe `environment_state`, simulator truth.
            terminate_on_success: Whether an episode ends at its first success.
            reward: "sparse" (`Task.sparse_reward`: 1 at success, else 0; in goal-conditioned tasks 0 and -1) or "dense"
                (1 at success, plus the growth of `Task.progress`, which says how a success pays most; from -1 to 2;
                not in goal-conditioned tasks).
            max_episode_steps: Time limit in control steps; by default the task's.
            render_mode: None or "rgb_array" (`render` returns a picture of each slot in the video profile).
            autoreset_mode: When a slot is reset after its episode ended, as Gymnasium defines it.
            num_threads: Threads that share the physics; by default chosen from N and the CPUs.

        Raises:
            SimScaleError: If the value of an argument is not allowed.
        """
        check_choice("render_mode", render_mode, (None, "rgb_array"))
        self.autoreset_mode = find_autoreset_mode(autoreset_mode)
        self.task_slots = make_task_slots(
            env_id,
            num_envs,
            cameras=cameras,
            image_size=image_size,
            environment_state=environment_state,
            terminate_on_success=terminate_on_success,
            reward=reward,
            max_episode_steps=max_episode_steps,
            num_threads=num_threads,
        )
        self.metadata = {
            "render_modes": ["rgb_array"],
            "render_fps": CONTROL_HZ,
            "autoreset_mode": self.autoreset_mode,
        }
        self.num_envs, self.render_mode = num_envs, render_mode
        self._spec: EnvSpec | None = None
        self.single_action_space = action_space()
        self.single_observation_space = observation_space(self.task_slots)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._seed_streams = [SeedStream() for _ in range(num_envs)]
        self._all_slots = np.arange(num_envs)
        self._all_true = np.ones(num_envs, dtype=bool)
        self._begun = np.zeros(num_envs, dtype=bool)
        self._ended = np.zeros(num_envs, dtype=bool)
        self._success = np.zeros(num_envs, dtype=bool)

    @property
    def spec(self) -> EnvSpec | None:
        """What `gym.make_vec` made this environment from, with the time limit of this environment."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        limit = self.task_slots.spec.max_episode_steps
        self._spec = None if spec is None else replace(spec, max_episode_steps=limit)

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Begin new episodes.

        Args:
            seed: One seed for each slot, or an int s, which gives slot i the seed s + i. A slot without a seed draws
                one from its own stream.
            options: "reset_mask" (N,) bool: the slots to reset, by default all. "target", "instruction": one value
                for all slots, or one per slot (None: drawn from the seed); see the task. "perturbation": one mapping
                for all slots, or one per slot, from the name of an axis of the scene to a magnitude, for example
                {"light.intensity": 0.5}; see `read_perturbation`. Options of other tools are ignored.

        Returns:
            Observation (N, ...) and info. The rows of slots that were not reset stay as they were.

        Raises:
            SimScaleError: If a seed or an option is invalid, or the first reset does not cover every slot.
        """
        options = own_options(options, ("reset_mask", *START_OPTIONS))
        mask = options.get("reset_mask", self._all_true)
        check_mask("reset_mask", mask, self.num_envs)
        if not (mask | self._begun).all():
            raise SimScaleError("the first reset must cover every slot: there is no earlier episode to leave as it is")
        seeds, choices = per_slot_seeds(seed, self.num_envs), per_slot_options(options, self.num_envs)
        slots = np.flatnonzero(mask)
        self._begin(
            slots, [Start(self._seed_streams[slot].next(seeds[slot]), choices[slot]) for slot in slots.tolist()]
        )
        return self.task_slots.observe(self._all_slots, self._all_true), self._make_info_of_reset()

    def _begin(self, slots: NDArray[np.intp], starts: Sequence[Start]) -> None:
        self._begun[slots] = False  # if the reset fails, these slots cannot be stepped
        self.task_slots.reset(slots, starts)
        self._begun[slots], self._ended[slots] = True, False
        self._success[slots] = self.task_slots.task.success()[slots]

    def _begin_next_episodes(self, slots: NDArray[np.intp]) -> None:
        self._begin(slots, [Start(self._seed_streams[slot].next()) for slot in slots.tolist()])

    def step(
        self, actions: ArrayLike
    ) -> tuple[Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]:
        """Advance by one control step.

        Args:
            actions: (N, 4), real numbers; values beyond ±1 are clipped.

        Returns:
            Observation, reward (N,), terminated (N,), truncated (N,), info. The end of an episode is reported once.

        Raises:
            SimScaleError: If `actions` has a wrong shape or dtype, or an episode has ended and its slot was not reset.
        """
        rows = as_actions(actions, (self.num_envs, ACTION.size))
        slots = self._slots_to_step()
        transition = self.task_slots.step(slots, rows if len(slots) == self.num_envs else rows[slots])
        reward, terminated, truncated, success, failure, stage = self._extend_to_all_slots(slots, transition)
        self._ended, self._success = terminated | truncated, success
        observation, info = self.task_slots.observe(self._all_slots, self._all_true), self._make_info(failure, stage)
        if self.autoreset_mode == AutoresetMode.SAME_STEP and self._ended.any():
            observation, info = self._reset_ended_slots(self._ended.copy(), observation, info)
        return observation, reward, terminated, truncated, info

    def _slots_to_step(self) -> NDArray[np.intp]:
        """Return the slots that take a control step. With NEXT_STEP, begin an episode in each of the other slots."""
        if not self._begun.all():
            raise SimScaleError("step before the first reset; call reset() first")
        if not self._ended.any():
            return self._all_slots
        if self.autoreset_mode == AutoresetMode.DISABLED:
            ended = np.flatnonzero(self._ended).tolist()
            raise SimScaleError(f"slots {ended} have ended; reset them first (options={{'reset_mask': …}})")
        slots = np.flatnonzero(~self._ended)
        self._begin_next_episodes(np.flatnonzero(self._ended))
        return slots

    def _extend_to_all_slots(self, slots: NDArray[np.intp], transition: Transition) -> list[NDArray[Any]]:
        """Return reward, terminated, truncated, success, failure and stage of all slots.

        Only `slots` took a step. The other slots have just begun an episode.
        """
        words = (np.array(transition.failure, dtype=object), np.array(transition.stage, dtype=object))
        stepped = [transition.reward, transition.terminated, transition.truncated, transition.success, *words]
        if len(slots) == self.num_envs:
            return stepped
        extended = [np.zeros(self.num_envs, values.dtype) for values in stepped[:-2]]
        extended += [self._no_failure(), self.task_slots.task.stage()]
        for values, rows in zip(extended, stepped, strict=True):
            values[slots] = rows
        return extended

    def _reset_ended_slots(
        self, ended: NDArray[np.bool_], final_observation: Observation, final_info: Info
    ) -> tuple[Observation, Info]:
        """Reset the slots whose episode `ended`. Return observation and info in the form that SAME_STEP defines."""
        self._begin_next_episodes(np.flatnonzero(ended))
        observation = self.task_slots.observe(self._all_slots, ended)
        for camera in self.task_slots.needs.cameras:
            observation[camera][~ended] = final_observation[camera][~ended]
        final_info |= {key: ended.copy() for key in final_info if key.startswith("_")}
        finals = np.full(self.num_envs, None, dtype=object)
        for slot in np.flatnonzero(ended).tolist():
            finals[slot] = {key: rows[slot].copy() for key, rows in final_observation.items()}
        info = self._make_info_of_reset()
        info |= {"final_obs": finals, "_final_obs": ended.copy(), "final_info": final_info, "_final_info": ended.copy()}
        return observation, info

    def _no_failure(self) -> NDArray[np.object_]:
        return np.full(self.num_envs, "", dtype=object)

    def _make_info_of_reset(self) -> Info:
        return self._make_info(self._no_failure(), self.task_slots.task.stage())

    def _make_info(self, failure: NDArray[np.object_], stage: NDArray[np.object_]) -> Info:
        task = self.task_slots.task
        info: Info = {
            "success": self._success.copy(),
            "stage": stage,
            "failure": failure,
            "instruction": task.instructions.copy(),
            "target": task.targets.copy(),
            **task.distances(),
        }
        present = np.ones((len(info), self.num_envs), dtype=bool)  # Gymnasium's masks, none of which share memory
        return info | {f"_{key}": row for key, row in zip(info, present, strict=True)}

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Return the attribute `name`, or what the method `name` returns, for each slot.

        The slots share this object, so a value that is not one per slot is repeated.
        """
        if name in ("reset", "step", "close"):
            raise SimScaleError(f"{name!r} is for all slots at once; call {name}() instead of call({name!r})")
        single = f"single_{name}"  # as in `action_space`, whose counterpart for all slots has another shape
        value = getattr(self, single if hasattr(self, single) else name)
        result = value(*args, **kwargs) if callable(value) else value
        return result if isinstance(result, tuple) and len(result) == self.num_envs else (result,) * self.num_envs

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Return the attribute `name` of each slot; see `call`."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set the attribute `name`: one value, or a list with the same value for each slot.

        Raises:
            SimScaleError: If the values differ, since the slots share this object.
        """
        each = list(values) if isinstance(values, list | tuple) else [values] * self.num_envs
        if len(each) != self.num_envs or not all(np.array_equal(value, each[0]) for value in each):
            raise SimScaleError(f"the {self.num_envs} slots share {name!r}; expected one value for all, got {values!r}")
        setattr(self, name, each[0])

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """Return each slot's picture in the video profile, or None without a render mode."""
        if self.render_mode is None:
            return None
        return tuple(self.task_slots.frame(slot, OVERVIEW, VIDEO_SIZE) for slot in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """Free the GL contexts."""
        self.task_slots.close()


class GoalTaskVectorEnv(TaskVectorEnv):
    """N slots of a goal-conditioned task; see `GoalTaskEnv`."""

    def compute_reward(self, achieved_goal: ArrayLike, desired_goal: ArrayLike, info: object) -> Any:
        """Return the reward of steps; see `GoalTaskEnv.compute_reward`."""
        return goal_reward(self.task_slots, achieved_goal, desired_goal)
