"""Several tasks as one environment. Each episode names its task in the start option "task", by default the first."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.entry import Registration
from envs.slots import Begun, EnvSpec, Needs, Observation, SlotEnv, Slots, Start, Transition
from simscaleai.contract import TASK
from simscaleai.errors import SimScaleError


def suite_of(name: str, tasks: Sequence[Registration]) -> Registration:
    """Return the environment `name` that runs several tasks with the same observations and actions.

    Args:
        name: Name and id of the suite.
        tasks: The tasks, at least two with different ids.

    Raises:
        SimScaleError: If a task is named twice.
    """
    by_id = {task.env_id: task for task in tasks}
    if len(by_id) < len(tasks) or len(tasks) < 2:
        raise SimScaleError(f"expected at least 2 different tasks, got {', '.join(task.env_id for task in tasks)}")

    def offer() -> EnvSpec:
        return joint_spec(name, [task.offer() for task in tasks])

    def make(num_slots: int, needs: Needs, terminate_on_success: bool, max_episode_steps: int | None) -> SlotEnv:
        return SuiteSlots(offer(), by_id, num_slots, needs, terminate_on_success, max_episode_steps)

    limits = [task.usual_slots for task in tasks if task.usual_slots is not None]
    return Registration(
        name=name,
        env_id=name,
        offer=offer,
        make=make,
        summary=f"{len(tasks)} tasks: {', '.join(by_id)}.",
        usual_slots=min(limits, default=None),
        tasks=tuple(by_id),
    )


def joint_spec(name: str, specs: Sequence[EnvSpec]) -> EnvSpec:
    """Return what a suite offers: the vectors, cameras and axes that all its tasks have.

    Args:
        name: Id of the suite.
        specs: Specifications of the tasks.

    Raises:
        SimScaleError: If two tasks differ in their actions or control rates, or have no observation in common.
    """
    first, *others = specs
    for other in others:
        if (first.action, first.control_hz) != (other.action, other.control_hz):
            ours, theirs = (
                f"{each.env_id} has {each.action.in_words}, {each.control_hz:g} Hz" for each in (first, other)
            )
            raise SimScaleError(
                f"expected tasks with the same actions and control rate: {ours}; {theirs}; run them one by one"
            )
    vectors = {key: each for key, each in first.vectors.items() if all(o.vectors.get(key) == each for o in others)}
    cameras = {key: size for key, size in first.cameras.items() if all(o.cameras.get(key, 0) == size for o in others)}
    if not (vectors or cameras):
        raise SimScaleError(f"the tasks {', '.join(spec.env_id for spec in specs)} have no observation in common")
    digests = {spec.env_id: spec.digest for spec in specs}
    rules = dict.fromkeys(spec.success for spec in specs)
    return replace(
        first,
        env_id=name,
        digest=hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()[:16],
        vectors=vectors,
        cameras=cameras,
        film_cameras=tuple(each for each in first.film_cameras if all(each in o.film_cameras for o in others)),
        max_episode_steps=max(spec.max_episode_steps for spec in specs),
        success=next(iter(rules)) if len(rules) == 1 else "the rule of each task",
        has_instructions=all(spec.has_instructions for spec in specs),
        repeats="exact" if all(spec.repeats == "exact" for spec in specs) else "unknown",
        distinct_starts=min((s.distinct_starts for s in specs if s.distinct_starts is not None), default=None),
        axes=tuple(axis for axis in first.axes if all(axis in other.axes for other in others)),
        tasks=digests,
    )


class SuiteSlots:
    """N slots, each of which runs an episode of any task. The environment of a task is made when it is first used."""

    def __init__(
        self,
        spec: EnvSpec,
        tasks: dict[str, Registration],
        num_slots: int,
        needs: Needs,
        terminate_on_success: bool,
        max_episode_steps: int | None,
    ) -> None:
        """Prepare `num_slots` slots.

        Args:
            spec: What the suite offers.
            tasks: Id of each task to its registration.
            num_slots: Number of slots.
            needs: Vectors and cameras to observe.
            terminate_on_success: Whether an episode ends at its first success.
            max_episode_steps: Time limit in control steps; None for that of each task.
        """
        self.spec, self.num_slots = spec, num_slots
        self._tasks, self._needs = tasks, needs
        self._rules = (terminate_on_success, max_episode_steps)
        self._envs: dict[str, SlotEnv] = {}
        self._task_of = [next(iter(tasks))] * num_slots

    def reset(self, slots: Slots, starts: Sequence[Start]) -> list[Begun]:
        """Begin an episode of its task in each of `slots`."""
        for slot, start in zip(slots.tolist(), starts, strict=True):
            self._task_of[slot] = start.options.get(TASK, next(iter(self._tasks)))
        begun: dict[int, Begun] = {}
        for task, rows in self._rows_by_task(slots).items():
            own = [Start(starts[row].seed, _without_task(starts[row])) for row in rows.tolist()]
            begun.update(zip(rows.tolist(), self._env(task).reset(slots[rows], own), strict=True))
        return [begun[row] for row in range(len(slots))]

    def observe(self, slots: Slots, with_images: NDArray[np.bool_]) -> Observation:
        """Return observations of `slots`; images of the slots that are not `with_images` are zero."""
        parts = {
            task: (rows, self._env(task).observe(slots[rows], with_images[rows]))
            for task, rows in self._rows_by_task(slots).items()
        }
        observation: Observation = {}
        for key in self._needs.keys:
            found = [(rows, part[key]) for rows, part in parts.values()]
            joined = np.zeros((len(slots), *found[0][1].shape[1:]), dtype=found[0][1].dtype)
            for rows, values in found:
                joined[rows] = values
            observation[key] = joined
        return observation

    def step(self, slots: Slots, actions: NDArray[np.float32]) -> Transition:
        """Advance `slots` by one control step with `actions`, shape (n, A)."""
        parts = [
            (rows, self._env(task).step(slots[rows], actions[rows])) for task, rows in self._rows_by_task(slots).items()
        ]
        order = np.argsort(np.concatenate([rows for rows, _ in parts]))
        joined: dict[str, Any] = {}
        for field in fields(Transition):
            values = [getattr(part, field.name) for _, part in parts]
            if isinstance(values[0], np.ndarray):
                joined[field.name] = np.concatenate(values)[order]
            else:
                flat = [each for part in values for each in part]
                joined[field.name] = [flat[place] for place in order.tolist()]
        return Transition(**joined)

    def state(self, slots: Slots) -> list[bytes]:
        """Return the state of each slot as bytes."""
        states: dict[int, bytes] = {}
        for task, rows in self._rows_by_task(slots).items():
            states.update(zip(rows.tolist(), self._env(task).state(slots[rows]), strict=True))
        return [states[row] for row in range(len(slots))]

    def frame(self, slot: int, camera: str, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return a picture of `slot`."""
        return self._env(self._task_of[slot]).frame(slot, camera, size)

    def fingerprint(self) -> dict[str, Any]:
        """Return what the results of the first task depend on; all tasks run in the same place."""
        return self._env(next(iter(self._tasks))).fingerprint()

    def close(self) -> None:
        """Close the environments of all tasks."""
        while self._envs:
            self._envs.popitem()[1].close()

    def _env(self, task: str) -> SlotEnv:
        if task not in self._envs:
            self._envs[task] = self._tasks[task].make(self.num_slots, self._needs, *self._rules)
        return self._envs[task]

    def _rows_by_task(self, slots: Slots) -> dict[str, NDArray[np.intp]]:
        rows: dict[str, list[int]] = {}
        for row, slot in enumerate(slots.tolist()):
            rows.setdefault(self._task_of[slot], []).append(row)
        return {task: np.array(found, dtype=np.intp) for task, found in rows.items()}


def _without_task(start: Start) -> dict[str, Any]:
    return {name: value for name, value in start.options.items() if name != TASK}
