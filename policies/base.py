"""`Policy`, the interface between the evaluator and a policy, and `check_policy`, which tests a policy.

To write a policy of your own, import this module alone: it re-exports the classes of the contract.
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

    The evaluator calls `reset` for slots that begin an episode, and `predict` for slots that have no action left. The
    actions for one slot must not depend on other slots. An error in a policy counts as a failure of the policy. If a
    policy raises `PolicyUnavailable`, however, the evaluator runs the episode again.

    A policy of your own is a subclass, or any object with these members.
    """

    needs: Needs
    """Observations that the policy needs. It gets these observations and no others."""
    identity: str = ""
    """Digest of the policy's weights, code or server. `make_policy` adds a digest of its source files."""
    options: Mapping[str, Any] = {}
    """Values of options by name, as set with `--policy-option NAME=VALUE`. The evaluator reads `n_action_steps` (number
    of actions of a chunk to execute), `ensemble_decay` (average overlapping chunks instead, with this decay) and
    `synchronous` (whether the robot waits while the policy computes)."""

    def reset(self, slots: Slots, seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Clear the memory of `slots` and prepare for new episodes.

        Args:
            slots: Slots that begin an episode, shape (n,).
            seeds: Episode seed of each slot, the only source of randomness that a policy may use.
            instructions: Instruction of each slot in words; "" if the environment gives no instructions.
        """

    def predict(self, observation: Observation, slots: Slots) -> Chunks:
        """Return the next actions of each slot, float32 (n, H, A).

        Args:
            observation: Arrays with the keys of `needs`; row i belongs to `slots[i]`. The policy must not change them.
            slots: Slots that need actions, shape (n,).
        """
        raise NotImplementedError

    def close(self) -> None:
        """Free all resources."""


def check_policy(policy: Policy, spec: EnvSpec, *, rows: int = 3) -> None:
    """Check that `policy` keeps the promises of `Policy` in an environment that offers `spec`.

    Calls `reset` and `predict` with random observations.

    Args:
        policy: The policy.
        spec: Specification of the environment.
        rows: Number of slots in one call, at least 2.

    Raises:
        MismatchError: If the environment does not offer what the policy needs.
        ConformanceError: If a promise is broken. The message names the first broken promise.
    """
    if rows < 2:
        raise ConformanceError(f"expected at least 2 rows to check a policy with, got {rows}")
    check_needs(policy.needs, spec)
    _require(isinstance(getattr(policy, "identity", ""), str), "identity is a text")
    slots = np.arange(rows)
    observation = _random_observation(policy.needs, rows)
    given = {key: values.copy() for key, values in observation.items()}
    together = _answer(policy, given, slots)
    same = given.keys() == observation.keys() and all((given[key] == observation[key]).all() for key in observation)
    _require(same, "predict leaves the observations as they are")
    _check_chunks(together, rows, spec.action.size)
    again = _answer(policy, observation, slots)
    _require(_equal(again, together), "reset clears the memory: the same seeds and observations give the same actions")
    for row in range(rows):
        one = {key: values[row : row + 1] for key, values in observation.items()}
        alone = _answer(policy, one, slots[row : row + 1], seeds=[row])
        _require(_equal(alone, together[row : row + 1]), "a slot's actions do not depend on other slots")


def _require(holds: bool, promise: str) -> None:
    if not holds:
        raise ConformanceError(f"broken promise: {promise}")


def _equal(chunks: Chunks, others: Chunks) -> bool:
    return chunks.shape == others.shape and chunks.tobytes() == others.tobytes()


def _check_chunks(chunks: Chunks, rows: int, action_size: int) -> None:
    got, shape = f"got {chunks.dtype} of shape {chunks.shape}", chunks.shape
    _require(chunks.dtype == np.float32, f"predict returns float32; {got}")
    fits = len(shape) == 3 and shape[0] == rows and shape[1] > 0 and shape[2] == action_size
    _require(fits, f"predict returns shape ({rows}, H, {action_size}); {got}")
    _require(bool(np.isfinite(chunks).all()), "actions are finite")


def _answer(policy: Policy, observation: Observation, slots: Slots, seeds: Sequence[int] | None = None) -> Chunks:
    """Return the first chunks of new episodes in `slots`. By default, the seeds are 0, 1, …."""
    policy.reset(slots, list(range(len(slots))) if seeds is None else seeds, ["do it"] * len(slots))
    chunks = policy.predict(observation, slots)
    _require(isinstance(chunks, np.ndarray), f"predict returns a NumPy array; got {type(chunks).__name__}")
    return chunks.copy()  # a policy may write its next answer into the same array


def _random_observation(needs: Needs, rows: int) -> Observation:
    rng = np.random.default_rng(0)
    history = (needs.history,) if needs.history > 1 else ()
    observation: Observation = {
        key: rng.normal(size=(rows, *history, layout.size)).astype(np.float32) for key, layout in needs.vectors.items()
    }
    for key, size in needs.cameras.items():
        observation[key] = rng.integers(0, 256, (rows, *history, *size, 3), dtype=np.uint8)
    return observation
