"""Scripted experts: they read observations only, keep no memory, and never look inside an environment.

An expert's action is a function of the current observation (no phases, no clocks), so that a policy which sees the
same can imitate it, and moves less the nearer it is to contact.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.interface import METRES_PER_STEP, Contract, Layout, ObservationArrays, SimScaleError

_GAIN = 0.7  # share of the way covered per control step, up to full speed
_CARRY_HEIGHT = 0.11  # end effector above a cube that is approached or carried [m]
CUBE_HALF = 0.02  # half of a cube's edge, the height of its centre at rest [m]
_GRASP_HEIGHT = 0.019  # end effector at the middle of a cube on the table [m]
_RELEASE_HEIGHT = 0.0215  # a little above, so that the carried cube touches down without being pressed
_ALIGNED = 0.006  # horizontal error below which the end effector may go all the way down [m]
_FUNNEL = 3.0  # metres of height gained per metre of horizontal error beyond _ALIGNED
_CLOSED_ON_CUBE = 0.060  # the opening is at most this when the pads hold a cube, even across its diagonal [m]
_DELIVERED = 0.012  # a cube on the table this near the goal is let go [m]
_OVER_GOAL = 0.03  # nearer to the goal than this, a carried cube may be low [m]
_LIFT_STEP = 0.010  # rise aimed at while the cube is on the table: the fingers may still be closing [m]
_OPEN, _CLOSE = 1.0, -1.0


class Expert:
    """Shared by the experts: a stateless policy that reads vectors."""

    def __init__(self, environment: Contract) -> None:
        """Attach the expert to an environment that offers `environment_state`."""
        if environment.environment_state is None:
            raise SimScaleError("a scripted expert reads environment_state, which this environment does not offer")
        self.contract = environment
        self._state: Layout = environment.state
        self._truth: Layout = environment.environment_state

    def reset(self, env_ids: NDArray[np.intp], seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Do nothing: there is no memory."""

    def needs_observation(self, env_ids: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return False for all: images are never looked at."""
        return np.zeros(len(env_ids), dtype=bool)


class ReachExpert(Expert):
    """Goes straight to the goal."""

    def act(self, observation: ObservationArrays, env_ids: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the action of each slot, (n, 4)."""
        ee = self._state.get(observation["state"], "ee_position")
        goal = self._truth.get(observation["environment_state"], "goal_position")
        return _move(goal - ee, np.full(len(env_ids), _OPEN))


class PickPlaceExpert(Expert):
    """Grasps the cube to move from above, carries it over the goal, puts it down, opens, and rises.

    The height is a funnel: low only where the end effector is nearly above what it should be above. Which of the moves
    is due follows from the cube's position, the end effector's, and the gripper's opening alone.
    """

    def act(self, observation: ObservationArrays, env_ids: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the action of each slot, (n, 4)."""
        ee = self._state.get(observation["state"], "ee_position").astype(np.float64)
        opening = self._state.get(observation["state"], "gripper_opening")[:, 0]
        cube = self._truth.get(observation["environment_state"], "cube_position").astype(np.float64)
        goal = self._truth.get(observation["environment_state"], "goal_position").astype(np.float64)
        around = (np.abs(ee - cube) < (0.012, 0.02, 0.015)).all(axis=1)
        gripped = around & (opening < _CLOSED_ON_CUBE)
        on_table = cube[:, 2] < CUBE_HALF + 0.006
        delivered = on_table & (_horizontal(cube - goal) < _DELIVERED)
        carrying = gripped & ~delivered
        place = np.where(carrying[:, None], goal, cube)
        away = _horizontal(place - ee)
        height = _funnel(away, np.where(carrying, _RELEASE_HEIGHT, _GRASP_HEIGHT))
        # Up before sideways: a cube carried low would sweep its neighbours away, or turn in the hand.
        low = carrying & (away > _OVER_GOAL)
        sideways = np.where(low, np.clip((ee[:, 2] - 0.045) / 0.025, 0.0, 1.0), 1.0)
        height = np.where(low & on_table, ee[:, 2] + _LIFT_STEP, height)
        height = np.where(delivered & (opening > _CLOSED_ON_CUBE), _CARRY_HEIGHT, height)
        motion = np.column_stack([sideways[:, None] * (place - ee)[:, :2], height - ee[:, 2]])
        ready = around & ~gripped & ~delivered & (np.abs(motion[:, 2]) < 0.004)
        motion[ready] = 0.0
        return _move(motion, np.where(carrying | ready, _CLOSE, _OPEN))


class Pusher(PickPlaceExpert):
    """A control, not an expert: shoves the target to the goal with a closed gripper, and must not count as success."""

    def act(self, observation: ObservationArrays, env_ids: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the action of each slot, (n, 4)."""
        ee = self._state.get(observation["state"], "ee_position").astype(np.float64)
        cube = self._truth.get(observation["environment_state"], "cube_position").astype(np.float64)
        goal = self._truth.get(observation["environment_state"], "goal_position").astype(np.float64)
        heading = (goal - cube)[:, :2] / np.maximum(_horizontal(goal - cube), 1e-6)[:, None]
        behind = cube[:, :2] - 0.05 * heading
        away = _horizontal(behind - ee[:, :2])
        pushing = (away < 0.03) & (ee[:, 2] < 0.06)
        place = np.where(pushing[:, None], goal[:, :2], behind)
        motion = np.column_stack([place - ee[:, :2], _funnel(away, np.full(len(away), _GRASP_HEIGHT)) - ee[:, 2]])
        motion[pushing, 2] = _GRASP_HEIGHT - ee[pushing, 2]
        arrived = _horizontal(cube - goal) < 0.01
        motion[arrived] = (0.0, 0.0, 0.05)
        return _move(motion, np.full(len(env_ids), _CLOSE))


EXPERTS: dict[str, type[ReachExpert] | type[PickPlaceExpert]] = {
    "SimScale/Reach-v0": ReachExpert,
    "SimScale/PickPlace-v0": PickPlaceExpert,
    "SimScale/PickPlaceLanguage-v0": PickPlaceExpert,
}
"""Environment id to its expert."""

PUSHERS: dict[str, type[Pusher]] = {"SimScale/PickPlace-v0": Pusher, "SimScale/PickPlaceLanguage-v0": Pusher}
"""Environment id to the control that only pushes."""


def _horizontal(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hypot(vectors[:, 0], vectors[:, 1])


def _funnel(away: NDArray[np.float64], lowest: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the height allowed at the horizontal distance `away` from the place below."""
    return np.minimum(lowest + _FUNNEL * np.maximum(away - _ALIGNED, 0.0), _CARRY_HEIGHT)


def _move(motion: NDArray[np.float64], gripper: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return actions that cover `_GAIN` of `motion` (n, 3) [m], scaled down together where one axis is too fast."""
    steps = _GAIN * motion / METRES_PER_STEP
    fastest = np.maximum(np.abs(steps).max(axis=1, keepdims=True), 1.0)
    return np.column_stack([steps / fastest, gripper]).astype(np.float32)
