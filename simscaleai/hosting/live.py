"""The environments of this process that a host simulates, so that a policy in the same host can be found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from simscaleai.errors import SimScaleError

Slots = NDArray[np.intp]

_HOSTED: dict[str, Callable[[str], str]] = {}
_LIVE: dict[str, list[Actor]] = {}


class Actor(ABC):
    """An environment whose host can also hold a policy. The policy gets the observations as the environment gave them.

    Every method raises `RuntimeError` for an exception of the policy.
    """

    @abstractmethod
    def load_policy(self, policy: str) -> None:
        """Let the host load the policy "module:attribute"."""

    @abstractmethod
    def begin_policy(self, slots: Slots, seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Begin an episode of the policy in each of `slots`."""

    @abstractmethod
    def act(self, slots: Slots) -> NDArray[np.float32]:
        """Return the action of the policy in each of `slots`, shape (n, A)."""


def note_hosted(env_id: str, load_policy: Callable[[str], str]) -> None:
    """Remember that a host simulates the environment with this id, once it is made.

    Args:
        env_id: Id of the environment.
        load_policy: Lets a host load the policy "module:attribute" and returns a digest of its source files.
    """
    _HOSTED[env_id] = load_policy


def hosted_source_digest(env_id: str, policy: str) -> str:
    """Let a host of the environment with this id load `policy`, and return a digest of its source files.

    Raises:
        SimScaleError: If the environment does not run in a host, or the policy cannot be loaded there.
    """
    if env_id not in _HOSTED:
        raise SimScaleError(
            f"--model host:… acts in the interpreter of a hosted environment, and {env_id} is not hosted; "
            "use an installed suite or --env-python"
        )
    return _HOSTED[env_id](policy)


def announce(env_id: str, actor: Actor) -> None:
    """Let policies find the environment `actor`."""
    _LIVE.setdefault(env_id, []).append(actor)


def withdraw(env_id: str, actor: Actor) -> None:
    """Take back `announce`."""
    _LIVE[env_id] = [each for each in _LIVE.get(env_id, []) if each is not actor]


def find_actor(env_id: str) -> Actor:
    """Return the newest environment with this id.

    Raises:
        LookupError: If none has been announced.
    """
    if not _LIVE.get(env_id):
        raise LookupError(f"no environment {env_id} is running in this process")
    return _LIVE[env_id][-1]
