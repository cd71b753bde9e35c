"""Probes that replace the images or vectors that a policy gets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.slots import SlotEnv, Start
from eval.episodes.plan import TEST_SEEDS
from eval.episodes.probe import Episode, Probe
from eval.probing.other_seed import other_seed
from simscaleai.contract import Observation


class Zeros(Probe):
    """Gives the policy zeros: black images, or vectors of zeros."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Replace the observations `keys`."""
        self._keys = tuple(keys)

    def observe(self, observation: Observation, slots: NDArray[np.intp]) -> Observation:
        """Return `observation` with zeros for the chosen keys."""
        return observation | {key: np.zeros_like(observation[key]) for key in self._keys}


class _ConstantImages(Probe):
    """Gives the policy the same images throughout an episode."""

    def __init__(self, cameras: Sequence[str]) -> None:
        self._cameras = tuple(cameras)
        self._seeds: dict[int, int] = {}
        self._shown: dict[int, Observation] = {}
        """Slot to the images that the policy gets until the episode ends."""

    def begin(self, slots: NDArray[np.intp], episodes: Sequence[Episode]) -> None:
        """Drop the images of earlier episodes."""
        for slot, episode in zip(slots.tolist(), episodes, strict=True):
            self._seeds[slot] = episode.seed
            self._shown.pop(slot, None)

    def observe(self, observation: Observation, slots: NDArray[np.intp]) -> Observation:
        """Return `observation` with the constant images of each episode."""
        for row, slot in enumerate(slots.tolist()):
            if slot not in self._shown:
                seen = {camera: observation[camera][row] for camera in self._cameras}
                self._shown[slot] = self._choose(self._seeds[slot], seen)
        shown = [self._shown[slot] for slot in slots.tolist()]
        return observation | {camera: np.stack([images[camera] for images in shown]) for camera in self._cameras}

    @abstractmethod
    def _choose(self, seed: int, seen: Observation) -> Observation:
        """Return the constant images for the episode with the seed `seed`, whose first images are `seen`."""


class FrozenImages(_ConstantImages):
    """Gives the policy the first images of its episode, at every step."""

    def _choose(self, seed: int, seen: Observation) -> Observation:
        return {camera: image.copy() for camera, image in seen.items()}


class OtherSceneImages(_ConstantImages):
    """Gives the policy the first images of another seed's scene, at every step."""

    def __init__(self, cameras: Sequence[str], env: SlotEnv) -> None:
        """Replace the images of `cameras` by images that `env` renders in its slot 0."""
        super().__init__(cameras)
        self._env = env

    def _choose(self, seed: int, seen: Observation) -> Observation:
        slot = np.array([0])
        self._env.reset(slot, [Start(other_seed(seed, "vision", TEST_SEEDS))])
        drawn = self._env.observe(slot, np.ones(1, dtype=bool))
        return {camera: np.broadcast_to(drawn[camera][0], image.shape) for camera, image in seen.items()}

    def close(self) -> None:
        """Close the environment that draws the images."""
        self._env.close()
