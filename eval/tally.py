"""Counts the running episode of every slot, all slots at once."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from eval.results import HELD_STEPS


class Tally:
    """Steps, return, success and digest of the running episode of each of `num_envs` slots."""

    def __init__(self, num_envs: int) -> None:
        self.steps = np.zeros(num_envs, dtype=np.int64)
        self.returns = np.zeros(num_envs, dtype=np.float64)
        self.success = np.zeros(num_envs, dtype=bool)
        """Whether the task's predicate held at the last step, shape (N,)."""
        self.success_once = np.zeros(num_envs, dtype=bool)
        self.success_held = np.zeros(num_envs, dtype=bool)
        self._streak = np.zeros(num_envs, dtype=np.int64)
        self._hashes = [hashlib.sha256() for _ in range(num_envs)]

    def reset(self, env_ids: NDArray[np.intp]) -> None:
        """Begin to count anew in the slots `env_ids`."""
        counters = (self.steps, self.returns, self.success, self.success_once, self.success_held, self._streak)
        for counter in counters:
            counter[env_ids] = 0
        for slot in env_ids:
            self._hashes[slot] = hashlib.sha256()

    def add(self, env_ids: NDArray[np.intp], rewards: NDArray[np.floating], success: NDArray[np.bool_]) -> None:
        """Count one control step of the slots `env_ids`, from rows for all slots, shape (N,)."""
        self.steps[env_ids] += 1
        self.returns[env_ids] += rewards[env_ids]
        self.success[env_ids] = success[env_ids]
        self.success_once[env_ids] |= success[env_ids]
        self._streak[env_ids] = np.where(success[env_ids], self._streak[env_ids] + 1, 0)
        self.success_held[env_ids] |= self._streak[env_ids] >= HELD_STEPS

    def hash(
        self,
        env_ids: NDArray[np.intp],
        actions: NDArray[np.float32],
        qpos: NDArray[np.float64],
        qvel: NDArray[np.float64],
    ) -> None:
        """Add one control step of the slots `env_ids` to their digests, from rows for all slots."""
        parts = (np.asarray(actions, "<f4"), np.asarray(qpos, "<f8"), np.asarray(qvel, "<f8"))
        rows = np.concatenate([np.ascontiguousarray(part).view(np.uint8) for part in parts], axis=1)
        for slot in env_ids:
            self._hashes[slot].update(rows[slot])

    def digest(self, slot: int) -> str:
        """Return the digest of the running episode of `slot` so far, in hexadecimal."""
        return self._hashes[slot].hexdigest()
