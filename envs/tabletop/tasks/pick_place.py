"""Pick and place: grasp a cube by friction, lift it, and put it down on a disc."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from envs.tabletop.controller import CartesianController
from envs.tabletop.simulation import Simulation
from envs.tabletop.tasks.cubes import REST_TOLERANCE, CubeTask, draw_places
from envs.tabletop.tasks.grammar import draw_sentence
from envs.tabletop.tasks.task import distance, episode_stream
from simscaleai.contract import Feature, Layout

GOAL_RADIUS = 0.03
"""A placed cube has its centre within this horizontal distance of the goal [m]."""


class PickPlace(CubeTask):
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
    templates: ClassVar[tuple[str, ...]] = ("pick up the {colour} cube and place it on the goal",)
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
        self.measure()

    # Episodes

    def begin_episode(self, slot: int, seed: int, options: Mapping[str, Any]) -> None:
        """Draw arm start, cubes, goal, target and instruction."""
        cubes, goal = episode_stream(seed, "places"), episode_stream(seed, "goal")
        *places, goal_place = draw_places([*[cubes] * len(self.colours), goal])
        self.begin_with_cubes(slot, seed, options, places)
        self.simulation.marker_position[slot] = [*goal_place, 0.0]

    @classmethod
    def phrase_by_grammar(cls, target: str, seed: int) -> str:
        """Return an instruction to move the cube `target` that the grammar forms, drawn from the seed."""
        return draw_sentence(episode_stream(seed, "grammar")).format(colour=target)

    def measure(self) -> None:
        """Measure poses, distances and pad contacts, and whether the target lies released on the disc."""
        super().measure()
        position = self._target_pose[:, :3]
        self._goal_distance = distance(position[:, :2], self.simulation.marker_position[:, :2])
        on_goal = self._goal_distance < GOAL_RADIUS
        at_rest = (np.abs(position[:, 2] - self.cube_half) < REST_TOLERANCE) & self._is_slow
        self._rests_on_goal = on_goal & at_rest & ~self._touched

    # Results of the last measurement

    def success(self) -> NDArray[np.bool_]:
        """Return whether the target lies at rest on the disc, released, after it was lifted."""
        return np.asarray(self._rests_on_goal & self._lifted)

    def is_placed(self) -> NDArray[np.bool_]:
        """Return whether each slot is successful at this step, (N,)."""
        return self.success()

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
        return np.where(self.success(), 1.0, self.delivery(self._goal_distance))

    def distances(self) -> dict[str, NDArray[np.float64]]:
        """Return `distance_ee_cube` and `distance_cube_goal` (horizontal)."""
        return {"distance_ee_cube": self._ee_distance.copy(), "distance_cube_goal": self._goal_distance.copy()}

    def environment_parts(self) -> list[NDArray[np.float64]]:
        """Return the parts of `environment_layout`, each (N, size)."""
        return [self._target_pose, self.simulation.marker_position]
