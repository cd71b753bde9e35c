"""The base class of tasks that move one of the cubes on the table: starts, milestones, and what all of them measure."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from envs.tabletop.controller import NUM_JOINTS, CartesianController
from envs.tabletop.simulation import Simulation
from envs.tabletop.tasks.task import (
    ARM_FEATURES,
    Task,
    distance,
    draw_point,
    episode_stream,
    join_features,
    row_lengths,
)
from simscaleai.contract import Feature, Layout
from simscaleai.errors import UnknownNameError

CUBE_HALF = 0.02
"""Half of a cube's edge [m], unless it is perturbed; also the height of its centre at rest on the table."""
REST_TOLERANCE = 0.005
"""A cube at rest has its centre within this distance of its resting height [m]."""
REST_SPEED = 0.02
"""A cube slower than this is at rest [m/s]."""
LIFT_HEIGHT = 0.04
"""A cube is lifted once both pads hold it this far above rest [m]. Pushing or tossing a cube does not lift it."""
SEPARATION = 0.10
"""Cubes and goal start at least this far apart, horizontally [m]."""

WORK_AREA = ((0.40, 0.60), (-0.18, 0.18))
"""Lowest and highest x and y of the places of cubes and goal [m]."""

_STAGES = np.array(["start", "approached", "grasped", "lifted", "placed"], dtype=object)
_STAGE_NUMBERS = np.arange(1, len(_STAGES), dtype=np.int8)[:, None]  # stage that each milestone reaches
_NEAR = 0.05  # an end effector within this distance has approached the cube [m]
_START = ((0.40, 0.54), (-0.12, 0.12), (0.16, 0.26))
_MAX_DRAWS = 200


