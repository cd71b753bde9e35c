"""What a task must define, and what all tasks share: random streams and the arm's part of the observation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from envs.controller import NUM_JOINTS, CartesianController
from envs.interface import Feature, Layout
from envs.simulation import Simulation

_STREAMS = ("arm", "places", "yaws", "colours", "goal", "target", "phrasing")

ARM_FEATURES = (
    Feature("joint_positions", 7, "rad", "joint"),
    Feature("joint_velocities", 7, "rad/s", "joint"),
    Feature("ee_position", 3, "m", "world"),
)


def episode_stream(seed: int, name: str) -> np.random.Generator:
    """Return the random stream `name` of the episode `seed`; streams of one seed are independent of each other."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(_STREAMS.index(name),))))


def draw_point(stream: np.random.Generator, box: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    """Draw a point uniformly from `box`, the (lowest, highest) of each coordinate: (k,).

    Draws the same numbers as `stream.uniform` between arrays of bounds, in less than half of its time.
    """
    return np.array([stream.uniform(low, high) for low, high in box])


class Task(ABC):
    """A task, written once for N slots: what is drawn at reset, what is seen, what counts as success.

    The environment calls `reset` for slots that begin an episode, moves the arms, calls `update` once after each
    control step, and reads the rest: what `look` found then, computed once however often it is read. A task never
    steps the simulation.
    """

    scene: ClassVar[str]
    """Stem of the MJCF under assets/."""
    max_episode_steps: ClassVar[int]
    """Time limit in control steps."""
    state_layout: ClassVar[Layout]
    """Layout of `state`: what a robot is given."""
    environment_layout: ClassVar[Layout]
    """Layout of `environment_state`: simulator truth."""

    def __init__(self, simulation: Simulation, controller: CartesianController) -> None:
        """Attach the task to the slots of `simulation`."""
        self.simulation = simulation
        self.controller = controller
        self.num_envs = simulation.num_envs
        self.instructions = np.full(self.num_envs, "", dtype=object)
        self.targets = np.full(self.num_envs, None, dtype=object)

    def reset(self, slots: Sequence[int], seeds: Sequence[int], options: Sequence[Mapping[str, Any]]) -> None:
        """Begin an episode in each of `slots`.

        Args:
            slots: Slots that begin an episode.
            seeds: Episode seed of each; everything random about the episode follows from it.
            options: Overrides of each: "target" and "instruction", where the task has them.
        """
        mask = np.zeros(self.num_envs, dtype=bool)
        mask[list(slots)] = True
        self.simulation.reset(mask)
        for slot, seed, overrides in zip(slots, seeds, options, strict=True):
            self.begin_episode(slot, seed, overrides)
        self.simulation.forward(mask)
        self.forget(mask)
        self.look()

    def update(self, mask: NDArray[np.bool_]) -> None:
        """Take notice of the control step that the slots in `mask` have just done."""
        self.look()
        self.remember(mask)

    @abstractmethod
    def begin_episode(self, slot: int, seed: int, options: Mapping[str, Any]) -> None:
        """Draw the episode `seed` and write it into `slot`: arm, objects, goal, instruction."""

    @abstractmethod
    def forget(self, mask: NDArray[np.bool_]) -> None:
        """Clear what the task remembers of the episodes that ran before in the slots of `mask`."""

    @abstractmethod
    def look(self) -> None:
        """Compute what is so now in every slot and the rest of the task reads, from nothing but the simulation."""

    @abstractmethod
    def remember(self, mask: NDArray[np.bool_]) -> None:
        """Keep what matters later of what `look` has found in the slots of `mask`."""

    @abstractmethod
    def success(self) -> NDArray[np.bool_]:
        """Return whether each slot is successful at this step, (N,)."""

    @abstractmethod
    def stage(self) -> NDArray[np.object_]:
        """Return how far each episode has come, in one word, (N,)."""

    @abstractmethod
    def failure(self) -> NDArray[np.object_]:
        """Return the class of failure of each episode if it ended now without success, (N,)."""

    @abstractmethod
    def dense_reward(self) -> NDArray[np.float64]:
        """Return a shaped reward in [0, 1], 1 at success, (N,)."""

    @abstractmethod
    def distances(self) -> dict[str, NDArray[np.float64]]:
        """Return named distances [m], each (N,)."""

    @abstractmethod
    def observe(self) -> dict[str, NDArray[np.float32]]:
        """Return fresh arrays `state` (N, D) and `environment_state` (N, E)."""

    def arm_state(self) -> list[NDArray[np.float64]]:
        """Return the parts of `ARM_FEATURES`, each (N, size)."""
        simulation = self.simulation
        return [simulation.qpos[:, :NUM_JOINTS], simulation.qvel[:, :NUM_JOINTS], simulation.ee_position]


def join_features(parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float32]:
    """Join feature arrays (N, size) into one float32 observation vector (N, sum of sizes)."""
    return np.concatenate(parts, axis=1, dtype=np.float32)


def distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Euclidean distances between rows of `a` and `b`, (N, k) each."""
    return row_lengths(a - b)


def row_lengths(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Euclidean length of each row of `rows` (N, k), summed in a fixed order."""
    squares = rows * rows
    total = squares[:, 0]
    for axis in range(1, squares.shape[1]):
        total = total + squares[:, axis]
    return np.sqrt(total)
