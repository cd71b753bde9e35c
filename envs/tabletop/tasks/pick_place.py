"""Pick and place: grasp a cube by friction, lift it, and put it down on a disc."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from envs.tabletop.controller import NUM_JOINTS, CartesianController
from envs.tabletop.simulation import Simulation
from envs.tabletop.tasks.grammar import draw_sentence
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
"""Half of a cube's edge [m]; also the height of its centre at rest on the table."""
GOAL_RADIUS = 0.03
"""A placed cube has its centre within this horizontal distance of the goal [m]."""
REST_TOLERANCE = 0.005
"""A placed cube has its centre within this distance of its resting height [m]."""
REST_SPEED = 0.02
"""A cube slower than this is at rest [m/s]."""
LIFT_HEIGHT = 0.04
"""A cube is lifted once both pads hold it this far above rest [m]. Pushing or tossing a cube does not lift it."""
SEPARATION = 0.10
"""Cubes and goal start at least this far apart, horizontally [m]."""

_STAGES = np.array(["start", "approached", "grasped", "lifted", "placed"], dtype=object)
_STAGE_NUMBERS = np.arange(1, len(_STAGES), dtype=np.int8)[:, None]  # stage that each milestone reaches
_NEAR = 0.05  # an end effector within this distance has approached the cube [m]
_WORK_AREA = ((0.40, 0.60), (-0.18, 0.18))
_START = ((0.40, 0.54), (-0.12, 0.12), (0.16, 0.26))
_MAX_DRAWS = 200


