"""`GymSlots`: several single Gymnasium environments as the slots of one `SlotEnv`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.foreign.gym_slot import GymSlot
from envs.foreign.gym_spaces import EpisodeError, SetUpError
from envs.foreign.pictures import fitted
from envs.slots import Begun, EnvSpec, Needs, Observation, SlotFault, Slots, Start, Transition
from simscaleai.errors import SimScaleError

FILM_CAMERA = "render"
"""Name of the film camera of an environment that draws itself."""


class GymSlots:
    """N slots, each with an environment of its own, which is made when the slot is first used.

    The state of a slot is its newest observation and reward. An exception of an environment is a fault of its slot;
    the next episode there begins in a new environment.
    """

    def __init__(self, spec: EnvSpec, make_slot: Callable[[], GymSlot], num_slots: int, needs: Needs) -> None:
        """Prepare `num_slots` slots.

        Args:
            spec: What the environment offers.
            make_slot: Function that makes one slot.
            num_slots: Number of slots.
            needs: Vectors and cameras to observe.
        """
        self.spec, self.num_slots = spec, num_slots
        self._make_slot, self._needs = make_slot, needs
        self._slots: dict[int, GymSlot] = {}

    def reset(self, slots: Slots, starts: Sequence[Start]) -> list[Begun]:
        """Begin an episode in each of `slots`."""
        return [self._reset(slot, start) for slot, start in zip(slots.tolist(), starts, strict=True)]

    def observe(self, slots: Slots, with_images: NDArray[np.bool_]) -> Observation:
        """Return observations of `slots`; images of the slots that are not `with_images` are zero."""
        rows = [self._slots[slot] for slot in slots.tolist()]
        vectors = [row.observed.vectors for row in rows]
        observation: Observation = {key: np.stack([each[key] for each in vectors]) for key in self._needs.vectors}
        for camera, size in self._needs.cameras.items():
            images = observation[camera] = np.zeros((len(rows), *size, 3), dtype=np.uint8)
            for row in np.flatnonzero(with_images).tolist():
                images[row] = rows[row].image(camera)
        return observation

    def step(self, slots: Slots, actions: NDArray[np.float32]) -> Transition:
        """Advance `slots` by one control step with `actions`, shape (n, A)."""
        stepped = [
            self._call(slot, self._slots[slot].step, action)
            for slot, action in zip(slots.tolist(), actions, strict=True)
        ]
        return Transition(
            reward=np.array([each.reward for each in stepped], dtype=np.float64),
            terminated=np.array([each.terminated for each in stepped], dtype=bool),
            truncated=np.array([each.truncated for each in stepped], dtype=bool),
            success=np.array([each.success for each in stepped], dtype=bool),
            executed=np.array([each.executed for each in stepped], dtype=np.float32),
            failure=[each.failure for each in stepped],
            stage=[""] * len(stepped),
        )

    def state(self, slots: Slots) -> list[bytes]:
        """Return the newest observation and reward of each slot as bytes."""
        return [self._slots[slot].state for slot in slots.tolist()]

    def frame(self, slot: int, camera: str, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the picture that the environment draws, with black edges to fit the height and width `size`."""
        return fitted(self._call(slot, self._slots[slot].render), size)

    def fingerprint(self) -> dict[str, Any]:
        """Return nothing: the environments run in this process."""
        return {}

    def close(self) -> None:
        """Close all environments."""
        while self._slots:
            _, slot = self._slots.popitem()
            slot.env.close()

    def _reset(self, slot: int, start: Start) -> Begun:
        if slot not in self._slots:
            self._slots[slot] = self._make_slot()
        info = self._call(slot, self._slots[slot].reset, start.seed, dict(start.options))
        words = info.get("instruction", "")
        return Begun(instruction=words if isinstance(words, str) else "")

    def _call(self, slot: int, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call `method` of a slot; tell mistakes of the user from faults of the environment."""
        try:
            return method(*arguments)
        except SetUpError as error:
            raise SimScaleError(f"{self.spec.env_id}: {error}") from error
        except EpisodeError as error:
            raise SlotFault([slot], str(error)) from None
