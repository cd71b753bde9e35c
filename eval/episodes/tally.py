"""Counts steps, rewards and successes of the running episode of every slot."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.slots import Transition
from eval.episodes.results import HELD_STEPS


class Tally:
    """Steps, return, success and digest of the running episode of each slot."""

    def __init__(self, num_slots: int) -> None:
        """Count in `num_slots` slots, N."""
        self.steps = np.zeros(num_slots, dtype=np.int64)
        self.returns = np.zeros(num_slots, dtype=np.float64)
        self.success = np.zeros(num_slots, dtype=bool)
        """Whether the success rule held at the last step, shape (N,)."""
        self.success_once = np.zeros(num_slots, dtype=bool)
        self.success_held = np.zeros(num_slots, dtype=bool)
        self._streak = np.zeros(num_slots, dtype=np.int64)
        """Consecutive successful steps up to the last one."""
        self._hashes = [hashlib.sha256() for _ in range(num_slots)]
        self._stages = [""] * num_slots

    def begin(self, slots: NDArray[np.intp]) -> None:
        """Set the counts of `slots` to 0."""
        counters = (self.steps, self.returns, self.success, self.success_once, self.success_held, self._streak)
        for counter in counters:
            counter[slots] = 0
        for slot in slots.tolist():
            self._hashes[slot] = hashlib.sha256()
            self._stages[slot] = ""

    def add(self, slots: NDArray[np.intp], transition: Transition, states: Sequence[bytes]) -> None:
        """Add one control step of `slots`; `states` are the states of the environment after it."""
        self.steps[slots] += 1
        self.returns[slots] += transition.reward
        self.success[slots] = transition.success
        self.success_once[slots] |= transition.success
        self._streak[slots] = np.where(transition.success, self._streak[slots] + 1, 0)
        self.success_held[slots] |= self._streak[slots] >= HELD_STEPS
        executed = np.ascontiguousarray(transition.executed, "<f4")
        for slot, action, state, stage in zip(slots.tolist(), executed, states, transition.stage, strict=True):
            self._hashes[slot].update(action.tobytes() + state)
            self._stages[slot] = stage

    def digest(self, slot: int) -> str:
        """Return the digest of the running episode of `slot` so far, in hexadecimal."""
        return self._hashes[slot].hexdigest()

    def stage(self, slot: int) -> str:
        """Return how far the running episode of `slot` has come."""
        return self._stages[slot]
