"""`TaskSlots`: N slots of one tabletop task as a `SlotEnv`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from inspect import getdoc
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.slots import Begun, Slots, Start, Transition
from envs.tabletop.controller import CartesianController
from envs.tabletop.digests import profile_digest, scene_digest
from envs.tabletop.names import ACTION, CAMERAS, CONTROL_HZ, FILM_CAMERAS
from envs.tabletop.perturbations.perturbation import Perturbation, axes_of, read_perturbation
from envs.tabletop.rendering import SceneRenderer
from envs.tabletop.simulation import Simulation, load_scene
from envs.tabletop.tasks.docstring import describe
from envs.tabletop.tasks.task import Task
from simscaleai.contract import EnvSpec, ImageSize, Needs, Observation, check_needs, union_of_needs
from simscaleai.errors import SimScaleError, UnknownNameError

START_OPTIONS = ("target", "instruction", "perturbation")
"""Options of a `Start`: two texts, or None to draw them from the seed; and a mapping, see `read_perturbation`."""


def task_spec(env_id: str, task_class: type[Task], max_episode_steps: int | None = None) -> EnvSpec:
    """Return the specification of a task. The scene is compiled for its digest, but nothing is simulated.

    Args:
        env_id: Registered id.
        task_class: The task.
        max_episode_steps: Time limit in control steps; by default the task's.
    """
    scene, render_profile = _digests(task_class.scene)
    return EnvSpec(
        env_id=env_id,
        digest=scene,
        vectors=task_class.layouts(),
        cameras=dict.fromkeys(CAMERAS),
        render_profile=render_profile,
        film_cameras=FILM_CAMERAS,
        action=ACTION,
        control_hz=CONTROL_HZ,
        max_episode_steps=task_class.max_episode_steps if max_episode_steps is None else max_episode_steps,
        success=describe(getdoc(task_class) or "").success,
        has_instructions=True,
        axes=axes_of(task_class.scene),
    )


@lru_cache(maxsize=8)
def _digests(scene: str) -> tuple[str, str]:
    model = load_scene(scene)
    return scene_digest(model), profile_digest(model)


class TaskSlots:
    """N slots of one task, simulated together.

    All computations run on all N rows, with masks, so that the result of a slot never depends on the other slots.

    Attributes:
        spec: All that the environment offers.
        num_slots: Number of slots, N.
        needs: Vectors and cameras that `observe` returns.
        simulation: The simulations of the slots.
        task: The task.
    """

    def __init__(
        self,
        env_id: str,
        task_class: type[Task],
        num_slots: int,
        needs: Needs | None = None,
        *,
        terminate_on_success: bool = True,
        max_episode_steps: int | None = None,
        dense_reward: bool = False,
        num_threads: int | None = None,
    ) -> None:
        """Compile the scene and allocate the slots.

        Args:
            env_id: Registered id.
            task_class: The task.
            num_slots: Number of slots, N, at least 1.
            needs: Vectors and cameras that `observe` returns; None for nothing.
            terminate_on_success: Whether an episode ends at its first success.
            max_episode_steps: Time limit in control steps; by default the task's.
            dense_reward: Whether to return the shaped reward, see `Task.progress`, or `Task.sparse_reward`.
            num_threads: Threads that share the physics; see `Simulation`.

        Raises:
            MismatchError: If the task does not offer what `needs` ask for.
            SimScaleError: If a number is out of range.
        """
        if max_episode_steps is not None and max_episode_steps < 1:
            raise SimScaleError(f"max_episode_steps must be at least 1, got {max_episode_steps}")
        self.spec = task_spec(env_id, task_class, max_episode_steps)
        self.num_slots = num_slots
        self.needs = union_of_needs([needs] if needs else [])  # vectors and cameras only: no time limit, no digests
        check_needs(self.needs, self.spec)
        self.simulation = Simulation(task_class.scene, num_slots, num_threads)
        self._controller = CartesianController(self.simulation)
        self.task = task_class(self.simulation, self._controller)
        methods = self.task.vectors()
        self._vectors = {key: methods[key] for key in self.needs.vectors}
        self._terminate_on_success, self._dense_reward = terminate_on_success, dense_reward
        self._renderers: dict[tuple[ImageSize, bool, bool], SceneRenderer] = {}
        self._elapsed = np.zeros(num_slots, dtype=np.int64)
        self._running = np.zeros(num_slots, dtype=bool)
        self._perturbations = np.full(num_slots, None, dtype=object)
        self._progress = np.zeros(num_slots)  # for the dense reward alone

    def _index(self, slots: Slots) -> Slots | slice:
        """Return an index for the rows of `slots`: a slice for all rows, which is much quicker than an array."""
        return slice(None) if len(slots) == self.num_slots else slots

    # Episodes

    def reset(self, slots: Slots, starts: Sequence[Start]) -> list[Begun]:
        """Begin an episode in each of `slots`. Options of a start: "target", "instruction" and "perturbation".

        Raises:
            SimScaleError: If an option is unknown or its value is invalid. Then no episode runs in `slots`.
        """
        self._running[slots] = False
        perturbations = [self._read_perturbation(start) for start in starts]
        self._perturb(slots, perturbations)
        options = [
            {**start.options, "perturbation": perturbation}
            for start, perturbation in zip(starts, perturbations, strict=True)
        ]
        self.task.reset(slots, [start.seed for start in starts], options)
        self._elapsed[slots] = 0
        self._running[slots] = True
        self._measure_progress(slots)
        instructions, targets, stages = self.task.instructions, self.task.targets, self.task.stage()
        return [Begun(instructions[slot], {"target": targets[slot] or None}, stages[slot]) for slot in slots.tolist()]

    def _read_perturbation(self, start: Start) -> Perturbation | None:
        """Check the options of `start` and return its perturbation."""
        if not start.options:
            return None
        _check_options(start.options)
        return read_perturbation(self.spec.axes, start.seed, start.options.get("perturbation"))

    def _perturb(self, slots: Slots, perturbations: Sequence[Perturbation | None]) -> None:
        """Give each of `slots` the model of its perturbation; None for the nominal model."""
        scene = self.simulation.scene
        edits = [perturbation.edits(scene) if perturbation else {} for perturbation in perturbations]
        for slot, perturbation, each in zip(slots.tolist(), perturbations, edits, strict=True):
            if perturbation or self._perturbations[slot]:
                self.simulation.edit(slot, each)
                self._perturbations[slot] = perturbation

    def step(self, slots: Slots, actions: NDArray[np.floating[Any]]) -> Transition:
        """Advance `slots` by one control step.

        If an action is not finite, or a simulation diverges, the episode ends in the state from before the step. Other
        slots are not affected.

        Args:
            slots: Slots that run an episode, shape (n,).
            actions: Shape (n, 4); values beyond ±1 are clipped.

        Raises:
            SimScaleError: If a slot runs no episode.
        """
        rows = self._index(slots)
        if not self._running[rows].all():
            idle = (
                f"slots {slots[~self._running[slots]].tolist()} run" if self.num_slots > 1 else "the environment runs"
            )
            raise SimScaleError(f"{idle} no episode; call reset before step")
        finite = np.isfinite(actions).all(axis=1)
        executed = np.minimum(np.maximum(np.where(finite[:, None], actions, 0.0), -1.0), 1.0).astype(np.float32)
        diverged = self._simulate(rows, finite, executed)[rows]
        faulty = diverged | ~finite
        success = self.task.success()[rows] & ~faulty
        self._elapsed[rows] += 1
        terminated = faulty | success if self._terminate_on_success else faulty
        truncated = ~terminated & (self._elapsed[rows] >= self.spec.max_episode_steps)
        ended = terminated | truncated
        self._running[rows] = ~ended
        reward = self.task.sparse_reward(success)
        if self._dense_reward:
            progress = self.task.progress()
            reward += np.where(faulty, 0.0, (progress - self._progress)[rows])
            self._progress[rows] = progress[rows]
        return Transition(
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            success=success,
            executed=executed,
            failure=self._failures(rows, ended & ~success, finite, diverged),
            stage=self.task.stage()[rows].tolist(),
        )

    def _simulate(
        self, rows: Slots | slice, finite: NDArray[np.bool_], executed: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """Simulate the slots of `rows` whose action is `finite`; return a mask (N,) of the slots that diverged."""
        if not finite.any():
            return np.zeros(self.num_slots, dtype=bool)
        mask = np.zeros(self.num_slots, dtype=bool)
        actions = np.zeros((self.num_slots, ACTION.size), dtype=np.float32)
        mask[rows], actions[rows] = finite, executed
        self._controller.apply(actions, mask)
        diverged = self.simulation.step(mask)
        self.task.update(mask & ~diverged)
        return diverged

    def _failures(
        self, rows: Slots | slice, lost: NDArray[np.bool_], finite: NDArray[np.bool_], diverged: NDArray[np.bool_]
    ) -> list[str]:
        """Return the failure class of each episode that ended without success (`lost`), "" for the others."""
        failures = [""] * len(lost)
        if lost.any():
            classes = self.task.failure()[rows]
            for row in np.flatnonzero(lost).tolist():
                failures[row] = "diverged" if diverged[row] else classes[row] if finite[row] else "invalid_action"
        return failures

    def _measure_progress(self, slots: Slots) -> None:
        if self._dense_reward:
            self._progress[slots] = self.task.progress()[slots]

    def extend(self, slots: Slots) -> None:
        """Let the episodes in `slots`, which the time limit has just ended, go on."""
        self._running[slots] = True

    # Saving and restoring

    def save(self, slots: Slots) -> dict[str, Any]:
        """Return everything that the future of the episodes in `slots` depends on, for `restore`. It can be pickled."""
        rows = [rows[slots] for rows in self._episode_arrays()]
        return {
            "environment": self._identity(),
            "perturbations": self._perturbations[slots].tolist(),
            "rows": rows,
            "crowd": self.simulation.crowd_rows(slots),
        }

    def restore(self, slots: Slots, saved: Mapping[str, Any]) -> None:
        """Continue saved episodes in `slots`, bit for bit. These may be other slots, or slots of another object.

        Raises:
            SimScaleError: If `saved` comes from another environment.
        """
        if saved["environment"] != self._identity():
            raise SimScaleError(f"expected a state of {self._identity()}, got one of {saved['environment']}")
        for rows, values in zip(self._episode_arrays(), saved["rows"], strict=True):
            rows[slots] = values
        self._perturb(slots, saved["perturbations"])
        self.simulation.restore(slots, saved["rows"][0], saved["crowd"])
        self.task.measure()
        self._measure_progress(slots)

    def _identity(self) -> tuple[str, str]:
        return self.spec.env_id, self.spec.digest

    def _episode_arrays(self) -> list[NDArray[Any]]:
        """Return all arrays, each (N, …), that hold something about the running episodes."""
        task = self.task.episode_arrays()
        return [self.simulation.state_rows, self._controller.target, *task, self._elapsed, self._running]

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the slots with their episodes. GL contexts are created anew."""
        make = partial(
            TaskSlots,
            self.spec.env_id,
            type(self.task),
            self.num_slots,
            self.needs,
            terminate_on_success=self._terminate_on_success,
            max_episode_steps=self.spec.max_episode_steps,
            dense_reward=self._dense_reward,
            num_threads=self.simulation.num_threads,
        )
        return make, (), self.save(np.arange(self.num_slots))

    def __setstate__(self, saved: Mapping[str, Any]) -> None:
        """Continue the episodes that were copied or pickled."""
        self.restore(np.arange(self.num_slots), saved)

    # Observation

    def observe(self, slots: Slots, with_images: NDArray[np.bool_]) -> Observation:
        """Return fresh observations of `slots` with exactly the keys of the needs; see `SlotEnv.observe`.

        Raises:
            SimScaleError: If this machine cannot render.
        """
        rows = self._index(slots)
        observation: Observation = {key: method()[rows] for key, method in self._vectors.items()}
        if self.needs.cameras:
            blank = np.empty if with_images.all() else np.zeros
            images = {key: blank((len(slots), *size, 3), dtype=np.uint8) for key, size in self.needs.cameras.items()}
            self._draw(slots, np.flatnonzero(with_images).tolist(), images)
            observation |= images
        return observation

    def _draw(self, slots: Slots, rows: Sequence[int], images: Mapping[str, NDArray[np.uint8]]) -> None:
        """Draw the slots at `rows` of `slots` into the same rows of `images`, all cameras of one size together."""
        for size in dict.fromkeys(self.needs.cameras.values()) if rows else ():
            together = [key for key in images if self.needs.cameras[key] == size]
            for variant in (False, True):
                some = [row for row in rows if self.simulation.needs_variant(int(slots[row])) == variant]
                if some:
                    views = {int(slots[row]): {key: images[key][row] for key in together} for row in some}
                    self._renderer(size, video=False, variant=variant).draw(views)

    def state(self, slots: Slots) -> list[bytes]:
        """Return joint positions, then joint velocities, of each slot, as little-endian float64.

        Poses and velocities of distractors follow.
        """
        states = np.concatenate([self.simulation.qpos, self.simulation.qvel], axis=1, dtype="<f8")[self._index(slots)]
        data, size = states.tobytes(), states.shape[1] * states.itemsize
        shared = [data[start : start + size] for start in range(0, len(data), size)]
        return [each + self._distractor_bytes(slot) for each, slot in zip(shared, slots.tolist(), strict=True)]

    def _distractor_bytes(self, slot: int) -> bytes:
        state = self.simulation.distractor_state(slot)
        return b"".join(part.astype("<f8").tobytes() for part in state) if state else b""

    def frame(self, slot: int, camera: str, size: ImageSize) -> NDArray[np.uint8]:
        """Return a picture of `slot` in the video profile, (height, width, 3).

        Raises:
            UnknownNameError: If `camera` is not one of `spec.film_cameras`.
        """
        if camera not in FILM_CAMERAS:
            raise UnknownNameError("camera", camera, FILM_CAMERAS)
        picture = np.empty((*size, 3), dtype=np.uint8)
        variant = self.simulation.needs_variant(slot)
        self._renderer(size, video=True, variant=variant).draw({slot: {camera: picture}})
        return picture

    def _renderer(self, size: ImageSize, *, video: bool, variant: bool) -> SceneRenderer:
        key = (size, video, variant)
        if key not in self._renderers:
            self._renderers[key] = SceneRenderer(self.simulation, size, video=video, variant=variant)
        return self._renderers[key]

    def fingerprint(self) -> dict[str, Any]:
        """Return {"gl_renderer": name of the GL renderer of the observations; None without a camera}."""
        sizes = list(self.needs.cameras.values())
        return {"gl_renderer": self._renderer(sizes[0], video=False, variant=False).gl_name() if sizes else None}

    def close(self) -> None:
        """Free the GL contexts."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()


def _check_options(options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if name not in START_OPTIONS:
            raise UnknownNameError("start option", name, START_OPTIONS)
        if name != "perturbation" and not isinstance(value, str | None):
            raise SimScaleError(f"expected a text as start option {name!r}, got {value!r}")
