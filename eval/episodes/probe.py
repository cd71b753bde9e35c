"""Probe: changes the instruction and observations that a policy gets, or the actions that an environment gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from simscaleai.contract import Observation
from simscaleai.perturbation import Axis, Magnitude


class Episode(Protocol):
    """What a probe may know of an episode; see `EpisodeSpec`."""

    @property
    def seed(self) -> int:
        """The only source of randomness."""

    @property
    def perturbation(self) -> Mapping[str, Magnitude] | None:
        """Name of each perturbed axis to its magnitude; None if nothing is perturbed."""


class Probe:
    """Changes instructions, observations and actions between environment and policy. By default, it changes nothing.

    A probe must derive its random numbers from the episode's seed alone. Then an episode stays a function of policy,
    environment, start and probes.
    """

    axes: Sequence[Axis] = ()
    """Axes that the probe carries out. `Episode.perturbation` says whether, and how much, in each episode."""

    def instruct(self, instruction: str, episode: Episode) -> str:
        """Return what the policy is told in `episode` instead of the environment's `instruction`."""
        return instruction

    def begin(self, slots: NDArray[np.intp], episodes: Sequence[Episode]) -> None:
        """Prepare for `episodes`, which begin in `slots`."""

    def observe(self, observation: Observation, slots: NDArray[np.intp]) -> Observation:
        """Return what the policy gets in `slots` instead of `observation`, whose arrays must not be changed."""
        return observation

    def act(self, actions: NDArray[np.float32], slots: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return what the environment gets in `slots` instead of `actions` (n, A), which must not be changed."""
        return actions

    def close(self) -> None:
        """Free what is held. Called at the end of the run, also after an error."""
