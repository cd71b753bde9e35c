"""Probe: changes the observations that a policy gets, or the actions that an environment gets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simscaleai.contract import Observation


class Probe:
    """Changes observations and actions between environment and policy. By default, every method changes nothing.

    A probe must derive its random numbers from the episode's seed alone. Then an episode stays a function of policy,
    environment, start and probes.
    """

    def begin(self, slots: NDArray[np.intp], seeds: Sequence[int]) -> None:
        """Prepare for new episodes in `slots`."""

    def observe(self, observation: Observation, slots: NDArray[np.intp]) -> Observation:
        """Return what the policy gets in `slots` instead of `observation`, whose arrays must not be changed."""
        return observation

    def act(self, actions: NDArray[np.float32], slots: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return what the environment gets in `slots` instead of `actions` (n, A), which must not be changed."""
        return actions

    def close(self) -> None:
        """Free what is held. Called at the end of the run, also after an error."""
