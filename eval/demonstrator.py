"""Who acts while demonstrations are collected, and who says what a learner shall imitate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from envs.interface import ObservationArrays
from policies.base import Policy

_NOISE_STREAM = 0x4E4F4953
"""Keeps the noise's stream apart from the environment's, which starts from the same episode seed."""


class Demonstrator:
    """A policy that acts, its actions perturbed if wanted, and what should have been done at each step: the labels.

    Labels come from the acting policy itself, or from an expert that is asked about the states into which the policy
    gets itself. The first kind of data shows how to do the task, the second how to mend one's own mistakes.

    Gaussian noise is added to the displacement, then the action is clipped to [-1, 1]; the gripper is left alone, since
    a shaking grasp teaches nothing. Each episode's noise comes from its seed.

    Source: Laskey et al. 2017, DART: Noise Injection for Robust Imitation Learning. Ross et al. 2011, A Reduction of
    Imitation Learning and Structured Prediction to No-Regret Online Learning (DAgger).
    """

    def __init__(self, policy: Policy, num_envs: int, *, noise: float = 0.0, expert: Policy | None = None) -> None:
        """Let `policy` act.

        Args:
            policy: Who acts.
            num_envs: Number of slots N.
            noise: Standard deviation of the noise, >= 0, in units of the action.
            expert: Who labels, from `state` and `environment_state`; None for `policy` itself.
        """
        self.contract = policy.contract
        if expert is not None and self.contract.environment_state is None:
            self.contract = replace(self.contract, environment_state=expert.contract.environment_state)
        self.labels = np.zeros((num_envs, 4), dtype=np.float32)
        """What should have been done in the last step of each slot, shape (N, 4)."""
        self._policy, self._expert, self._noise = policy, expert, noise
        self._generators: dict[int, np.random.Generator] = {}

    def reset(self, env_ids: NDArray[np.intp], seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Prepare for new episodes in the slots `env_ids`."""
        for policy in filter(None, (self._policy, self._expert)):
            policy.reset(env_ids, seeds, instructions)
        for slot, seed in zip(env_ids.tolist(), seeds, strict=True):
            self._generators[slot] = np.random.default_rng([seed, _NOISE_STREAM])

    def needs_observation(self, env_ids: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return what the acting policy needs."""
        return self._policy.needs_observation(env_ids)

    def act(self, observation: ObservationArrays, env_ids: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the actions to execute, shape (n, 4)."""
        seen = self._policy.contract  # the expert's view is none of the policy's business
        keys = (*seen.vectors, "image") if seen.cameras else seen.vectors
        actions = self._policy.act({key: observation[key] for key in keys}, env_ids)
        self.labels[env_ids] = actions if self._expert is None else self._expert.act(observation, env_ids)
        if self._noise == 0:
            return actions
        noise = np.zeros_like(actions)
        noise[:, :3] = [self._generators[slot].normal(0, self._noise, 3) for slot in env_ids.tolist()]
        sent: NDArray[np.float32] = np.clip(actions + noise, -1, 1)
        return sent
