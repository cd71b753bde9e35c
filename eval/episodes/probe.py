"""Probe: changes what passes between environment and policy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simscaleai.contract import Observation


class Probe:
    """Changes what passes between environment and policy. Every method passes things on unless overridden.

    All draws come from the episode's seed, so an episode stays a function of policy, environment, start and probes.
    """

    def begin(self, slots: NDArray[np.intp], seeds: Sequence[int]) -> None:
        """Prepare for new episodes in `slots`."""

    def observe(self, observation: Observation, slots: NDArray[np.intp]) -> Observation:
        """Return what the policy is given in `slots` instead of `observation`; the arrays given stay as they are."""
        return observation

    def act(self, actions: NDArray[np.float32], slots: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return what is sent to the environment in `slots` instead of `actions` (n, A)."""
        return actions
