"""The vector environment: N slots of one task behind Gymnasium's VectorEnv, with what an evaluator needs besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.arguments import (
    check_actions,
    check_cameras,
    check_choice,
    check_mask,
    find_autoreset_mode,
    per_slot_options,
    per_slot_seeds,
)
from envs.controller import CartesianController
from envs.digests import profile_digest, scene_digest
from envs.interface import ACTION_DIM, CONTROL_HZ, Contract, ObservationArrays, SimScaleError
from envs.registration import find_task
from envs.rendering import OVERVIEW, VIDEO_CAMERAS, SceneRenderer
from envs.simulation import MAX_ARM_SPEED, Simulation

Info = dict[str, Any]
_BOUNDS = {"state": MAX_ARM_SPEED, "environment_state": 1000.0}
"""Largest magnitude of each vector observation: the arm stays below its divergence, a fallen cube within 1 km."""

_REWARDS = ("sparse", "dense")
_OPTIONS = ("reset_mask", "target", "instruction")


class TaskVectorEnv(VectorEnv[ObservationArrays, NDArray[np.float32], NDArray[Any]]):
    """N slots of one task, simulated together.

    A slot's episode is a pure function of its seed and its actions: the same for any `num_envs`, whatever the other
    slots do. All three autoreset modes of Gymnasium work; the time limit lives here, since native vector environments
    take no wrappers. An evaluator uses `AutoresetMode.DISABLED`, resets the slots of a mask, and steps the slots of a
    mask: a slot outside the mask is not simulated; its observation holds, its reward is 0 and its flags are False. A
    slot's end, with the class of its failure, is reported once.

    A slot whose action is not finite, or whose simulation diverges, ends its episode at that step (`terminated`,
    `info["failure"]`) in the state from before it; other slots do not notice.

    Attributes:
        env_id: Registered id.
        task: The task; its instructions and targets are those of the running episodes.
        terminate_on_success: Whether an episode ends at its first success.
        executed_actions: What the controller was sent at each slot's last step, after clipping, (N, 4); zeros for an
            action that was not finite.

    Example:
        >>> env = TaskVectorEnv("SimScale/PickPlace-v0", 16, cameras=("front",), image_size=(96, 96))
        >>> observation, info = env.reset(seed=0)
        >>> observation["image"].shape
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
        images_on_request: bool = False,
    ) -> None:
        """Compile the scene and allocate the slots.

        Args:
            env_id: A registered id, for example "SimScale/Reach-v0".
            num_envs: Number of slots, N.
            cameras: Cameras of `envs.interface.CAMERAS` whose images stack on the channels of `image`.
            image_size: Height and width of each image [px].
            environment_state: Whether observations hold simulator truth.
            terminate_on_success: Whether an episode ends at its first success.
            reward: "sparse" (1 at success, else 0) or "dense" (the task's shaped reward).
            max_episode_steps: Time limit in control steps; by default the task's.
            render_mode: None or "rgb_array" (`render` gives each slot in the video profile).
            autoreset_mode: What happens after an episode's end, as Gymnasium defines.
            num_threads: Threads that share the physics; by default chosen from N and the CPUs.
            images_on_request: Leave `image` out of observations; `render_images` draws the slots that need it.
        """
        check_choice("reward", reward, _REWARDS)
        check_choice("render_mode", render_mode, (None, "rgb_array"))
        check_cameras(cameras, image_size)
        if max_episode_steps is not None and max_episode_steps < 1:
            raise SimScaleError(f"max_episode_steps must be at least 1, got {max_episode_steps}")
        task_class = find_task(env_id)
        autoreset_mode = find_autoreset_mode(autoreset_mode)
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": CONTROL_HZ, "autoreset_mode": autoreset_mode}
        self.env_id, self.num_envs, self.render_mode = env_id, num_envs, render_mode
        self._simulation = Simulation(task_class.scene, num_envs, num_threads)
        self._scene_digest = scene_digest(self._simulation.model)
        self._controller = CartesianController(self._simulation)
        self.task = task_class(self._simulation, self._controller)
        self._cameras, self._image_size = tuple(cameras), (int(image_size[0]), int(image_size[1]))
        self._environment_state, self._images_on_request = environment_state, images_on_request
        self.terminate_on_success, self._dense = terminate_on_success, reward == "dense"
        self._max_episode_steps = max_episode_steps or task_class.max_episode_steps
        self._autoreset_mode = autoreset_mode
        self._renderers: dict[tuple[tuple[int, int], bool], SceneRenderer] = {}
        self.single_action_space = gym.spaces.Box(-1.0, 1.0, (ACTION_DIM,), np.float32)
        self.single_observation_space = self._make_observation_space()
        self._observation_keys = tuple(self.single_observation_space)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        # What a slot draws seeds from: a generator, or the seed of one that nothing has been drawn from yet.
        self._slot_streams: list[np.random.Generator | int | None] = [None] * num_envs
        self._elapsed = np.zeros(num_envs, dtype=np.int64)
        self._ended = np.ones(num_envs, dtype=bool)
        self._begun = np.zeros(num_envs, dtype=bool)
        self._faults = np.full(num_envs, "", dtype=object)
        self.executed_actions = np.zeros((num_envs, ACTION_DIM), dtype=np.float32)

    def _make_observation_space(self) -> gym.spaces.Dict:
        layouts = {"state": self.task.state_layout}
        if self._environment_state:
            layouts["environment_state"] = self.task.environment_layout
        spaces: dict[str, gym.Space[Any]] = {
            key: gym.spaces.Box(-_BOUNDS[key], _BOUNDS[key], (layout.size,), np.float32)
            for key, layout in layouts.items()
        }
        if self._cameras and not self._images_on_request:
            spaces["image"] = gym.spaces.Box(0, 255, (*self._image_size, 3 * len(self._cameras)), np.uint8)
        return gym.spaces.Dict(spaces)

    @property
    def contract(self) -> Contract:
        """What this environment gives and takes; exactly one entry in `environments`."""
        images = bool(self._cameras)
        return Contract(
            environments={self.env_id: self._scene_digest},
            state=self.task.state_layout,
            environment_state=self.task.environment_layout if self._environment_state else None,
            cameras=self._cameras,
            image_size=self._image_size if images else None,
            render_profile=profile_digest(self._simulation.model) if images else None,
            language=True,
            max_episode_steps=self._max_episode_steps,
        )

    @property
    def qpos(self) -> NDArray[np.float64]:
        """Joint positions of every slot, (N, nq), a copy."""
        return self._simulation.qpos.copy()

    @property
    def qvel(self) -> NDArray[np.float64]:
        """Joint velocities of every slot, (N, nv), a copy."""
        return self._simulation.qvel.copy()

    # Reset

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObservationArrays, Info]:
        """Begin new episodes.

        Args:
            seed: One for each slot; an int s means s + i for slot i. A slot without a seed draws one from its own.
            options: "reset_mask" (N,) bool: the slots to reset, by default all. "target", "instruction": for every
                slot, or one per slot (None: drawn from the seed); see the task.

        Returns:
            Observation (N, ...) and info, rows of slots that were not reset unchanged.
        """
        options = options or {}
        for name in options:
            check_choice("reset option", name, _OPTIONS)
        mask = check_mask("reset_mask", options.get("reset_mask", np.ones(self.num_envs, dtype=bool)), self.num_envs)
        if not (mask | self._begun).all():
            raise SimScaleError("the first reset must cover every slot: there is no earlier episode to leave as it is")
        overrides = per_slot_options(options, self.num_envs)
        self._begin(np.flatnonzero(mask), per_slot_seeds(seed, self.num_envs), overrides)
        return self._observe(), self._make_info(np.zeros(self.num_envs, dtype=bool))

    def _begin(
        self, slots: NDArray[np.intp], seeds: Sequence[int | None], overrides: Sequence[Mapping[str, Any]]
    ) -> None:
        episode_seeds = []
        for slot in slots:
            seed = seeds[slot]
            if seed is not None:
                self._slot_streams[slot] = seed
            episode_seeds.append(self._draw_seed(slot) if seed is None else int(seed))
        self._begun[slots] = False  # a reset that is refused half-way leaves nothing that could be stepped
        self.task.reset([int(slot) for slot in slots], episode_seeds, [overrides[slot] for slot in slots])
        self._elapsed[slots], self._ended[slots], self._begun[slots] = 0, False, True
        self._faults[slots] = ""

    def _draw_seed(self, slot: int) -> int:
        """Return the seed of the next episode of `slot`, from its own stream."""
        stream = self._slot_streams[slot]
        rng = stream if isinstance(stream, np.random.Generator) else np.random.default_rng(stream)
        self._slot_streams[slot] = rng
        return int(rng.integers(2**31))

    # Step

    def step(
        self, actions: NDArray[np.float32], active: NDArray[np.bool_] | None = None
    ) -> tuple[ObservationArrays, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]:
        """Advance by one control step.

        Args:
            actions: (N, 4), floating point; values beyond ±1 are clipped.
            active: Slots to advance, (N,) bool; only with `AutoresetMode.DISABLED`. By default all.

        Returns:
            Observation, reward (N,), terminated (N,), truncated (N,), info. A slot reports its end once.

        Raises:
            SimScaleError: For actions of another shape or dtype, or a slot stepped after its end.
        """
        actions = check_actions(actions, self.num_envs)
        running = self._check_active(active)
        if self._autoreset_mode == AutoresetMode.NEXT_STEP:
            running &= ~self._ended
            self._renew(~running)
        terminated, truncated, reward = self._advance(actions, running)
        ended_now = terminated | truncated
        self._ended |= ended_now
        observation, info = self._observe(), self._make_info(ended_now)
        if self._autoreset_mode == AutoresetMode.SAME_STEP and ended_now.any():
            observation, info = self._renew_at_once(ended_now, observation, info)
        return observation, reward, terminated, truncated, info

    def _advance(
        self, actions: NDArray[np.float32], running: NDArray[np.bool_]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float64]]:
        """Simulate the slots in `running`; return terminated, truncated and reward."""
        finite = np.asarray(np.isfinite(actions).all(axis=1))
        clipped = np.minimum(np.maximum(np.where(finite[:, None], actions, 0.0), -1.0), 1.0).astype(np.float32)
        live = running & finite
        self.executed_actions = np.where(running[:, None], clipped, self.executed_actions)
        diverged = np.zeros(self.num_envs, dtype=bool)
        if live.any():
            self._controller.apply(clipped, live)
            diverged = self._simulation.step(live)
            self.task.update(live & ~diverged)
        self._elapsed += running
        invalid = running & ~finite
        faulty = invalid | diverged
        if faulty.any():
            self._faults[invalid] = "invalid_action"
            self._faults[diverged] = "diverged"
        success = np.asarray(self.task.success() & running & ~faulty)
        terminated = faulty | (success & self.terminate_on_success)
        truncated = running & ~terminated & (self._elapsed >= self._max_episode_steps)
        reward = self.task.dense_reward() if self._dense else success.astype(np.float64)
        return terminated, truncated, np.where(running & ~faulty, reward, 0.0)

    def _renew(self, mask: NDArray[np.bool_]) -> None:
        if mask.any():
            self._begin(np.flatnonzero(mask), [None] * self.num_envs, [{}] * self.num_envs)

    def _renew_at_once(
        self, ended: NDArray[np.bool_], final_observation: ObservationArrays, final_info: Info
    ) -> tuple[ObservationArrays, Info]:
        """Reset the slots that ended and hand out their last observation and info as Gymnasium's SAME_STEP asks."""
        self._renew(ended)
        observation, info = self._observe(ended), self._make_info(np.zeros(self.num_envs, dtype=bool))
        if "image" in observation:
            observation["image"][~ended] = final_observation["image"][~ended]
        final_info |= {key: ended.copy() for key in final_info if key.startswith("_")}
        finals = np.full(self.num_envs, None, dtype=object)
        for slot in np.flatnonzero(ended):
            finals[slot] = {key: rows[slot].copy() for key, rows in final_observation.items()}
        info |= {"final_obs": finals, "_final_obs": ended.copy(), "final_info": final_info, "_final_info": ended.copy()}
        return observation, info

    def _check_active(self, active: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        if not self._begun.all():
            raise SimScaleError("step before the first reset; call reset() first")
        mask = np.ones(self.num_envs, dtype=bool) if active is None else check_mask("active", active, self.num_envs)
        if self._autoreset_mode != AutoresetMode.DISABLED:
            if active is not None:
                raise SimScaleError("step(active=…) needs autoreset_mode=AutoresetMode.DISABLED")
            return mask
        if (mask & self._ended).any():
            slots = np.flatnonzero(mask & self._ended).tolist()
            raise SimScaleError(
                f"slots {slots} have ended; reset them (options={{'reset_mask': …}}) or leave them out of active"
            )
        return mask

    # Observe

    def _observe(self, drawn: NDArray[np.bool_] | None = None) -> ObservationArrays:
        """Return fresh observations of all slots; images of the slots in `drawn`, by default all."""
        arrays = self.task.observe()
        observation: ObservationArrays = {key: arrays[key] for key in self._observation_keys if key in arrays}
        if "image" in self._observation_keys:
            everywhere = np.ones(self.num_envs, dtype=bool)
            observation["image"] = self.render_images(everywhere if drawn is None else drawn)
        return observation

    def _make_info(self, ended: NDArray[np.bool_]) -> Info:
        success = np.asarray(self.task.success() & (self._faults == ""))
        failure = np.full(self.num_envs, "", dtype=object)
        lost = ended & ~success
        if lost.any():
            failure[lost] = np.where(self._faults[lost] != "", self._faults[lost], self.task.failure()[lost])
        info: Info = {
            "success": success,
            "stage": self.task.stage(),
            "failure": failure,
            "instruction": self.task.instructions.copy(),
            "target": self.task.targets.copy(),
            **self.task.distances(),
        }
        present = np.ones((len(info), self.num_envs), dtype=bool)  # Gymnasium's masks; no two share memory
        return info | {f"_{key}": row for key, row in zip(info, present, strict=True)}

    def render_images(self, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Draw the slots in `mask` in the observation profile: (N, H, W, 3 · cameras); rows of other slots are zero."""
        if not self._cameras:
            raise SimScaleError("this environment has no cameras to draw; make it with cameras=('front',), for example")
        mask = check_mask("mask", mask, self.num_envs)
        images = np.zeros((self.num_envs, *self._image_size, 3 * len(self._cameras)), dtype=np.uint8)
        renderer = self._renderer(self._image_size, video=False)
        for slot in np.flatnonzero(mask):
            renderer.draw(int(slot), self._cameras, images[slot])
        return images

    def render_frame(
        self, slot: int, *, camera: str = OVERVIEW, size: tuple[int, int] = (480, 480)
    ) -> NDArray[np.uint8]:
        """Draw `slot` in the video profile as one of `envs.rendering.VIDEO_CAMERAS` sees it, (H, W, 3)."""
        check_choice("camera", camera, VIDEO_CAMERAS)
        frame = np.empty((*size, 3), dtype=np.uint8)
        self._renderer(size, video=True).draw(slot, (camera,), frame)
        return frame

    def _renderer(self, size: tuple[int, int], *, video: bool) -> SceneRenderer:
        key = (size, video)
        if key not in self._renderers:
            self._renderers[key] = SceneRenderer(self._simulation, size, video=video)
        return self._renderers[key]

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """Return each slot's frame in the video profile, or None without a render mode."""
        if self.render_mode is None:
            return None
        return tuple(self.render_frame(slot) for slot in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """Free the GL contexts."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()
