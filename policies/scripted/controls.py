"""Controls: policies that try nothing. Their success rates are the floor of every table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from policies.base import Chunks, EnvSpec, Needs, Observation, Policy, Slots

_RANDOM_STREAM = 0x52414E44
"""Keeps the stream of the actions apart from the environment's, which starts from the same episode seed."""


class ZeroPolicy(Policy):
    """Sends zeros."""

    def __init__(self, spec: EnvSpec) -> None:
        """Act in an environment that offers `spec`; nothing is observed."""
        self.needs = Needs()
        self._action = spec.action

    def predict(self, observation: Observation, slots: Slots) -> Chunks:
        """Return zeros, shape (n, 1, A)."""
        return np.zeros((len(slots), 1, self._action.size), dtype=np.float32)


class RandomPolicy(ZeroPolicy):
    """Draws every action uniformly from the range of actions, from a stream of the episode's seed."""

    def __init__(self, spec: EnvSpec) -> None:
        """Act in an environment that offers `spec`; nothing is observed."""
        super().__init__(spec)
        self._generators: dict[int, np.random.Generator] = {}

    def reset(self, slots: Slots, seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Start the streams of new episodes."""
        for slot, seed in zip(slots.tolist(), seeds, strict=True):
            self._generators[slot] = np.random.default_rng([seed, _RANDOM_STREAM])

    def predict(self, observation: Observation, slots: Slots) -> Chunks:
        """Return uniform actions, shape (n, 1, A)."""
        return np.array([self._draw(slot) for slot in slots.tolist()], dtype=np.float32)[:, None]

    def _draw(self, slot: int) -> NDArray[np.float64]:
        return self._generators[slot].uniform(self._action.low, self._action.high)