class CubeTask(Task):
    """A task in which the arm moves one cube, the target.

    The scene has a free body "cube_<colour>" for each of `colours`, one after another, and for each cube the contact
    sensors "left_pad_cube_<colour>" and "right_pad_cube_<colour>".
    """

    colours: ClassVar[tuple[str, ...]]
    """Colours of the cubes; the target is one of them."""
    templates: ClassVar[tuple[str, ...]]
    """Wordings of the instruction, with placeholders for `words`. The seed of an episode selects one of them."""
    held_out_templates: ClassVar[tuple[str, ...]] = ()
    """Wordings that no policy is trained on. An episode uses one of them only if the caller asks for it."""
    state_layout = Layout((*ARM_FEATURES, Feature("gripper_opening", 1, "m", "gripper")))

    def __init__(self, simulation: Simulation, controller: CartesianController) -> None:
        """Attach the task to the slots of `simulation`."""
        super().__init__(simulation, controller)
        self._poses, self._velocities = simulation.free_bodies([f"cube_{colour}" for colour in self.colours])
        self._pads = np.array(
            [[simulation.sensor_column(f"{side}_pad_cube_{c}") for side in ("left", "right")] for c in self.colours]
        )
        self._geom = int(simulation.model.geom(f"cube_{self.colours[0]}").id)
        self.cube_half = np.full(self.num_slots, CUBE_HALF)
        """Half of the edge of all cubes of each slot, (N,) [m]."""
        self._slots = np.arange(self.num_slots)
        self._target_index = np.zeros(self.num_slots, dtype=np.intp)
        self._any_lifted = np.zeros((self.num_slots, len(self.colours)), dtype=bool)
        self._milestones = np.zeros((len(_STAGES) - 1, self.num_slots), dtype=bool)
        self._approached, self._grasped, self._lifted, self._placed = self._milestones
        self._dropped = np.zeros(self.num_slots, dtype=bool)

    # Episodes

    def begin_with_cubes(
        self, slot: int, seed: int, options: Mapping[str, Any], places: Sequence[NDArray[np.float64]]
    ) -> None:
        """Put a cube on each of `places`, each (2,) [m], in random order; draw arm start, target and instruction."""
        half = self.cube_half[slot] = self.simulation.values("geom_size", slot)[self._geom, 0]
        order = _draw_order(seed, len(self.colours))
        yaws = episode_stream(seed, "yaws").uniform(-np.pi / 4, np.pi / 4, len(self.colours))
        for cube, (place, yaw) in enumerate(zip(order, yaws, strict=True)):
            self._poses[slot, cube] = [*places[place], half, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
        self.controller.reset(slot, draw_point(episode_stream(seed, "arm"), _START))
        self.targets[slot] = self.choose_target(seed, options.get("target"))
        self._target_index[slot] = self.colours.index(self.targets[slot])
        given = options.get("instruction")
        self.instructions[slot] = self.phrase(self.targets[slot], seed) if given is None else given

    @classmethod
    def choose_target(cls, seed: int, wanted: str | None = None) -> str:
        """Return the colour of the cube to move: `wanted`, or one drawn from `seed`.

        Raises:
            UnknownNameError: If there is no cube of the colour `wanted`.
        """
        if wanted is None:
            if len(cls.colours) == 1:
                return cls.colours[0]
            return cls.colours[int(episode_stream(seed, "target").integers(len(cls.colours)))]
        if wanted not in cls.colours:
            raise UnknownNameError("target", wanted, cls.colours)
        return wanted

    @classmethod
    def phrase(cls, target: str, seed: int) -> str:
        """Return an instruction to move the cube `target`: one of `templates`, drawn from the seed."""
        return cls._fill(cls.templates, target, seed)

    @classmethod
    def phrase_held_out(cls, target: str, seed: int) -> str:
        """Return an instruction to move the cube `target`: one of `held_out_templates`, drawn from the seed."""
        return cls._fill(cls.held_out_templates, target, seed)

    @classmethod
    def words(cls, target: str, seed: int) -> dict[str, str]:
        """Return what the placeholders of a template stand for: "colour" is that of the cube to move."""
        return {"colour": target}

    @classmethod
    def _fill(cls, templates: Sequence[str], target: str, seed: int) -> str:
        only_one = len(templates) == 1  # then there is nothing to draw, and no time spent on a stream
        drawn = 0 if only_one else int(episode_stream(seed, "phrasing").integers(len(templates)))
        return templates[drawn].format(**cls.words(target, seed))

    def clear_history(self, mask: NDArray[np.bool_]) -> None:
        """Clear milestones, drops and lifts."""
        self._any_lifted[mask] = False
        self._milestones[:, mask] = False
        self._dropped[mask] = False

    def measure(self) -> None:
        """Measure the target's pose, speed and distance to the end effector, and which pads touch which cube."""
        target = (self._slots, self._target_index)
        self._target_pose = self._poses[target]
        self._ee_distance = distance(self.simulation.ee_position, self._target_pose[:, :3])
        contacts = self.simulation.sensordata[:, self._pads] > 0  # left pad and right pad, (N, number of cubes, 2)
        self._between_pads = contacts[:, :, 0] & contacts[:, :, 1]
        self._in_hand = self._between_pads[target]
        self._touched = contacts[target].any(axis=1)
        self._target_velocity = self._velocities[target][:, :3]
        self._is_slow = row_lengths(self._target_velocity) < REST_SPEED

    def update_history(self, mask: NDArray[np.bool_]) -> None:
        """Store which milestones the target has reached, whether it was dropped, and which cubes were lifted."""
        heights = self._poses[:, :, 2] - self.cube_half[:, None]
        self._any_lifted |= mask[:, None] & self._between_pads & (heights >= LIFT_HEIGHT)
        self._approached |= mask & (self._ee_distance < _NEAR)
        self._grasped |= mask & self._in_hand
        self._lifted[:] = self._any_lifted[self._slots, self._target_index]
        fell = self._lifted & self.is_unsupported()
        self._dropped = np.where(mask, (self._dropped | fell) & ~self._in_hand, self._dropped)
        self._placed |= mask & self.is_placed()

    # Results of the last measurement

    @abstractmethod
    def is_placed(self) -> NDArray[np.bool_]:
        """Return whether the target lies where the task wants it, at rest and released, (N,)."""

    def is_unsupported(self) -> NDArray[np.bool_]:
        """Return whether the target is so high that it falls unless the gripper holds it, (N,)."""
        return np.asarray(self._target_pose[:, 2] - self.cube_half > self.cube_half)

    def stage(self) -> NDArray[np.object_]:
        """Return the furthest of "start", "approached", "grasped", "lifted", "placed"."""
        reached: NDArray[np.int8] = (self._milestones * _STAGE_NUMBERS).max(axis=0)
        return _STAGES[reached]

    def delivery(self, goal_distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the progress before the target is placed, (N,), from its distance to the goal [m].

        Up to 0.2 for the end effector's nearness to the target; once it was lifted, 0.3, and up to 0.3 for its nearness
        to the goal.
        """
        near = np.clip(1.0 - 4.0 * self._ee_distance, 0.0, 1.0)
        carried = self._lifted * (0.3 + 0.3 * np.clip(1.0 - 4.0 * goal_distance, 0.0, 1.0))
        return 0.2 * near + carried

    def episode_arrays(self) -> list[NDArray[Any]]:
        """Return the instructions, the targets, and what happened to the cubes."""
        history = [self.cube_half, self._target_index, self._any_lifted, self._milestones.T, self._dropped]
        return [*super().episode_arrays(), *history]

    def state_vector(self) -> NDArray[np.float32]:
        """Return the arm's features and the gripper's opening."""
        fingers = self.simulation.qpos[:, NUM_JOINTS : NUM_JOINTS + 2]
        return join_features([*self.arm_state(), fingers[:, :1] + fingers[:, 1:]])

    def environment_vector(self) -> NDArray[np.float32]:
        """Return the parts of `environment_layout`, joined."""
        return join_features(self.environment_parts())

    @abstractmethod
    def environment_parts(self) -> list[NDArray[np.float64]]:
        """Return the parts of `environment_layout`, each (N, size)."""


def draw_places(streams: Sequence[np.random.Generator]) -> list[NDArray[np.float64]]:
    """Draw one place (2,) [m] from each of `streams`, all at least `SEPARATION` apart, by rejection.

    The same stream may occur several times.
    """
    while True:  # if the first places leave no room for the others, all are drawn again
        places: list[NDArray[np.float64]] = []
        for _ in range(_MAX_DRAWS):
            place = draw_point(streams[len(places)], WORK_AREA)
            if all(np.linalg.norm(place - other) >= SEPARATION for other in places):
                places.append(place)
            if len(places) == len(streams):
                return places


def _draw_order(seed: int, num_cubes: int) -> NDArray[np.intp]:
    """Draw the place of each cube, as indices (num_cubes,). With one cube, nothing is drawn."""
    return episode_stream(seed, "colours").permutation(num_cubes) if num_cubes > 1 else np.zeros(1, dtype=np.intp)
