"""The base class of tasks, and what all tasks share: random streams and the arm's part of the observation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from envs.tabletop.controller import NUM_JOINTS, CartesianController
from envs.tabletop.names import ENVIRONMENT_STATE, STATE
from envs.tabletop.simulation import Simulation
from simscaleai.contract import Feature, Layout

Vectors = dict[str, Callable[[], NDArray[np.float32]]]
"""Observation key of each vector to the method that computes it, a fresh array (N, size)."""

_STREAMS = ("arm", "places", "yaws", "colours", "goal", "target", "phrasing", "grammar")

ARM_FEATURES = (
    Feature("joint_positions", 7, "rad", "joint"),
    Feature("joint_velocities", 7, "rad/s", "joint"),
    Feature("ee_position", 3, "m", "world"),
)


def episode_stream(seed: int, name: str) -> np.random.Generator:
    """Return the random stream `name` of the episode `seed`. The streams of one seed are independent of each other."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(_STREAMS.index(name),))))


def draw_point(stream: np.random.Generator, box: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    """Draw a point (k,) uniformly from `box`, which holds (lowest, highest) for each of k coordinates.

    This gives the same numbers as `stream.uniform` with arrays of bounds, in less than half of the time.
    """
    return np.array([stream.uniform(low, high) for low, high in box])


class Task(ABC):
    """A task for N slots: draws the start of episodes, and computes observations, rewards and success.

    The environment calls `reset` for slots that begin an episode. It moves the arms and calls `update` once after each
    control step. `reset` and `update` call `measure`, which computes the quantities that the other methods use. A task
    never steps the simulation.

    Attributes:
        simulation: The simulations of the slots.
        controller: Moves the arms.
        num_slots: Number of slots, N.
        instructions: Instruction of the episode in each slot, (N,) of str.
        targets: Object to move in each slot, (N,) of str; "" for a task without objects to move.
    """

    scene: ClassVar[str]
    """Stem of the MJCF under assets/."""
    max_episode_steps: ClassVar[int]
    """Time limit in control steps."""
    state_layout: ClassVar[Layout]
    """Layout of `state`: quantities that a robot can measure."""
    environment_layout: ClassVar[Layout]
    """Layout of `environment_state`: simulator truth."""
    usual_vectors: ClassVar[tuple[str, ...]] = (STATE,)
    """Keys of the vectors that Gymnasium's environments of this task observe."""
    rewards: ClassVar[tuple[str, ...]] = ("sparse", "dense")
    """Rewards that those environments offer."""

    def __init__(self, simulation: Simulation, controller: CartesianController) -> None:
        """Attach the task to the slots of `simulation`."""
        self.simulation = simulation
        self.controller = controller
        self.num_slots = simulation.num_slots
        self.instructions = np.full(self.num_slots, "", dtype=object)
        self.targets = np.full(self.num_slots, "", dtype=object)

    @classmethod
    def layouts(cls) -> dict[str, Layout]:
        """Return the layout of each vector that the task offers, by observation key."""
        return {STATE: cls.state_layout, ENVIRONMENT_STATE: cls.environment_layout}

    def vectors(self) -> Vectors:
        """Return the method that computes each of these vectors."""
        return {STATE: self.state_vector, ENVIRONMENT_STATE: self.environment_vector}

    def reset(self, slots: NDArray[np.intp], seeds: Sequence[int], options: Sequence[Mapping[str, Any]]) -> None:
        """Begin an episode in each of `slots`.

        Args:
            slots: Slots that begin an episode, shape (n,).
            seeds: Episode seed of each slot, the only source of randomness of the episode.
            options: Choices for each slot that replace random draws: "target" and "instruction", if the task has them;
                and its `Perturbation` or None as "perturbation".
        """
        mask = np.zeros(self.num_slots, dtype=bool)
        mask[slots] = True
        self.simulation.reset(mask)
        for slot, seed, choices in zip(slots.tolist(), seeds, options, strict=True):
            self.begin_episode(slot, seed, choices)
            if perturbation := choices.get("perturbation"):
                perturbation.change_start(self, slot)
        self.simulation.forward(mask)
        self.clear_history(mask)
        self.measure()

    def update(self, mask: NDArray[np.bool_]) -> None:
        """Evaluate the control step that the slots in `mask` have just taken."""
        self.measure()
        self.update_history(mask)

    @abstractmethod
    def begin_episode(self, slot: int, seed: int, options: Mapping[str, Any]) -> None:
        """Draw the episode `seed` and write it into `slot`: arm, objects, goal, instruction."""

    @abstractmethod
    def clear_history(self, mask: NDArray[np.bool_]) -> None:
        """Clear what the task has stored about the episodes in the slots of `mask`."""

    @abstractmethod
    def measure(self) -> None:
        """Compute the quantities that the other methods use, for all slots, from the current simulation state alone."""

    @abstractmethod
    def update_history(self, mask: NDArray[np.bool_]) -> None:
        """Store the measured quantities that later steps need, for the slots of `mask`."""

    @abstractmethod
    def success(self) -> NDArray[np.bool_]:
        """Return whether each slot is successful at this step, (N,)."""

    @abstractmethod
    def stage(self) -> NDArray[np.object_]:
        """Return the progress of each episode, in one word, (N,)."""

    @abstractmethod
    def failure(self) -> NDArray[np.object_]:
        """Return the failure class that each episode would have if it ended now without success, (N,)."""

    @abstractmethod
    def progress(self) -> NDArray[np.float64]:
        """Return how near each slot is to success, (N,): 1 at success, elsewhere at least 0 and less than 1.

        The dense reward of a step is the growth of the progress, plus 1 if the step ends in success. It lies in
        [-1, 2]. Success pays most:

        1. The growth telescopes. From the progress p to the progress q, an episode returns q − p plus 1 for each step
           that ends in success. That is less than 1 − p without success, at least 1 − p with success, and 2 − p if the
           episode ends at its success.
        2. A step that changes nothing pays 0, so hovering pays nothing. A path to success on which the progress never
           falls pays at least 0 in each step and at least 1 in the last one. This holds for any discount γ.
        3. With the potential Φ = progress − 1, the growth is γΦ(s′) − Φ(s) + (1 − γ)Φ(s′). The first two terms are
           potential-based shaping, which does not change the order of policies: Φ is 0 at success, and the time limit
           is a truncation, after which learners continue with their value estimate. The third term is never positive.
           It is a cost of at most 1 − γ per step, until success.

        Source: Ng, Harada and Russell, Policy invariance under reward transformations, ICML 1999, theorem 1.
        """

    @classmethod
    def sparse_reward(cls, success: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the reward of steps that end in `success` or not, of the same shape: 1 or 0."""
        return success.astype(np.float64)

    @abstractmethod
    def distances(self) -> dict[str, NDArray[np.float64]]:
        """Return named distances [m], each (N,)."""

    @abstractmethod
    def state_vector(self) -> NDArray[np.float32]:
        """Return the observation `state`, a fresh array (N, D)."""

    @abstractmethod
    def environment_vector(self) -> NDArray[np.float32]:
        """Return the observation `environment_state`, a fresh array (N, E)."""

    def episode_arrays(self) -> list[NDArray[Any]]:
        """Return all arrays, each (N, …), that hold something about the running episodes, for saving and restoring.

        A task that stores more than `measure` computes adds its own arrays.
        """
        return [self.instructions, self.targets]

    def arm_state(self) -> list[NDArray[np.float64]]:
        """Return the parts of `ARM_FEATURES`, each (N, size)."""
        simulation = self.simulation
        return [simulation.qpos[:, :NUM_JOINTS], simulation.qvel[:, :NUM_JOINTS], simulation.ee_position]


def join_features(parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float32]:
    """Join feature arrays (N, size) into one float32 observation vector (N, sum of sizes)."""
    return np.concatenate(parts, axis=1, dtype=np.float32)


def distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Euclidean distances between rows of `a` and `b`, (…, k) each."""
    return row_lengths(a - b)


def row_lengths(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Euclidean length of each row of `rows` (…, k), summed in a fixed order."""
    squares = rows * rows
    total = squares[..., 0]
    for axis in range(1, squares.shape[-1]):
        total = total + squares[..., axis]
    return np.sqrt(total)
