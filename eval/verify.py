"""Replays a dataset: does every stored episode come out again, to the last bit?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from envs.interface import ACTION_DIM, Contract, ContractError, ObservationArrays
from eval.assembly import build_environment, environment_id
from eval.console import Row
from eval.loop import rollout
from eval.observers.base import Observer, Step
from eval.observers.progress import Progress
from eval.plan import EpisodeSpec
from eval.provenance import fingerprint, gl_renderer
from eval.results import EpisodeResult
from simscaleai.data import Dataset
from simscaleai.errors import SimScaleError

if TYPE_CHECKING:
    from envs.vector_env import TaskVectorEnv

NUM_ENVS = 16
EPISODES_WITH_IMAGES = 8
"""Episodes whose images are drawn again; those of the others are held by the digest of their file."""


class VerificationError(SimScaleError):
    """A dataset that cannot be replayed at all."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What came of replaying a dataset."""

    episodes: int
    """Episodes that were replayed."""
    frames: int
    """Frames that they hold, each with its states."""
    images: int
    """Images that were drawn again."""
    differences: Mapping[int, str]
    """Index of each episode that does not come out as it is stored, to the first way in which it differs."""
    same_machine: bool | None
    """Whether the dataset was made on the same CPU type, libraries and GL driver; None if it does not say."""

    def rows(self) -> list[Row]:
        """Return the finding for people, name by name."""
        equal = self.episodes - len(self.differences)
        rows = {
            "replayed alike": f"{equal}/{self.episodes}   {100 * equal / self.episodes:.1f} %",
            "compared": f"{self.frames} frames, {self.images} images",
        }
        rows |= {f"episode {index}": text for index, text in sorted(self.differences.items())}
        if self.differences and self.same_machine is False:
            rows["note"] = "it was made with another CPU type, other libraries or another GL driver; bits may differ"
        return list(rows.items())


def verify_dataset(
    folder: Path, *, episodes_with_images: int = EPISODES_WITH_IMAGES, progress: bool = True
) -> Verification:
    """Replay every episode of the dataset in `folder` from its `executed_action`.

    In the environment that its record names, reset with its seed, every stored row of `observation.state` and
    `observation.environment_state` must come again bit for bit, the episode must end after as many steps with the same
    success, instruction, target and digest, and its file must be what was written.

    Args:
        folder: Folder of the dataset.
        episodes_with_images: So many episodes, from the first on, have their images compared, too.
        progress: Whether to show on standard error how far it is.

    Raises:
        DatasetError: If it is no dataset, or an episode's file is missing or cut.
        VerificationError: If it was not made in an environment of this installation.
    """
    dataset = Dataset(folder)
    plan = _plan(folder, dataset)
    contract = Contract.from_json(dataset.contract)
    drawn = min(episodes_with_images, len(plan)) if contract.cameras else 0
    env = _build(folder, contract, min(NUM_ENVS, len(plan)), with_images=drawn > 0)
    replay = _Replay(folder, dataset, drawn)
    rollout(env, replay, plan, [replay, *([Progress(len(plan))] if progress else [])])
    there, now = dataset.provenance[0].get("fingerprint"), fingerprint(gl_renderer(env) if drawn else None)
    env.close()
    return Verification(
        episodes=len(plan),
        frames=dataset.num_frames,
        images=int(dataset.episode_ends[drawn - 1]) * len(contract.cameras) if drawn else 0,
        differences=replay.differences,
        same_machine=None if there is None else there | {"gl_renderer": now["gl_renderer"]} == now,
    )


def _plan(folder: Path, dataset: Dataset) -> list[EpisodeSpec]:
    if len(dataset.contract["environments"]) != 1:
        raise VerificationError(f"{folder} does not say which environment it was made in; it cannot be replayed")
    if "executed_action" not in dataset.features or dataset.features["executed_action"].shape != (ACTION_DIM,):
        raise VerificationError(f"{folder} has no executed_action of {ACTION_DIM} numbers; it cannot be replayed")
    return [EpisodeSpec(record.episode_index, int(record.metadata["seed"])) for record in dataset.episodes]


