"""Turns episodes into demonstrations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eval.observers.base import Observer, Step
from eval.plan import EpisodeSpec
from eval.results import EpisodeResult
from simscaleai.data import DatasetWriter

if TYPE_CHECKING:
    from envs.vector_env import TaskVectorEnv


class DatasetRecorder(Observer):
    """Gathers the steps of each running episode and writes those episodes that are worth imitating.

    Row t of an episode: what was observed before step t, the label, and the action that was executed.
    """

    needs_images = True

    def __init__(
        self,
        writer: DatasetWriter,
        labels: NDArray[np.float32],
        *,
        relabelled: bool = False,
        keep_failures: bool = False,
    ) -> None:
        """Record into `writer`.

        Args:
            writer: Where episodes go; the caller closes it.
            labels: What a learner shall imitate in the step just taken, shape (N, 4); whoever acts keeps it current.
            relabelled: The labels are an expert's opinion of what somebody else does, worth learning from whatever
                comes of it: every episode is kept.
            keep_failures: Keep episodes that are no success, too.
        """
        self._writer, self._labels, self._relabelled = writer, labels, relabelled
        self._keep_failures = keep_failures or relabelled
        self._episodes: dict[int, list[dict[str, NDArray[Any]]]] = {}
        self.discarded = 0
        """Number of episodes that were not kept."""

    def on_run_start(self, env: TaskVectorEnv) -> None:
        """Learn which observations the environment gives."""
        (self._environment,) = env.contract.environments
        self._cameras = env.contract.cameras
        self._vectors = tuple(env.contract.vectors)

    def on_episode_start(self, slot: int, spec: EpisodeSpec) -> None:
        """Begin an episode."""
        self._episodes[slot] = []

    def on_step(self, step: Step) -> None:
        """Add one row to the episode of each running slot."""
        for slot in step.env_ids.tolist():
            self._episodes[slot].append(self._row(step, slot))

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """Write the episode, or count it as discarded."""
        rows = self._episodes.pop(slot)
        if not rows or not (self._keep_failures or result.status == "success"):
            self.discarded += 1
            return
        arrays = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
        metadata = {
            "seed": result.seed,
            "environment": self._environment,
            "instruction": result.instruction,
            "target": result.target,
            "success": result.status == "success",
            "digest": result.digest,
        }
        if self._relabelled:
            metadata["relabelled"] = True
        self._writer.write_episode(arrays, metadata, result.episode_index)

    def on_episode_abandoned(self, slot: int, spec: EpisodeSpec) -> None:
        """Forget the episode's rows."""
        del self._episodes[slot]

    def _row(self, step: Step, slot: int) -> dict[str, NDArray[Any]]:
        row = {f"observation.{key}": step.observation[key][slot] for key in self._vectors}
        for index, camera in enumerate(self._cameras):
            image = step.observation["image"][slot, ..., 3 * index : 3 * index + 3]
            row[f"observation.images.{camera}"] = image
        return row | {"action": self._labels[slot].copy(), "executed_action": step.executed_actions[slot]}
