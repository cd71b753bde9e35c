"""The base class of goal-conditioned tasks, for learners that replay episodes with other goals."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from envs.tabletop.names import ACHIEVED_GOAL, DESIRED_GOAL, OBSERVATION
from envs.tabletop.tasks.task import Task, Vectors
from simscaleai.contract import Layout


class GoalTask(Task):
    """A task whose success follows from two points alone: the goal that was achieved, and the one that was desired.

    So a learner can compute what an episode would have been rewarded with if another goal had been desired. The reward
    of a step is 0 if it ends in success, and -1 otherwise.

    Source: Andrychowicz et al., Hindsight Experience Replay, NeurIPS 2017.
    """

    usual_vectors = (OBSERVATION, ACHIEVED_GOAL, DESIRED_GOAL)
    rewards = ("sparse",)
    observation_layout: ClassVar[Layout]
    """Layout of `observation`: what a learner sees beside the goals."""
    achieved_layout: ClassVar[Layout]
    """Layout of `achieved_goal`: a point (3,) [m]."""
    desired_layout: ClassVar[Layout]
    """Layout of `desired_goal`: where that point should be (3,) [m]."""

    @classmethod
    def layouts(cls) -> dict[str, Layout]:
        """Return the layouts of `state`, `environment_state`, `observation`, `achieved_goal` and `desired_goal`."""
        goals = {ACHIEVED_GOAL: cls.achieved_layout, DESIRED_GOAL: cls.desired_layout}
        return {**super().layouts(), OBSERVATION: cls.observation_layout, **goals}

    def vectors(self) -> Vectors:
        """Return the method that computes each vector."""
        goals = {ACHIEVED_GOAL: self.achieved_goal, DESIRED_GOAL: self.desired_goal}
        return {**super().vectors(), OBSERVATION: self.observation_vector, **goals}

    @abstractmethod
    def observation_vector(self) -> NDArray[np.float32]:
        """Return the observation `observation`, a fresh array (N, O)."""

    @abstractmethod
    def achieved_goal(self) -> NDArray[np.float32]:
        """Return the point that counts as achieved [m], a fresh array (N, 3)."""

    @abstractmethod
    def desired_goal(self) -> NDArray[np.float32]:
        """Return where that point should be [m], a fresh array (N, 3)."""

    @classmethod
    @abstractmethod
    def is_success(cls, achieved: NDArray[np.floating], desired: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return whether the points `achieved` (…, 3) [m] are where `desired` (…, 3) [m] wants them, (…)."""

    def success(self) -> NDArray[np.bool_]:
        """Return whether each slot is successful at this step, (N,), from the goals as they are observed."""
        return self.is_success(self.achieved_goal(), self.desired_goal())

    @classmethod
    def sparse_reward(cls, success: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return 0 at success, and -1 otherwise."""
        return super().sparse_reward(success) - 1.0