def _build(folder: Path, contract: Contract, num_envs: int, *, with_images: bool) -> TaskVectorEnv:
    (env_id,) = contract.environments
    offered = contract if with_images else replace(contract, cameras=(), image_size=None, render_profile=None)
    try:
        return build_environment(offered, environment_id(env_id), num_envs)
    except ContractError as error:
        differences = "; ".join(error.differences).replace("policy", "dataset")
        raise VerificationError(f"{folder} was made in another environment: {differences}") from None


class _Replay(Observer):
    """A policy that does what was done, and an observer that compares what comes of it with what is stored."""

    def __init__(self, folder: Path, dataset: Dataset, drawn: int) -> None:
        """Replay `dataset`, its first `drawn` episodes with images."""
        self.contract = replace(Contract.from_json(dataset.contract), cameras=(), image_size=None, render_profile=None)
        self.differences: dict[int, str] = {}
        self._folder, self._dataset, self._drawn = folder, dataset, drawn
        self._number_of = {record.episode_index: number for number, record in enumerate(dataset.episodes)}
        self._cameras = dataset.contract["cameras"]
        # Of each slot: the episode's place in the dataset, its arrays, and the next step.
        self._numbers: dict[int, int] = {}
        self._episodes: dict[int, Mapping[str, NDArray[Any]]] = {}
        self._steps: dict[int, int] = {}

    def reset(self, env_ids: NDArray[np.intp], seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Wait for `on_episode_start`, which says which episode begins."""

    def on_episode_start(self, slot: int, spec: EpisodeSpec) -> None:
        """Open the episode."""
        self._numbers[slot] = number = self._number_of[spec.episode_index]
        self._episodes[slot], self._steps[slot] = self._dataset.episode(number), 0

    def needs_observation(self, env_ids: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return in which slots images will be compared."""
        return np.array([self._numbers[slot] < self._drawn for slot in env_ids.tolist()])

    def act(self, observation: ObservationArrays, env_ids: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the stored actions; beyond the last one what is not a number, which ends an episode."""
        actions = np.full((len(env_ids), ACTION_DIM), np.nan, dtype=np.float32)
        for row, slot in enumerate(env_ids.tolist()):
            stored = self._episodes[slot]["executed_action"]
            if self._steps[slot] < len(stored):
                actions[row] = stored[self._steps[slot]]
        return actions

    def on_step(self, step: Step) -> None:
        """Compare what was observed before the step."""
        for slot in step.env_ids.tolist():
            observed = {key: rows[slot] for key, rows in step.observation.items()}
            self._compare(slot, observed)
            self._steps[slot] += 1

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """Compare how the episode ended, and the file with its digest."""
        record = self._dataset.episodes[self._numbers[slot]]
        found = {"length": result.steps, "success": result.status == "success"}
        found |= {name: getattr(result, name) for name in ("instruction", "target", "digest")}
        stored = record.metadata | {"length": record.length}
        for name, value in found.items():
            if name in stored and stored[name] != value:
                self._differ(slot, f"{name} is stored as {stored[name]!r}, the replay gives {value!r}")
        if hashlib.sha256((self._folder / record.file).read_bytes()).hexdigest() != record.sha256:
            self._differ(slot, f"{record.file} has changed since it was written")

    def _compare(self, slot: int, observed: Mapping[str, NDArray[Any]]) -> None:
        step, stored = self._steps[slot], self._episodes[slot]
        if step >= self._dataset.episodes[self._numbers[slot]].length:
            return  # the wrong length will be noticed
        for key in self.contract.vectors:
            self._compare_array(slot, f"observation.{key}", stored[f"observation.{key}"][step], observed[key])
        if self._numbers[slot] < self._drawn:
            for index, camera in enumerate(self._cameras):
                key = f"observation.images.{camera}"
                self._compare_array(slot, key, stored[key][step], observed["image"][..., 3 * index : 3 * index + 3])

    def _compare_array(self, slot: int, key: str, stored: NDArray[Any], observed: NDArray[Any]) -> None:
        if stored.tobytes() != np.ascontiguousarray(observed).tobytes():
            most = np.abs(stored.astype(np.float64) - observed).max()
            self._differ(slot, f"{key} of step {self._steps[slot]} differs by up to {most:.3g}")

    def _differ(self, slot: int, text: str) -> None:
        self.differences.setdefault(self._dataset.episodes[self._numbers[slot]].episode_index, text)
