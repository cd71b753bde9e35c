"""Policies that try nothing: the floor of every table, and doubles for tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.interface import ACTION_DIM, Contract, ObservationArrays

_RANDOM_STREAM = 0x52414E44
"""Keeps the actions' stream apart from the environment's, which starts from the same episode seed."""


class ZeroPolicy:
    """Stays where it is, the gripper half open."""

    def __init__(self, contract: Contract) -> None:
        """Act under `contract`; nothing of the observation is used."""
        self.contract = contract

    def reset(self, env_ids: NDArray[np.intp], seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Do nothing: there is no memory."""

    def needs_observation(self, env_ids: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return that no slot is looked at, shape (n,)."""
        return np.zeros(env_ids.size, dtype=bool)

    def act(self, observation: ObservationArrays, env_ids: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return zeros, shape (n, 4)."""
        return np.zeros((env_ids.size, ACTION_DIM), dtype=np.float32)


class RandomPolicy(ZeroPolicy):
    """Draws every action uniformly from [-1, 1], from a stream that belongs to the episode's seed."""

    def __init__(self, contract: Contract) -> None:
        """Act under `contract`; nothing of the observation is used."""
        super().__init__(contract)
        self._generators: dict[int, np.random.Generator] = {}

    def reset(self, env_ids: NDArray[np.intp], seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Start the streams of new episodes."""
        for slot, seed in zip(env_ids.tolist(), seeds, strict=True):
            self._generators[slot] = np.random.default_rng([seed, _RANDOM_STREAM])

    def act(self, observation: ObservationArrays, env_ids: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return uniform actions, shape (n, 4)."""
        draws = [self._generators[slot].uniform(-1, 1, ACTION_DIM) for slot in env_ids.tolist()]
        return np.array(draws, dtype=np.float32)
