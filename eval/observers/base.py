"""What the rollout loop tells whoever listens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from envs.interface import ObservationArrays
from eval.plan import EpisodeSpec
from eval.results import EpisodeResult

if TYPE_CHECKING:
    from envs.vector_env import TaskVectorEnv


@dataclass(frozen=True)
class Step:
    """One control step of all running slots. Row i of every array belongs to slot i; only `env_ids` are current."""

    env_ids: NDArray[np.intp]
    """The slots that were running, shape (n,)."""
    looking: NDArray[np.bool_]
    """Where the policy looked before acting, as its `needs_observation` says: a new chunk begins, shape (N,)."""
    observation: ObservationArrays
    """What was observed before acting, N rows each; `image` rows of slots where nobody looked are zero."""
    executed_actions: NDArray[np.float32]
    """What was sent to the robot after clipping, shape (N, 4)."""
    info: Mapping[str, NDArray[np.generic]]
    """The environment's `info` after the step, N rows each."""


class Observer:
    """Listens to one run; every method does nothing unless overridden.

    The order for one slot is `on_episode_start`, `on_step` for each control step, then `on_episode_end`, or
    `on_episode_abandoned` if the episode is broken off; an abandoned episode that is still wanted starts anew later,
    perhaps in another slot. An observer never changes what it is shown, and its own errors end the run.
    """

    needs_images: bool = False
    """Whether `Step.observation` shall hold the images of all running slots, also where the policy does not look."""

    has_seen_enough: bool = False
    """Whether the run shall end now, before its plan does: what still runs is abandoned."""

    def on_run_start(self, env: TaskVectorEnv) -> None:
        """Prepare for episodes in `env`."""

    def on_episode_start(self, slot: int, spec: EpisodeSpec) -> None:
        """See the episode `spec` begin in `slot`: the environment is reset, nothing has moved."""

    def on_step(self, step: Step) -> None:
        """See one control step of all running slots."""

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """See the episode in `slot` end; the slot still shows its last state."""

    def on_episode_abandoned(self, slot: int, spec: EpisodeSpec) -> None:
        """Forget what was gathered about the episode `spec` in `slot`."""

    def on_run_end(self, results: Sequence[EpisodeResult]) -> None:
        """See the results of all episodes of this run, sorted by episode."""

    def close(self) -> None:
        """Release what is held; called last, also when the run breaks off."""
