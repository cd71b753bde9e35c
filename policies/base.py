"""Policy: what the evaluator needs of a policy, and `check_policy`, which finds out whether one keeps it.

An own policy needs this module alone: it re-exports the parts of the contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simscaleai.contract import EnvSpec, Feature, Layout, Needs, Observation, check_needs
from simscaleai.errors import ConformanceError, PolicyUnavailable

__all__ = [
    "EnvSpec",
    "Feature",
    "Layout",
    "Needs",
    "Observation",
    "Policy",
    "PolicyUnavailable",
    "check_policy",
]

Slots = NDArray[np.intp]
"""Indices of slots, shape (n,), ascending and distinct."""

Chunks = NDArray[np.float32]
"""Actions of the next H control steps for each of n slots, shape (n, H, A)."""


class Policy:
    """Maps observations of several slots to chunks of actions. Memory is kept per slot.

    The evaluator calls `reset` for slots that begin an episode, and `predict` for slots that have no action left. What
    a policy does in one slot must not depend on the others. Whatever a policy raises is booked as its failure, except
    `PolicyUnavailable`: then the episode runs again.

    A policy of your own is a subclass, or any object with these members.
    """

    needs: Needs
    """What the policy needs of the environment. It gets these observations and no other."""
    identity: str = ""
    """Digest of what the policy is: its weights, its code, its server. Filled in from the code's files if empty."""
    options: Mapping[str, Any] = {}
    """Options with their values, as `--policy-option NAME=VALUE` sets them. The evaluator reads `n_action_steps` (how
    many actions of a chunk to execute) and `ensemble_decay` (average overlapping chunks instead)."""

    def reset(self, slots: Slots, seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Clear the memory of `slots` and prepare for new episodes.

        Args:
            slots: Slots that begin an episode, shape (n,).
            seeds: Episode seed of each; the only source of randomness that a policy may use.
            instructions: What to do, in words, one per slot; "" where the environment gives none.
        """

    def predict(self, observation: Observation, slots: Slots) -> Chunks:
        """Return the next actions of each slot, float32 (n, H, A).

        Args:
            observation: Arrays whose row i belongs to `slots[i]`, with the keys of `needs`.
            slots: Slots that need actions, shape (n,).
        """
        raise NotImplementedError

    def close(self) -> None:
        """Free what is held."""


def check_policy(policy: Policy, spec: EnvSpec, *, rows: int = 3) -> None:
    """Check that `policy` keeps the promises of `Policy` in an environment that offers `spec`.

    Asks for actions for random observations.

    Args:
        policy: The policy.
        spec: What the environment offers.
        rows: How many slots to ask for at once, at least 2.

    Raises:
        MismatchError: If the environment does not offer what the policy needs.
        ConformanceError: Naming the first promise that is broken.
    """
    check_needs(policy.needs, spec)
    _require(isinstance(policy.identity, str), "identity is a text")
    slots = np.arange(rows)
    observation = _random_observation(policy.needs, rows)
    given = {key: values.copy() for key, values in observation.items()}
    together = _answers(policy, given, slots)
    _require(
        all((given[key] == observation[key]).all() for key in given), "predict leaves the observations as they are"
    )
    shape = together.shape
    _require(together.dtype == np.float32, "predict returns float32")
    _require(len(shape) == 3 and shape[0] == rows and shape[1] > 0, f"predict returns shape ({rows}, H, A)")
    _require(shape[2] == spec.action.size, f"predict returns {spec.action.size} numbers per action, got {shape[2]}")
    _require(bool(np.isfinite(together).all()), "actions are finite")
    again = _answers(policy, observation, slots)
    _require(again.tobytes() == together.tobytes(), "reset clears the memory: the same seeds give the same actions")
    for row in range(rows):
        one = {key: values[row : row + 1] for key, values in observation.items()}
        alone = _answers(policy, one, slots[row : row + 1], seeds=[row])
        _require(alone.tobytes() == together[row : row + 1].tobytes(), "a slot's actions do not depend on other slots")


def _require(holds: bool, promise: str) -> None:
    if not holds:
        raise ConformanceError(f"broken promise: {promise}")


def _answers(policy: Policy, observation: Observation, slots: Slots, seeds: Sequence[int] | None = None) -> Chunks:
    policy.reset(slots, list(range(len(slots))) if seeds is None else seeds, ["do it"] * len(slots))
    chunks = policy.predict(observation, slots)
    _require(isinstance(chunks, np.ndarray), "predict returns a NumPy array")
    return chunks


def _random_observation(needs: Needs, rows: int) -> Observation:
    rng = np.random.default_rng(0)
    history = (needs.history,) if needs.history > 1 else ()
    observation: Observation = {
        key: rng.normal(size=(rows, *history, layout.size)).astype(np.float32) for key, layout in needs.vectors.items()
    }
    for key, size in needs.cameras.items():
        observation[key] = rng.integers(0, 256, (rows, *history, *size, 3), dtype=np.uint8)
    return observation
