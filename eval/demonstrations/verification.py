"""Replays a dataset and checks that every stored episode repeats bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.registration import Registration, find_environment
from envs.slots import Begun, SlotEnv
from eval.demonstrations.phrasings import with_phrasings
from eval.episodes.faults import logged
from eval.episodes.loop import rollout
from eval.episodes.observer import Observer, Step
from eval.episodes.plan import EpisodeSpec
from eval.episodes.results import EpisodeResult
from eval.observers.dataset import EXECUTED_ACTION
from eval.observers.progress import Progress
from eval.probing.words import Words
from eval.runs.provenance import fingerprint
from policies.base import Policy
from simscaleai.contract import EnvSpec, Needs, Observation, check_needs
from simscaleai.data import Dataset
from simscaleai.data.episode_file import Arrays
from simscaleai.data.keys import image_key, vector_key
from simscaleai.errors import MismatchError, SimScaleError
from simscaleai.json_data import plain

NUM_ENVS = 16
"""Number of slots in which episodes are replayed."""

EPISODES_WITH_IMAGES = 8
"""Number of episodes whose images are rendered again. For the others, only the SHA-256 of the file covers images."""


class VerificationError(SimScaleError):
    """A dataset that cannot be replayed."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Result of the replay of a dataset."""

    episodes: int
    """Number of episodes that were replayed."""
    frames: int
    """Number of steps of these episodes, each with its vectors."""
    images: int
    """Number of images that were rendered again."""
    differences: Mapping[int, str]
    """Index of each episode whose replay differs from the stored episode, to the first difference in words."""
    same_machine: bool | None
    """Whether the dataset was made with the same CPU type, libraries and GL driver; None if it does not record them."""

    def rows(self) -> list[tuple[str, str]]:
        """Return the findings as pairs of a name and a text."""
        equal = self.episodes - len(self.differences)
        rows = {
            "replayed alike": f"{equal}/{self.episodes}   {100 * equal / self.episodes:.1f} %",
            "compared": f"{self.frames} frames, {self.images} images",
        }
        rows |= {f"episode {index}": text for index, text in sorted(self.differences.items())}
        if self.differences and self.same_machine is False:
            rows["note"] = (
                "the dataset was made with another CPU type, other libraries or another GL driver; bits may differ"
            )
        return list(rows.items())


def verify_dataset(
    folder: Path, *, episodes_with_images: int = EPISODES_WITH_IMAGES, progress: bool = True
) -> Verification:
    """Replay every episode of the dataset in `folder` from its executed actions.

    Each episode starts again from its seed, in the environment that the dataset names. Every stored vector must repeat
    bit for bit. The episode must end after the same number of steps, with the same success, instruction, target and
    digest, and its file must have the stored SHA-256.

    Args:
        folder: Folder of the dataset.
        episodes_with_images: Number of episodes, from the first one, whose images are compared, too.
        progress: Whether to show progress on standard error.

    Raises:
        DatasetError: If there is no dataset, or an episode's file is missing or damaged.
        VerificationError: If the dataset does not name one environment or holds no executed actions for it, or if
            that environment has changed.
        UnknownNameError: If this installation does not have the environment.
    """
    dataset = Dataset(folder)
    stored, episodes = dataset.needs, range(len(dataset.episodes))
    drawn = episodes[:episodes_with_images] if stored.cameras else episodes[:0]
    replay = _Replay(folder, dataset, _find_environment(folder, dataset), progress)
    replay.run(drawn, stored)
    replay.run(episodes[len(drawn) :], replace(stored, cameras={}, render_profile=None))
    return Verification(
        episodes=len(episodes),
        frames=dataset.num_frames,
        images=sum(dataset.episodes[number].length for number in drawn) * len(stored.cameras),
        differences=replay.differences,
        same_machine=_is_same_machine(dataset.provenance[0].get("fingerprint"), replay.fingerprint, bool(drawn)),
    )


def _find_environment(folder: Path, dataset: Dataset) -> Registration:
    environments = list(dataset.needs.environments or ())
    is_suite = all("task" in episode.metadata for episode in dataset.episodes)
    if not environments or (len(environments) > 1 and not is_suite):
        dataset.check_files()
        raise VerificationError(
            f"{folder} does not say which environment it was made in, so it cannot be replayed; its files are whole, "
            f"and python -m simscaleai.data check {folder} checks what they hold"
        )
    registration = find_environment(",".join(environments))
    executed, size = dataset.array_types.get(EXECUTED_ACTION), registration.offer().action.size
    if executed is None or executed.shape != (size,):
        raise VerificationError(f"{folder} has no {EXECUTED_ACTION} of {size} numbers; it cannot be replayed")
    return registration


def _is_same_machine(made_on: Mapping[str, Any] | None, now: Mapping[str, Any], has_drawn: bool) -> bool | None:
    if made_on is None:
        return None
    without_driver = {} if has_drawn else {"gl_renderer": None}
    return bool({**made_on, **without_driver} == plain(now))


