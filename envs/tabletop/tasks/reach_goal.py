"""ReachGoal: Reach as a goal-conditioned task."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.tabletop.tasks.goal_task import GoalTask
from envs.tabletop.tasks.reach import REACHED, Reach
from envs.tabletop.tasks.task import ARM_FEATURES, distance, join_features
from simscaleai.contract import Feature, Layout


class ReachGoal(GoalTask, Reach):
    """Bring the point between the finger pads to a yellow ball, as a goal-conditioned task.

    **Action.** `envs.tabletop.names.ACTION`, as in every task; the gripper has no effect on success.

    **Observation.** `observation` (17): joint positions 7 [rad], joint velocities 7 [rad/s], end effector position 3
    [m]. `achieved_goal` (3): end effector position [m]. `desired_goal` (3): goal [m]. `state` (20) and
    `environment_state` (3) as in Reach.

    **Randomization.** As in Reach: the same seed begins the same episode.

    **Success.** The end effector is within 20 mm of the goal.

    **Reward.** 0 at success, -1 in every other step.

    **Episode end.** At success (`terminate_on_success`), or after 50 control steps.

    **Version history.** v0: first.
    """

    observation_layout = Layout(ARM_FEATURES)
    achieved_layout = Layout((Feature("ee_position", 3, "m", "world"),))
    desired_layout = Layout((Feature("goal_position", 3, "m", "world"),))

    def observation_vector(self) -> NDArray[np.float32]:
        """Return the arm's features."""
        return join_features(self.arm_state())

    def achieved_goal(self) -> NDArray[np.float32]:
        """Return the position of the end effector."""
        return self.simulation.ee_position.astype(np.float32)

    def desired_goal(self) -> NDArray[np.float32]:
        """Return the position of the ball."""
        return self.simulation.marker_position.astype(np.float32)

    @classmethod
    def is_success(cls, achieved: NDArray[np.floating], desired: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return whether the points `achieved` (…, 3) are within 20 mm of `desired` (…, 3), (…)."""
        return distance(achieved.astype(np.float64), desired.astype(np.float64)) < REACHED

    def measure(self) -> None:
        """Measure the distance between the goals as they are observed, so that stage and failure agree with success."""
        achieved, desired = self.achieved_goal(), self.desired_goal()
        self._distance = distance(achieved.astype(np.float64), desired.astype(np.float64))
