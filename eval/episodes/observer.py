"""Observer: what the loop tells whoever listens to a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.slots import Begun, SlotEnv
from eval.episodes.plan import EpisodeSpec
from eval.episodes.results import EpisodeResult
from simscaleai.contract import Needs, Observation


@dataclass(frozen=True)
class Step:
    """One control step of all running slots. Row i of every array belongs to `slots[i]`."""

    slots: NDArray[np.intp]
    """Slots that were running, shape (n,)."""
    observation: Observation
    """What was observed before the action: the keys that observers need, n rows each; empty if none needs any."""
    chunks: Mapping[int, NDArray[np.float32]]
    """Slot to the chunk (H, A) that the policy has just predicted, for the slots where it was asked."""
    intended: NDArray[np.float32]
    """Actions of the policy before probes and clipping, shape (n, A)."""
    executed: NDArray[np.float32]
    """Actions after probes and clipping, shape (n, A)."""
    reward: NDArray[np.float64]
    """Reward of the step, shape (n,)."""
    success: NDArray[np.bool_]
    """Whether the success rule holds after the step, shape (n,)."""
    stage: Sequence[str]
    """How far each episode has come, n entries."""


class Observer:
    """Listens to one run. Every method does nothing unless overridden.

    The order for one slot is `on_episode_start`, then `on_look` (where the policy is asked) and `on_step` for each
    control step, then `on_episode_end`, or `on_episode_abandoned` if the episode is broken off. An abandoned episode
    that is still wanted starts again later, perhaps in another slot. An episode that could not begin, or that ran in
    another process, is told by `on_episode_end` alone.

    An observer never changes what it is shown. Its own errors end the run.
    """

    needs: Needs = Needs()
    """Observations that `Step.observation` shall hold for all running slots at every step."""

    has_seen_enough: bool = False
    """Whether the run shall end now, before the end of its plan. Episodes that still run are abandoned."""

    def on_run_start(self, env: SlotEnv) -> None:
        """Prepare for episodes in `env`."""

    def on_episode_start(self, slot: int, spec: EpisodeSpec, begun: Begun) -> None:
        """See the episode `spec` begin in `slot`. The environment is reset, nothing has moved."""

    def on_look(self, slots: NDArray[np.intp], observation: Observation) -> None:
        """See what the policy is given in `slots` before it is asked: the keys of its needs, n rows each."""

    def on_step(self, step: Step) -> None:
        """See one control step of all running slots."""

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """See the episode in `slot` end. The slot still shows its last state."""

    def on_episode_abandoned(self, slot: int, spec: EpisodeSpec) -> None:
        """Forget what was gathered about the episode `spec` in `slot`."""

    def on_run_end(self, results: Sequence[EpisodeResult]) -> None:
        """See the results of all episodes of this run, sorted by episode."""

    def close(self) -> None:
        """Free what is held. Called last, also when the run breaks off."""