@dataclass
class _Replay:
    """Replays episodes of one dataset. The index of an episode in a plan is its position in the dataset."""

    folder: Path
    dataset: Dataset
    registration: Registration
    progress: bool
    differences: dict[int, str] = field(default_factory=dict)
    results: list[EpisodeResult] = field(default_factory=list)
    fingerprint: dict[str, Any] = field(default_factory=dict)
    """Fingerprint of the first environment, which renders images if any are compared."""

    def run(self, episodes: range, needs: Needs) -> None:
        """Replay the episodes at the positions `episodes`; compare the observations with the keys of `needs`."""
        if not episodes:
            return
        env = self._make_environment(needs, min(NUM_ENVS, len(episodes)))
        try:
            self.fingerprint = self.fingerprint or fingerprint(env.fingerprint())
            comparison = _Comparison(self.folder, self.dataset, needs, self.differences)
            policy = _StoredActions(comparison.stored_actions, env.spec.action.size)
            specs = [self._spec(number, env.spec) for number in episodes]
            plan = with_phrasings(specs, self.registration.env_id, self.dataset.provenance[0].get("phrasings", "task"))
            shown = [Progress(len(self.dataset.episodes), earlier=self.results)] if self.progress else []
            self.results += rollout(env, policy, plan, [comparison, *shown], probes=[Words()])
        finally:
            with logged("closing the environment"):
                env.close()

    def _spec(self, number: int, spec: EnvSpec) -> EpisodeSpec:
        """Return the episode with the perturbation of its scene and words. Its stored actions hold all else."""
        stored = self.dataset.episodes[number].metadata
        again = {axis.name for axis in (*spec.axes, *Words.axes)}
        perturbation = {name: size for name, size in (stored.get("perturbation") or {}).items() if name in again}
        seed, task = int(stored["seed"]), stored.get("task")
        return EpisodeSpec(number, seed, task=task, perturbation=perturbation or None)

    def _make_environment(self, needs: Needs, num_slots: int) -> SlotEnv:
        try:
            check_needs(needs, self.registration.offer())
        except MismatchError as error:
            differences = "; ".join(error.differences).replace("policy", "dataset")
            raise VerificationError(f"{self.folder} was made in another environment: {differences}") from None
        return self.registration.make(num_slots, needs, True, None)


class _StoredActions(Policy):
    """Repeats stored actions. After the last one it returns NaN, which ends an episode that should have ended."""

    def __init__(self, stored_actions: Callable[[int], NDArray[np.float32]], action_size: int) -> None:
        """Repeat what `stored_actions` returns for a slot, shape (T, A)."""
        self.needs = Needs()
        self._stored_actions, self._action_size = stored_actions, action_size

    def predict(self, observation: Observation, slots: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return all actions of the episode in each of `slots` as one chunk."""
        episodes = [self._stored_actions(slot) for slot in slots.tolist()]
        chunks = np.full((len(slots), max(map(len, episodes)) + 1, self._action_size), np.nan, dtype=np.float32)
        for chunk, actions in zip(chunks, episodes, strict=True):
            chunk[: len(actions)] = actions
        return chunks


@dataclass
class _StoredEpisode:
    """A stored episode that is being replayed."""

    number: int
    arrays: Arrays
    step: int = 0


class _Comparison(Observer):
    """Compares the replayed episodes with the stored ones."""

    def __init__(self, folder: Path, dataset: Dataset, needs: Needs, differences: dict[int, str]) -> None:
        """Compare observations with the keys of `needs`; add the first difference of each episode to `differences`."""
        self.needs = needs
        self._folder, self._dataset, self._differences = folder, dataset, differences
        self._arrays = {key: vector_key(key) for key in needs.vectors} | {key: image_key(key) for key in needs.cameras}
        self._episodes: dict[int, _StoredEpisode] = {}
        """Slot to its episode."""

    def stored_actions(self, slot: int) -> NDArray[np.float32]:
        """Return the executed actions of the episode in `slot`, shape (T, A)."""
        return self._episodes[slot].arrays[EXECUTED_ACTION]

    def on_episode_start(self, slot: int, spec: EpisodeSpec, begun: Begun) -> None:
        """Open the stored episode."""
        number = spec.episode_index
        self._episodes[slot] = _StoredEpisode(number, self._dataset.episode(number))

    def on_step(self, step: Step) -> None:
        """Compare the observations before the step."""
        for row, slot in enumerate(step.slots.tolist()):
            episode = self._episodes[slot]
            if episode.step < self._dataset.episodes[episode.number].length:  # else the length differs
                for key, name in self._arrays.items():
                    self._compare(episode, name, step.observation[key][row])
            episode.step += 1

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """Compare the result of the episode, and the SHA-256 of its file."""
        self._episodes.pop(slot, None)  # an episode that could not begin was not opened
        stored = self._dataset.episodes[result.episode_index]
        found = {"length": result.steps, "success": result.status == "success"}
        found |= {name: getattr(result, name) for name in ("instruction", "target", "digest")}
        expected = stored.metadata | {"length": stored.length}
        for name, value in found.items():
            if name in expected and expected[name] != value:
                self._add(result.episode_index, f"{name} is stored as {expected[name]!r}, the replay gives {value!r}")
        if hashlib.sha256((self._folder / stored.file).read_bytes()).hexdigest() != stored.sha256:
            self._add(result.episode_index, f"{stored.file} has changed since it was written")

    def _compare(self, episode: _StoredEpisode, name: str, observed: NDArray[Any]) -> None:
        stored = episode.arrays[name][episode.step]
        if stored.tobytes() != observed.tobytes():
            most = np.abs(stored.astype(np.float64) - observed).max()
            self._add(episode.number, f"{name} of step {episode.step} differs by up to {most:.3g}")

    def _add(self, number: int, difference: str) -> None:
        self._differences.setdefault(self._dataset.episodes[number].episode_index, difference)