class PickPlace(Task):
    """Pick up the cube and place it on the yellow disc.

    **Action.** `envs.tabletop.names.ACTION`, as in every task. Friction alone holds the cube.

    **Observation.** `state` (18): joint positions 7 [rad], joint velocities 7 [rad/s], end effector position 3 [m],
    gripper opening 1 [m]. `environment_state` (10): cube position 3 [m], orientation 4 (wxyz), goal position 3 [m].

    **Randomization.** Cube and goal uniform in x 0.40 to 0.60, y ±0.18 m, at least 0.1 m apart; cube yaw uniform in
    ±45° (all distinct yaws); end effector start uniform in x 0.40 to 0.54, y ±0.12, z 0.16 to 0.26 m, gripper open.

    **Success.** At one step: cube centre within 30 mm (xy) of the goal and 5 mm of its resting height, slower than
    0.02 m/s, touched by no finger pad, after both pads held it at least 40 mm above rest earlier in the episode.

    **Episode end.** At success (`terminate_on_success`), or after 150 control steps.

    **Version history.** v0: first.
    """

    scene = "pick_place"
    max_episode_steps = 150
    colours: ClassVar[tuple[str, ...]] = ("red",)
    state_layout = Layout((*ARM_FEATURES, Feature("gripper_opening", 1, "m", "gripper")))
    environment_layout = Layout(
        (
            Feature("cube_position", 3, "m", "world"),
            Feature("cube_orientation", 4, "wxyz", "world"),
            Feature("goal_position", 3, "m", "world"),
        ),
        privileged=True,
    )

    def __init__(self, simulation: Simulation, controller: CartesianController) -> None:
        """Attach the task to the slots of `simulation`."""
        super().__init__(simulation, controller)
        self._poses, self._velocities = simulation.free_bodies([f"cube_{colour}" for colour in self.colours])
        self._pads = np.array(
            [[simulation.sensor_column(f"{side}_pad_cube_{c}") for side in ("left", "right")] for c in self.colours]
        )
        self._slots = np.arange(self.num_slots)
        self._target_index = np.zeros(self.num_slots, dtype=np.intp)
        self._any_lifted = np.zeros((self.num_slots, len(self.colours)), dtype=bool)
        self._milestones = np.zeros((len(_STAGES) - 1, self.num_slots), dtype=bool)
        self._approached, self._grasped, self._lifted, self._placed = self._milestones
        self._dropped = np.zeros(self.num_slots, dtype=bool)
        self.measure()

    # Episodes

    def begin_episode(self, slot: int, seed: int, options: Mapping[str, Any]) -> None:
        """Draw arm start, cubes, goal, target and instruction."""
        cubes, goal = _draw_places(seed, len(self.colours))
        order = _draw_order(seed, len(self.colours))
        yaws = episode_stream(seed, "yaws").uniform(-np.pi / 4, np.pi / 4, len(self.colours))
        for cube, (place, yaw) in enumerate(zip(cubes[order], yaws, strict=True)):
            self._poses[slot, cube] = [*place, CUBE_HALF, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
        self.simulation.marker_position[slot] = [*goal, 0.0]
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
        """Return an instruction to move the cube `target`. The wording may depend on `seed`."""
        return f"pick up the {target} cube and place it on the goal"

    @classmethod
    def phrase_by_grammar(cls, target: str, seed: int) -> str:
        """Return an instruction to move the cube `target` that the grammar forms, drawn from the seed."""
        return draw_sentence(episode_stream(seed, "grammar")).format(colour=target)

    def clear_history(self, mask: NDArray[np.bool_]) -> None:
        """Clear milestones, drops and lifts."""
        self._any_lifted[mask] = False
        self._milestones[:, mask] = False
        self._dropped[mask] = False

    def measure(self) -> None:
        """Measure poses, distances and pad contacts, and whether the target lies released on the disc."""
        simulation, target = self.simulation, (self._slots, self._target_index)
        self._target_pose = self._poses[target]
        position = self._target_pose[:, :3]
        self._ee_distance = distance(simulation.ee_position, position)
        self._goal_distance = distance(position[:, :2], simulation.marker_position[:, :2])
        contacts = simulation.sensordata[:, self._pads] > 0  # left pad and right pad, (N, number of cubes, 2)
        self._between_pads = contacts[:, :, 0] & contacts[:, :, 1]
        self._in_hand = self._between_pads[target]
        on_goal = self._goal_distance < GOAL_RADIUS
        at_rest = np.abs(position[:, 2] - CUBE_HALF) < REST_TOLERANCE
        at_rest &= row_lengths(self._velocities[target][:, :3]) < REST_SPEED
        self._rests_on_goal = on_goal & at_rest & ~contacts[target].any(axis=1)

    def update_history(self, mask: NDArray[np.bool_]) -> None:
        """Store which milestones the target has reached, whether it was dropped, and which cubes were lifted."""
        heights = self._poses[:, :, 2] - CUBE_HALF
        self._any_lifted |= mask[:, None] & self._between_pads & (heights >= LIFT_HEIGHT)
        self._approached |= mask & (self._ee_distance < _NEAR)
        self._grasped |= mask & self._in_hand
        self._lifted[:] = self._any_lifted[self._slots, self._target_index]
        fell = self._lifted & (self._target_pose[:, 2] - CUBE_HALF > CUBE_HALF)
        self._dropped = np.where(mask, (self._dropped | fell) & ~self._in_hand, self._dropped)
        self._placed |= mask & self.success()

    # Results of the last measurement

    def success(self) -> NDArray[np.bool_]:
        """Return whether the target lies at rest on the disc, released, after it was lifted."""
        return self._rests_on_goal & self._lifted

    def stage(self) -> NDArray[np.object_]:
        """Return the furthest of "start", "approached", "grasped", "lifted", "placed"."""
        reached: NDArray[np.int8] = (self._milestones * _STAGE_NUMBERS).max(axis=0)
        return _STAGES[reached]

    def failure(self) -> NDArray[np.object_]:
        """Return the failure class that each episode would have if it ended now, (N,).

        "never_approached", "missed_grasp" (approached, never lifted), "pushed" (on the goal, never lifted),
        "wrong_object" (another cube was lifted, not the target), "near_miss" (time ran out with the cube in hand),
        "dropped" (fell from the gripper), "misplaced" (put down elsewhere), "placed_then_knocked" (a success before).
        """
        conditions = {
            "placed_then_knocked": self._placed,
            "near_miss": self._lifted & self._in_hand,
            "dropped": self._lifted & self._dropped,
            "misplaced": self._lifted,
            "wrong_object": self._any_lifted.any(axis=1),
            "pushed": self._goal_distance < GOAL_RADIUS,
            "missed_grasp": self._approached,
        }
        return np.select(list(conditions.values()), list(conditions), "never_approached").astype(object)

    def progress(self) -> NDArray[np.float64]:
        """Return up to 0.2 for nearness to the cube; once lifted, 0.3, and up to 0.3 for its nearness to the goal.

        At success, return 1.
        """
        near = np.clip(1.0 - 4.0 * self._ee_distance, 0.0, 1.0)
        carried = self._lifted * (0.3 + 0.3 * np.clip(1.0 - 4.0 * self._goal_distance, 0.0, 1.0))
        return np.where(self.success(), 1.0, 0.2 * near + carried)

    def episode_arrays(self) -> list[NDArray[Any]]:
        """Return the instructions, the targets, and what happened to the cubes."""
        history = [self._target_index, self._any_lifted, self._milestones.T, self._dropped]
        return [*super().episode_arrays(), *history]

    def distances(self) -> dict[str, NDArray[np.float64]]:
        """Return `distance_ee_cube` and `distance_cube_goal` (horizontal)."""
        return {"distance_ee_cube": self._ee_distance.copy(), "distance_cube_goal": self._goal_distance.copy()}

    def state_vector(self) -> NDArray[np.float32]:
        """Return the arm's features and the gripper's opening."""
        fingers = self.simulation.qpos[:, NUM_JOINTS : NUM_JOINTS + 2]
        return join_features([*self.arm_state(), fingers[:, :1] + fingers[:, 1:]])

    def environment_vector(self) -> NDArray[np.float32]:
        """Return the parts of `environment_layout`, joined."""
        return join_features(self.environment_parts())

    def environment_parts(self) -> list[NDArray[np.float64]]:
        """Return the parts of `environment_layout`, each (N, size)."""
        return [self._target_pose, self.simulation.marker_position]


def _draw_order(seed: int, num_cubes: int) -> NDArray[np.intp]:
    """Draw the place of each cube, as indices (num_cubes,). With one cube, nothing is drawn."""
    return episode_stream(seed, "colours").permutation(num_cubes) if num_cubes > 1 else np.zeros(1, dtype=np.intp)


def _draw_places(seed: int, num_cubes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw horizontal places (num_cubes, 2) and a goal (2,), all at least `SEPARATION` apart, by rejection."""
    cube_stream, goal_stream = episode_stream(seed, "places"), episode_stream(seed, "goal")
    while True:  # if the first places leave no room for the others, all are drawn again
        places: list[NDArray[np.float64]] = []
        for _ in range(_MAX_DRAWS):
            stream = cube_stream if len(places) < num_cubes else goal_stream
            place = draw_point(stream, _WORK_AREA)
            if all(np.linalg.norm(place - other) >= SEPARATION for other in places):
                places.append(place)
            if len(places) == num_cubes + 1:
                return np.array(places[:-1]), places[-1]
