"""Observer: the interface through which the rollout loop reports a run to logs, films, datasets and other outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
    """Observations before the action, n rows each, with the keys that observers need; empty without such keys."""
    chunks: Mapping[int, NDArray[np.float32]]
    """Slot to the chunk (H, A) that the policy predicted at this step, for the slots in which it was asked."""
    intended: NDArray[np.float32]
    """Actions of the policy, before probes and clipping, shape (n, A)."""
    executed: NDArray[np.float32]
    """Actions after probes and clipping, shape (n, A)."""
    reward: NDArray[np.float64]
    """Reward of the step, shape (n,)."""
    success: NDArray[np.bool_]
    """Whether the success rule holds after the step, shape (n,)."""
    stage: Sequence[str]
    """How far each episode has come, in one word, n entries; "" if the environment does not report it."""

    def values_of(self, row: int) -> dict[str, Any]:
        """Return what happened in `slots[row]`, by name: `observation.KEY`, actions, reward, success and stage."""
        return {
            **{f"observation.{key}": rows[row] for key, rows in self.observation.items()},
            "intended_action": self.intended[row],
            "executed_action": self.executed[row],
            "reward": self.reward[row],
            "success": self.success[row],
            "stage": self.stage[row],
        }


class Observer:
    """Gets the events of one run. Every method does nothing unless overridden.

    The order for one slot is: `on_episode_start`; for each control step `on_look`, if the policy is asked at this step,
    and `on_step`; then `on_episode_end`, or `on_episode_abandoned` if the episode is stopped before its end. An
    abandoned episode starts again later, perhaps in another slot, unless the run ends. For an episode that could not
    begin, or that ran in another process, only `on_episode_end` is called.

    An observer must not change the arrays that it gets. An exception that it raises ends the run.
    """

    needs: Needs = Needs()
    """Observations that `Step.observation` must hold for all running slots at every step."""

    has_seen_enough: bool = False
    """Whether the run should end now, before the end of its plan. Running episodes are then abandoned."""

    def on_run_start(self, env: SlotEnv) -> None:
        """Prepare for episodes in `env`."""

    def on_episode_start(self, slot: int, spec: EpisodeSpec, begun: Begun) -> None:
        """Handle the start of the episode `spec` in `slot`: the environment was reset and has made no step."""

    def on_look(self, slots: NDArray[np.intp], observation: Observation) -> None:
        """Handle the observation that the policy is about to get in `slots`: the keys of its needs, n rows each."""

    def on_step(self, step: Step) -> None:
        """Handle one control step of all running slots."""

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """Handle the end of an episode.

        Args:
            slot: Its slot, which still has the last state of the episode; -1 if the episode ran in another process.
            result: Its result.
        """

    def on_episode_abandoned(self, slot: int, spec: EpisodeSpec) -> None:
        """Drop what was collected about the episode `spec` in `slot`."""

    def on_run_end(self, results: Sequence[EpisodeResult]) -> None:
        """Handle the end of the run; `results` are those of all its episodes, sorted by episode."""

    def close(self) -> None:
        """Free resources. Called last, also if the run fails."""
