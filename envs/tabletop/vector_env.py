"""The vector environment: Gymnasium's VectorEnv over the slots of one task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.slots import Start, Transition
from envs.tabletop.arguments import (
    SeedStream,
    action_space,
    check_actions,
    check_choice,
    check_mask,
    find_autoreset_mode,
    make_task_slots,
    observation_space,
    per_slot_options,
    per_slot_seeds,
)
from envs.tabletop.names import ACTION, CONTROL_HZ, OVERVIEW
from envs.tabletop.task_slots import START_OPTIONS
from simscaleai.contract import Observation
from simscaleai.errors import SimScaleError

Info = dict[str, Any]

VIDEO_SIZE = (480, 480)
"""Height and width of what `render` returns [px]."""


class TaskVectorEnv(VectorEnv[Observation, NDArray[np.float32], NDArray[Any]]):
    """N slots of one task, simulated together.

    A slot's episode is a pure function of its seed and its actions: the same for any `num_envs`, whatever the other
    slots do. All three autoreset modes of Gymnasium work. The time limit is part of this class, since native vector
    environments take no wrappers.

    A slot whose action is not finite, or whose simulation diverges, ends its episode at that step (`terminated`,
    `info["failure"]`) in the state from before the step. Other slots are not affected.

    Observations have the key "state", the key "environment_state" on request, and one key for each camera.

    Attributes:
        task_slots: The slots, as a `SlotEnv`.

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
        image_size: tuple[int, int] = (128, 128),
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
            image_size: Height and width of each image [px].
            environment_state: Whether to observe `environment_state`, simulator truth.
            terminate_on_success: Whether an episode ends at its first success.
            reward: "sparse" (1 at success, else 0) or "dense" (the task's shaped reward).
            max_episode_steps: Time limit in control steps; by default the task's.
            render_mode: None or "rgb_array" (`render` gives each slot in the video profile).
            autoreset_mode: What happens after an episode's end, as Gymnasium defines.
            num_threads: Threads that share the physics; by default chosen from N and the CPUs.

        Raises:
            SimScaleError: If an argument is not among the possible ones.
        """
        check_choice("render_mode", render_mode, (None, "rgb_array"))
        self._autoreset_mode = find_autoreset_mode(autoreset_mode)
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
            "autoreset_mode": self._autoreset_mode,
        }
        self.num_envs, self.render_mode = num_envs, render_mode
        self.single_action_space = action_space()
        self.single_observation_space = observation_space(self.task_slots)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._seed_streams = [SeedStream() for _ in range(num_envs)]
        self._all = np.arange(num_envs)
        self._everywhere = np.ones(num_envs, dtype=bool)
        self._begun = np.zeros(num_envs, dtype=bool)
        self._ended = np.zeros(num_envs, dtype=bool)
        self._success = np.zeros(num_envs, dtype=bool)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Begin new episodes.

        Args:
            seed: One for each slot; an int s means s + i for slot i. A slot without a seed draws one from its own
                stream.
            options: "reset_mask" (N,) bool: the slots to reset, by default all. "target", "instruction": for every
                slot, or one per slot (None: drawn from the seed); see the task.

        Returns:
            Observation (N, ...) and info, rows of slots that were not reset unchanged.

        Raises:
            SimScaleError: If a seed or an option is impossible, or the first reset does not cover every slot.
        """
        options = options or {}
        for name in options:
            check_choice("reset option", name, ("reset_mask", *START_OPTIONS))
        mask = options.get("reset_mask", self._everywhere)
        check_mask("reset_mask", mask, self.num_envs)
        if not (mask | self._begun).all():
            raise SimScaleError("the first reset must cover every slot: there is no earlier episode to leave as it is")
        seeds, choices = per_slot_seeds(seed, self.num_envs), per_slot_options(options, self.num_envs)
        slots = np.flatnonzero(mask)
        self._begin(
            slots, [Start(self._seed_streams[slot].next(seeds[slot]), choices[slot]) for slot in slots.tolist()]
        )
        return self.task_slots.observe(self._all, self._everywhere), self._make_info_of_reset()

    def _begin(self, slots: NDArray[np.intp], starts: Sequence[Start]) -> None:
        self._begun[slots] = False  # a reset that is refused half-way leaves no episode that could be stepped
        self.task_slots.reset(slots, starts)
        self._begun[slots], self._ended[slots] = True, False
        self._success[slots] = self.task_slots.task.success()[slots]

    def _renew(self, slots: NDArray[np.intp]) -> None:
        self._begin(slots, [Start(self._seed_streams[slot].next()) for slot in slots.tolist()])

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]:
        """Advance by one control step.

        Args:
            actions: (N, 4), floating point; values beyond ±1 are clipped.

        Returns:
            Observation, reward (N,), terminated (N,), truncated (N,), info. A slot reports its end once.

        Raises:
            SimScaleError: For actions of another shape or dtype, or a slot stepped after its end.
        """
        check_actions(actions, (self.num_envs, ACTION.size))
        slots = self._slots_to_step()
        done = self.task_slots.step(slots, actions if len(slots) == self.num_envs else actions[slots])
        reward, terminated, truncated, success, failure, stage = self._spread_all(slots, done)
        self._ended, self._success = terminated | truncated, success
        observation, info = self.task_slots.observe(self._all, self._everywhere), self._make_info(failure, stage)
        if self._autoreset_mode == AutoresetMode.SAME_STEP and self._ended.any():
            observation, info = self._renew_at_once(self._ended.copy(), observation, info)
        return observation, reward, terminated, truncated, info

    def _slots_to_step(self) -> NDArray[np.intp]:
        """Return the slots that take a control step; with NEXT_STEP, the others begin an episode instead."""
        if not self._begun.all():
            raise SimScaleError("step before the first reset; call reset() first")
        if not self._ended.any():
            return self._all
        if self._autoreset_mode == AutoresetMode.DISABLED:
            ended = np.flatnonzero(self._ended).tolist()
            raise SimScaleError(f"slots {ended} have ended; reset them first (options={{'reset_mask': …}})")
        slots = np.flatnonzero(~self._ended)
        self._renew(np.flatnonzero(self._ended))
        return slots

    def _spread_all(self, slots: NDArray[np.intp], done: Transition) -> list[NDArray[Any]]:
        """Return reward, terminated, truncated, success, failure and stage of all slots.

        Slots other than `slots` have just begun an episode.
        """
        words = (np.array(done.failure, dtype=object), np.array(done.stage, dtype=object))
        stepped = [done.reward, done.terminated, done.truncated, done.success, *words]
        if len(slots) == self.num_envs:
            return stepped
        everywhere = [np.zeros(self.num_envs, values.dtype) for values in stepped[:-2]]
        everywhere += [self._no_failure(), self.task_slots.task.stage()]
        for values, rows in zip(everywhere, stepped, strict=True):
            values[slots] = rows
        return everywhere

    def _renew_at_once(
        self, ended: NDArray[np.bool_], final_observation: Observation, final_info: Info
    ) -> tuple[Observation, Info]:
        """Reset the slots that ended; return their last observation and info in the way that SAME_STEP defines."""
        self._renew(np.flatnonzero(ended))
        observation = self.task_slots.observe(self._all, ended)
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
        present = np.ones((len(info), self.num_envs), dtype=bool)  # Gymnasium's masks; no two share memory
        return info | {f"_{key}": row for key, row in zip(info, present, strict=True)}

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """Return each slot's picture in the video profile, or None without a render mode."""
        if self.render_mode is None:
            return None
        return tuple(self.task_slots.frame(slot, OVERVIEW, VIDEO_SIZE) for slot in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """Free the GL contexts."""
        self.task_slots.close()
