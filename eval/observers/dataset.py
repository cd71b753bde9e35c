"""Turns episodes into demonstrations: the files where the simulation is, the dataset's index where the run is led."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eval.observers.base import Observer, Step
from eval.plan import EpisodeSpec
from eval.results import INVALID_ACTION, POLICY_EXCEPTION, EpisodeResult
from simscaleai.data import DatasetWriter
from simscaleai.data.description import episode_file_name, read_discarded, read_index
from simscaleai.data.episode_file import write_episode_file

if TYPE_CHECKING:
    from envs.vector_env import TaskVectorEnv

_NOT_REPLAYABLE = (POLICY_EXCEPTION, INVALID_ACTION)


def is_worth_keeping(result: EpisodeResult, *, keep_failures: bool) -> bool:
    """Return whether an episode becomes a demonstration.

    One that a policy's exception or senseless action broke off never does: the actions that were executed do not lead
    to its end, so it could not be replayed.
    """
    if result.status == "error" or result.steps == 0 or result.failure in _NOT_REPLAYABLE:
        return False
    return keep_failures or result.status == "success"


class EpisodeFiles(Observer):
    """Gathers the steps of each running episode and writes the file of those that are worth keeping.

    Row t of an episode: what was observed before step t, the label, and the action that was executed.
    """

    needs_images = True

    def __init__(self, folder: Path, labels: NDArray[np.float32], *, keep_failures: bool = False) -> None:
        """Write into the dataset in `folder`; listing the files is the work of a `DatasetIndex`.

        Args:
            folder: Folder of the dataset.
            labels: What a learner shall imitate in the step just taken, shape (N, 4); whoever acts keeps it current.
            keep_failures: Keep episodes that are no success, too.
        """
        self._folder, self._labels, self._keep_failures = folder, labels, keep_failures
        self._episodes: dict[int, list[dict[str, NDArray[Any]]]] = {}

    def on_run_start(self, env: TaskVectorEnv) -> None:
        """Learn which observations the environment gives."""
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
        """Write the episode if it is worth keeping."""
        rows = self._episodes.pop(slot)
        if is_worth_keeping(result, keep_failures=self._keep_failures):
            arrays = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
            write_episode_file(self._folder / episode_file_name(result.episode_index), arrays)

    def on_episode_abandoned(self, slot: int, spec: EpisodeSpec) -> None:
        """Forget the episode's rows."""
        del self._episodes[slot]

    def _row(self, step: Step, slot: int) -> dict[str, NDArray[Any]]:
        row = {f"observation.{key}": step.observation[key][slot] for key in self._vectors}
        for index, camera in enumerate(self._cameras):
            image = step.observation["image"][slot, ..., 3 * index : 3 * index + 3]
            row[f"observation.images.{camera}"] = image
        return row | {"action": self._labels[slot].copy(), "executed_action": step.executed_actions[slot]}


class DatasetIndex(Observer):
    """Lists each episode in the dataset once its file is in place, or among the discarded."""

    def __init__(
        self, writer: DatasetWriter, environment: str, *, relabelled: bool = False, keep_failures: bool = False
    ) -> None:
        """List in the dataset of `writer`.

        Args:
            writer: The dataset; the caller closes it.
            environment: Full id of the environment.
            relabelled: The labels are an expert's opinion of what somebody else does.
            keep_failures: As the `EpisodeFiles` were told.
        """
        self._writer, self._keep_failures = writer, keep_failures
        self._about = {"environment": environment} | ({"relabelled": True} if relabelled else {})

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """List the episode; one that could not be run stays unfinished."""
        if result.status == "error":
            return
        metadata = {key: value for key, value in result.to_json().items() if key != "episode_index"}
        metadata |= self._about | {"success": result.status == "success"}
        if is_worth_keeping(result, keep_failures=self._keep_failures):
            self._writer.adopt_episode(metadata, result.episode_index)
        else:
            self._writer.discard_episode(metadata, result.episode_index)


def finished_results(folder: Path) -> list[EpisodeResult]:
    """Return how the episodes went that the dataset in `folder` lists, kept or discarded, in the order of the plan.

    Raises:
        DatasetError: If its lists are damaged.
    """
    lines = [{"episode_index": record.episode_index} | record.metadata for record in read_index(folder)]
    lines += read_discarded(folder)
    names = [name.rstrip("_") for name in EpisodeResult.__dataclass_fields__]
    results = [EpisodeResult.from_json({name: line[name] for name in names}) for line in lines]
    return sorted(results, key=lambda result: result.episode_index)
