"""`host:module:attribute`: a policy that acts in the interpreter of a hosted environment. `host:expert` is its expert.

It gets each observation as the environment gave it, so it needs none of ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from policies.base import Chunks, EnvSpec, Needs, Observation, Policy, PolicyUnavailable, Slots
from simscaleai.errors import SlotFault
from simscaleai.hosting.live import Actor, find_actor, hosted_source_digest

PREFIX = "host:"
"""What the name of such a policy begins with."""
EXPERT = "expert"
"""Name of the policy that the suite of the environment offers as demonstrator."""


class HostedPolicy(Policy):
    """Asks the host that simulates the environment for each action. One instance acts in each slot."""

    needs = Needs()

    def __init__(self, name: str, spec: EnvSpec) -> None:
        """Use the policy `name`, "module:attribute" or "expert", for the environment that `spec` describes.

        Raises:
            SimScaleError: If the environment does not run in a host, or the policy cannot be loaded there.
        """
        self._name, self._env_id = name, spec.env_id
        parts = (name, spec.digest, hosted_source_digest(spec.env_id, name))
        self.identity = hashlib.sha256(" ".join(filter(None, parts)).encode()).hexdigest()
        self._actor: Actor | None = None

    def reset(self, slots: Slots, seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Begin an episode of the policy in each of `slots`."""
        actor = find_actor(self._env_id)
        with _lost_host():
            if actor is not self._actor:
                actor.load_policy(self._name)
                self._actor = actor
            actor.begin_policy(slots, seeds, instructions)

    def predict(self, observation: Observation, slots: Slots) -> Chunks:
        """Return the next action of each slot, float32 (n, 1, A)."""
        with _lost_host():
            return find_actor(self._env_id).act(slots)[:, None]


@contextmanager
def _lost_host() -> Iterator[None]:
    try:
        yield
    except SlotFault as fault:  # the host has ended; that is no failure of the policy
        raise PolicyUnavailable(str(fault)) from fault
