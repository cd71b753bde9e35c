"""Reach: bring the end effector to a point in space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.tabletop.controller import CartesianController
from envs.tabletop.simulation import Simulation
from envs.tabletop.tasks.task import ARM_FEATURES, Task, distance, draw_point, episode_stream, join_features
from simscaleai.contract import Feature, Layout
from simscaleai.errors import SimScaleError

REACHED = 0.02
"""The end effector is at the goal within this distance [m]."""
NEAR = 0.06
"""An unsuccessful episode is a near miss if the end effector came within this distance of the goal [m]."""
MIN_START_DISTANCE = 0.1
"""The end effector starts at least this far from the goal [m]."""

_START = ((0.38, 0.54), (-0.15, 0.15), (0.16, 0.30))
_GOAL = ((0.36, 0.60), (-0.22, 0.22), (0.06, 0.34))


class Reach(Task):
    """Bring the point between the finger pads to a yellow ball.

    **Action.** `envs.tabletop.names.ACTION`, as in every task; the gripper has no effect on success.

    **Observation.** `state` (20): joint positions 7 [rad], joint velocities 7 [rad/s], end effector position 3 [m],
    goal 3 [m]. `environment_state` (3): goal [m].

    **Randomization.** End effector start uniform in x 0.38 to 0.54, y ±0.15, z 0.16 to 0.30 m; goal uniform in
    x 0.36 to 0.60, y ±0.22, z 0.06 to 0.34 m, at least 0.1 m from the start.

    **Success.** The end effector is within 20 mm of the goal.

    **Episode end.** At success (`terminate_on_success`), or after 50 control steps.

    **Version history.** v0: first.
    """

    scene = "reach"
    max_episode_steps = 50
    state_layout = Layout((*ARM_FEATURES, Feature("goal_position", 3, "m", "world")))
    environment_layout = Layout((Feature("goal_position", 3, "m", "world"),), privileged=True)

    def __init__(self, simulation: Simulation, controller: CartesianController) -> None:
        """Attach the task to the slots of `simulation`."""
        super().__init__(simulation, controller)
        self._nearest = np.full(self.num_slots, np.inf)
        self._distance = np.full(self.num_slots, np.inf)

    def begin_episode(self, slot: int, seed: int, options: Mapping[str, Any]) -> None:
        """Draw the end effector's start and the goal."""
        if options.get("target") is not None:
            raise SimScaleError("reach has one goal and no targets to choose from; leave out the option 'target'")
        start = draw_point(episode_stream(seed, "arm"), _START)
        goals = episode_stream(seed, "goal")
        goal = draw_point(goals, _GOAL)
        while np.linalg.norm(goal - start) < MIN_START_DISTANCE:  # one draw in eight is rejected
            goal = draw_point(goals, _GOAL)
        self.controller.reset(slot, start)
        self.simulation.marker_position[slot] = goal
        given = options.get("instruction")
        self.instructions[slot] = "reach the yellow ball" if given is None else given

    def clear_history(self, mask: NDArray[np.bool_]) -> None:
        """Clear the shortest distance to the goal."""
        self._nearest[mask] = np.inf

    def measure(self) -> None:
        """Measure the distance between end effector and goal."""
        self._distance = distance(self.simulation.ee_position, self.simulation.marker_position)

    def update_history(self, mask: NDArray[np.bool_]) -> None:
        """Store the shortest distance to the goal."""
        np.minimum(self._nearest, self._distance, out=self._nearest, where=mask)

    def success(self) -> NDArray[np.bool_]:
        """Return whether the end effector is at the goal."""
        return self._distance < REACHED

    def stage(self) -> NDArray[np.object_]:
        """Return the furthest stage so far: "start", "near" or "reached"."""
        words = np.where(self._nearest < NEAR, "near", "start").astype(object)
        words[self._nearest < REACHED] = "reached"
        return words

    def failure(self) -> NDArray[np.object_]:
        """Return "left_goal" after the goal was reached, "near_miss" after it was near, else "never_approached"."""
        words = np.where(self._nearest < NEAR, "near_miss", "never_approached").astype(object)
        words[self._nearest < REACHED] = "left_goal"
        return words

    def progress(self) -> NDArray[np.float64]:
        """Return 1 − distance / 0.5 m, at least 0; 1 at success. Before success, a step changes it by at most 0.1."""
        return np.where(self.success(), 1.0, np.clip(1.0 - 2.0 * self._distance, 0.0, 1.0))

    def episode_arrays(self) -> list[NDArray[Any]]:
        """Return the instructions, the targets and the nearest approach."""
        return [*super().episode_arrays(), self._nearest]

    def distances(self) -> dict[str, NDArray[np.float64]]:
        """Return `distance_ee_goal`."""
        return {"distance_ee_goal": self._distance.copy()}

    def state_vector(self) -> NDArray[np.float32]:
        """Return the arm's features and the goal."""
        return join_features([*self.arm_state(), self.simulation.marker_position])

    def environment_vector(self) -> NDArray[np.float32]:
        """Return the goal."""
        return join_features([self.simulation.marker_position])
