"""PickPlaceGoal: PickPlace as a goal-conditioned task."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.tabletop.tasks.cubes import REST_TOLERANCE, CubeTask
from envs.tabletop.tasks.goal_task import GoalTask
from envs.tabletop.tasks.pick_place import GOAL_RADIUS, PickPlace
from envs.tabletop.tasks.task import join_features, row_lengths
from simscaleai.contract import Feature, Layout

_POSITION = Feature("cube_position", 3, "m", "world")
_TRUTH = (Feature("cube_orientation", 4, "wxyz", "world"), Feature("cube_velocity", 3, "m/s", "world"))


class PickPlaceGoal(GoalTask, PickPlace):
    """Bring the cube to the yellow disc, as a goal-conditioned task.

    **Action.** `envs.tabletop.names.ACTION`, as in every task. Friction alone holds the cube.

    **Observation.** `observation` (28): joint positions 7 [rad], joint velocities 7 [rad/s], end effector position 3
    [m], gripper opening 1 [m], cube position 3 [m], orientation 4 (wxyz), velocity 3 [m/s]. `achieved_goal` (3): cube
    position [m]. `desired_goal` (3): the centre of a cube that rests on the middle of the disc [m]. `state` (18) and
    `environment_state` (10) as in PickPlace.

    **Randomization.** As in PickPlace: the same seed begins the same episode.

    **Success.** At one step: cube centre within 30 mm (xy) of the desired goal and 5 mm of its height. Two points say
    neither whether the cube was lifted nor whether it is released, so a cube that was pushed to the disc, or that the
    gripper still holds there, counts. In PickPlace, neither counts.

    **Reward.** 0 at success, -1 in every other step.

    **Episode end.** At success (`terminate_on_success`), or after 150 control steps.

    **Version history.** v0: first.
    """

    observation_layout = Layout((*CubeTask.state_layout.features, _POSITION, *_TRUTH), privileged=True)
    achieved_layout = Layout((_POSITION,), privileged=True)
    desired_layout = Layout((Feature("goal_position", 3, "m", "world"),), privileged=True)

    def observation_vector(self) -> NDArray[np.float32]:
        """Return `state`, and the cube's position, orientation and velocity."""
        return np.concatenate([self.state_vector(), join_features([self._target_pose, self._target_velocity])], axis=1)

    def achieved_goal(self) -> NDArray[np.float32]:
        """Return the position of the cube."""
        return self._target_pose[:, :3].astype(np.float32)

    def desired_goal(self) -> NDArray[np.float32]:
        """Return the centre of a cube that rests on the middle of the disc."""
        return join_features([self.simulation.marker_position[:, :2], self.cube_half[:, None]])

    @classmethod
    def is_success(cls, achieved: NDArray[np.floating], desired: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return whether the points `achieved` (…, 3) are within 30 mm (xy) and 5 mm (z) of `desired` (…, 3), (…)."""
        difference = achieved.astype(np.float64) - desired.astype(np.float64)
        near = row_lengths(difference[..., :2]) < GOAL_RADIUS
        return np.asarray(near & (np.abs(difference[..., 2]) < REST_TOLERANCE))
