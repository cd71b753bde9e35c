"""Control policies, which act without observations. Their success rates are the baseline for all other policies."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from policies.base import Chunks, EnvSpec, Needs, Observation, Policy, Slots
from simscaleai.errors import SimScaleError

_RANDOM_STREAM = 0x52414E44
"""Makes the stream of actions independent of the environment's streams, which start from the same episode seed."""


class ZeroPolicy(Policy):
    """Returns zeros as every action."""

    def __init__(self, spec: EnvSpec) -> None:
        """Prepare for an environment that offers `spec`. The policy needs no observations."""
        self.needs = Needs()
        self._action = spec.action

    def predict(self, observation: Observation, slots: Slots) -> Chunks:
        """Return zeros, shape (n, 1, A)."""
        return np.zeros((len(slots), 1, self._action.size), dtype=np.float32)


class RandomPolicy(ZeroPolicy):
    """Draws every action uniformly from the range of actions, with a random stream from the episode's seed."""

    def __init__(self, spec: EnvSpec) -> None:
        """Prepare for an environment that offers `spec`. The policy needs no observations.

        Raises:
            SimScaleError: If an action has no bounds.
        """
        super().__init__(spec)
        for name, low, high in zip(spec.action.names, spec.action.low, spec.action.high, strict=True):
            if not isfinite(high - low):
                raise SimScaleError(f"random actions need bounds; {name!r} of {spec.env_id} is from {low} to {high}")
        self._generators: dict[int, np.random.Generator] = {}

    def reset(self, slots: Slots, seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Start the random streams of new episodes."""
        for slot, seed in zip(slots.tolist(), seeds, strict=True):
            self._generators[slot] = np.random.default_rng([seed, _RANDOM_STREAM])

    def predict(self, observation: Observation, slots: Slots) -> Chunks:
        """Return uniform actions, shape (n, 1, A)."""
        return np.array([self._draw(slot) for slot in slots.tolist()], dtype=np.float32)[:, None]

    def _draw(self, slot: int) -> NDArray[np.float64]:
        return self._generators[slot].uniform(self._action.low, self._action.high)
