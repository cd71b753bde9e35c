"""The Policy protocol: all that the rollout loop knows about what it evaluates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from envs.interface import Contract, ObservationArrays


class Policy(Protocol):
    """Maps observations of several environment slots to actions; memory is kept per slot.

    The loop calls `reset` for slots that begin an episode, then, each control step, `needs_observation` and
    `act` for the slots that are running. What a policy does in one slot must not depend on the others.
    """

    contract: Contract
    """What the policy requires; the loop builds the environment from it."""

    def reset(self, env_ids: NDArray[np.intp], seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Forget everything about the slots `env_ids` and prepare them for new episodes.

        Args:
            env_ids: Slots that begin an episode, shape (n,).
            seeds: Episode seed of each; the only source of randomness that a policy may use.
            instructions: What to do, in words, one per slot.
        """
        ...

    def needs_observation(self, env_ids: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return, for each of the slots `env_ids`, whether the next `act` looks at images, shape (n,)."""
        ...

    def act(self, observation: ObservationArrays, env_ids: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the next action of each slot.

        Args:
            observation: Arrays whose row i belongs to slot `env_ids[i]`. `image` rows of slots that do not
                need an observation hold anything.
            env_ids: The running slots, shape (n,).

        Returns:
            Actions, shape (n, 4), in [-1, 1] as `envs.interface.ACTION_MEANING` says.
        """
        ...
