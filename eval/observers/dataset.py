"""Stores episodes as demonstrations in a dataset.

`EpisodeRecorder` writes the file of an episode, in the process that runs the episode. `DatasetIndex` adds it to the
list of episodes, in the parent process.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.slots import Begun
from eval.episodes.observer import Observer, Step
from eval.episodes.plan import EpisodeSpec
from eval.episodes.results import INVALID_ACTION, POLICY_EXCEPTION, POLICY_TIMEOUT, EpisodeResult
from simscaleai.contract import Needs, union_of_needs
from simscaleai.data import DatasetWriter
from simscaleai.data.episode_file import write_episode_file
from simscaleai.data.episode_list import episode_file_name, read_discarded, read_episode_list
from simscaleai.data.keys import ACTION, image_key, vector_key

EXECUTED_ACTION = "executed_action"
"""Name of the array with the actions that were executed, after noise and clipping."""

_NOT_REPLAYABLE = (POLICY_EXCEPTION, POLICY_TIMEOUT, INVALID_ACTION)


def is_worth_keeping(result: EpisodeResult, *, keep_failures: bool) -> bool:
    """Return whether an episode becomes a demonstration.

    An episode that ended with an exception, a timeout or an invalid action of the policy is never kept: its executed
    actions do not lead to its end, so it cannot be replayed.

    Args:
        result: Result of the episode.
        keep_failures: Whether to keep failed episodes, too.
    """
    if result.status == "error" or result.steps == 0 or result.failure in _NOT_REPLAYABLE:
        return False
    return keep_failures or result.status == "success"


class Labels:
    """Actions that a learner should imitate at each step; by default the intended actions of the acting policy."""

    needs: Needs = Needs()
    """Observations that the labels are computed from."""

    def begin(self, slot: int, spec: EpisodeSpec, begun: Begun) -> None:
        """Prepare for the episode `spec` in `slot`."""

    def of(self, step: Step) -> NDArray[np.float32]:
        """Return the label of each slot of `step`, shape (n, A)."""
        return step.intended


class EpisodeRecorder(Observer):
    """Collects the steps of each running episode and writes a file for each episode that is worth keeping.

    Row t of an episode holds the observation before step t, the label, and the action that was executed.
    """

    def __init__(
        self, folder: Path, recorded: Needs, *, labels: Labels | None = None, keep_failures: bool = False
    ) -> None:
        """Write into the dataset in `folder`.

        Args:
            folder: Folder of the dataset.
            recorded: Vectors and cameras to store.
            labels: Actions that a learner should imitate; by default those of the acting policy.
            keep_failures: Whether to keep failed episodes, too.
        """
        self._folder, self._recorded, self._keep_failures = folder, recorded, keep_failures
        self._labels = labels or Labels()
        self.needs = union_of_needs([recorded, self._labels.needs])
        self.sha256: dict[int, str] = {}
        """Index of an episode to the SHA-256 of its file, for each file that was written."""
        self._rows: dict[int, list[dict[str, NDArray[Any]]]] = {}
        """Slot to the rows of its running episode."""

    def on_episode_start(self, slot: int, spec: EpisodeSpec, begun: Begun) -> None:
        """Start to collect the steps of the episode."""
        self._rows[slot] = []
        self._labels.begin(slot, spec, begun)

    def on_step(self, step: Step) -> None:
        """Add one row to the episode of each running slot."""
        arrays = {vector_key(key): step.observation[key] for key in self._recorded.vectors}
        arrays |= {image_key(camera): step.observation[camera] for camera in self._recorded.cameras}
        arrays |= {ACTION: self._labels.of(step).copy(), EXECUTED_ACTION: step.executed.copy()}
        for row, slot in enumerate(step.slots.tolist()):
            self._rows[slot].append({key: rows[row] for key, rows in arrays.items()})

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """Write the episode if it is worth keeping."""
        rows = self._rows.pop(slot, [])
        if is_worth_keeping(result, keep_failures=self._keep_failures):
            arrays = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
            path = self._folder / episode_file_name(result.episode_index)
            self.sha256[result.episode_index] = write_episode_file(path, arrays)

    def on_episode_abandoned(self, slot: int, spec: EpisodeSpec) -> None:
        """Drop the rows of the episode."""
        self._rows.pop(slot, None)


class DatasetIndex(Observer):
    """Adds each episode that has ended to the list of kept or of discarded episodes of a dataset."""

    def __init__(
        self,
        writer: DatasetWriter,
        environment: str,
        *,
        relabelled: bool = False,
        keep_failures: bool = False,
        sha256: Mapping[int, str] = MappingProxyType({}),
    ) -> None:
        """List the episodes in the dataset of `writer`.

        Args:
            writer: The dataset. The caller closes it.
            environment: Full id of the environment.
            relabelled: Whether the labels come from an expert instead of the acting policy.
            keep_failures: The same value as for the `EpisodeRecorder`.
            sha256: `EpisodeRecorder.sha256`, if the recorder is in this process. Other files are read and hashed.
        """
        self._writer, self._keep_failures, self._sha256 = writer, keep_failures, sha256
        self._about = {"environment": environment} | ({"relabelled": True} if relabelled else {})

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """List the episode. An episode with the status `error` is not listed, so that it runs again."""
        if result.status == "error":
            return
        metadata = {key: value for key, value in result.to_json().items() if key != "episode_index"}
        metadata |= self._about | {"success": result.status == "success"}
        if is_worth_keeping(result, keep_failures=self._keep_failures):
            self._writer.adopt_episode(metadata, result.episode_index, self._sha256.get(result.episode_index))
        else:
            self._writer.discard_episode(metadata, result.episode_index)


def finished_results(folder: Path) -> list[EpisodeResult]:
    """Return the results of the episodes that the dataset in `folder` lists, kept or discarded, in plan order.

    Raises:
        DatasetError: If the lists of the dataset are damaged.
    """
    lines = [{"episode_index": episode.episode_index} | episode.metadata for episode in read_episode_list(folder)]
    lines += read_discarded(folder)
    names = {name.rstrip("_") for name in EpisodeResult.__dataclass_fields__}
    results = [EpisodeResult.from_json({name: line[name] for name in names & line.keys()}) for line in lines]
    return sorted(results, key=lambda result: result.episode_index)
