"""`Registration`: the names of one environment, and the functions that describe and make it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from envs.choices import Choices
from envs.slots import SlotEnv
from simscaleai.contract import EnvSpec, Needs


class MakeSlots(Protocol):
    """Function that makes an environment."""

    def __call__(
        self, num_slots: int, needs: Needs, terminate_on_success: bool, max_episode_steps: int | None
    ) -> SlotEnv:
        """Make `num_slots` slots whose observations hold the keys of `needs`.

        Args:
            num_slots: Number of slots, at least 1.
            needs: Vectors and cameras to observe.
            terminate_on_success: Whether an episode ends at its first success.
            max_episode_steps: Time limit in control steps; None for the limit of the specification.
        """
        ...


@dataclass(frozen=True)
class Registration:
    """The names of one environment, and the functions that describe and make it."""

    name: str
    """Short name, as in `--env reach`."""
    env_id: str
    """Full id with its version, for example "SimScale/Reach-v0"."""
    offer: Callable[[], EnvSpec]
    """Function that returns the specification. It should be fast, since lists of environments call it."""
    make: MakeSlots
    """Function that makes the environment."""
    summary: str = ""
    """The task in one sentence, for lists of environments."""
    choose: Callable[[Choices], Registration] | None = None
    """Function that returns the same environment with choices of the user; None if there is nothing to choose."""
    tasks: tuple[str, ...] = ()
    """Ids of the tasks of a suite, each an environment of its own; empty for a single task. The start option "task"
    names the task of an episode."""
    usual_slots: int | None = None
    """Most slots that a run has by default, because more of them cost memory and save no time; None without a limit."""
