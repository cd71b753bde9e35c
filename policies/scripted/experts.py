"""Scripted experts for the tabletop tasks, without images and without memory.

An expert's action is a function of the current observation: an expert has no phases and no clock. So a policy with the
same observation can imitate it. An expert slows down as it approaches contact.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from envs.tabletop.names import METRES_PER_STEP
from policies.base import Chunks, EnvSpec, Observation, Policy, Slots
from simscaleai.errors import SimScaleError

Actions = NDArray[np.float32]
"""One action for each slot, shape (n, 4)."""

_GAIN = 0.7  # share of the remaining way to cover in one control step, up to full speed
_CARRY_HEIGHT = 0.11  # height of the end effector on the way to a cube, or with a cube [m]
CUBE_HALF = 0.02  # half of a cube's edge, also the height of its centre at rest [m]
_GRASP_HEIGHT = 0.019  # height of the end effector at the middle of a cube on the table [m]
_RELEASE_HEIGHT = 0.0215  # slightly higher, so that the carried cube touches down without being pressed [m]
_ALIGNED = 0.006  # horizontal error below which the end effector may go all the way down [m]
_FUNNEL = 3.0  # metres of height gained per metre of horizontal error beyond _ALIGNED
_CLOSED_ON_CUBE = 0.060  # the opening is at most this when the pads hold a cube, even across its diagonal [m]
_DELIVERED = 0.012  # distance to the goal within which a cube on the table is released [m]
_OVER_GOAL = 0.03  # horizontal distance to the goal within which a carried cube may be low [m]
_LIFT_STEP = 0.010  # commanded rise while a gripped cube is on the table; small, since the fingers may still close [m]
# A cube whose centre is off CUBE_HALF by this much lies on the table and has another size [m].
_OTHER_SIZE, _MOST_OTHER_SIZE = 0.0009, 0.0055
_HELD_IN_AIR = 0.077  # a cube of unknown size in the air is held if the opening is less; open fingers are 0.08 m apart
_OPEN, _CLOSE = 1.0, -1.0


class Expert(Policy):
    """Base class of the experts: no memory, no images, one action per prediction."""

    def __init__(self, spec: EnvSpec) -> None:
        """Prepare for an environment that offers `state` and `environment_state`."""
        if "environment_state" not in spec.vectors:
            raise SimScaleError(f"a scripted expert reads environment_state, which {spec.env_id} does not offer")
        self.needs = spec.needs("state", "environment_state")
        self._state, self._truth = spec.vectors["state"], spec.vectors["environment_state"]

    def predict(self, observation: Observation, slots: Slots) -> Chunks:
        """Return the next action of each slot, shape (n, 1, 4)."""
        return self.act(observation)[:, None]

    @abstractmethod
    def act(self, observation: Observation) -> Actions:
        """Return the next action for each row of `observation`."""


class ReachExpert(Expert):
    """Moves straight to the goal."""

    def act(self, observation: Observation) -> Actions:
        """Return the next action for each row of `observation`."""
        ee = self._state.get(observation["state"], "ee_position")
        goal = self._truth.get(observation["environment_state"], "goal_position")
        return _move(goal - ee, np.full(len(ee), _OPEN))


class PickPlaceExpert(Expert):
    """Grasps the cube to move from above, carries it over the goal, puts it down, opens, and rises.

    The lowest allowed height has the shape of a funnel: the end effector is low only if it is nearly above the cube or
    the goal. The action depends only on the positions of cube, goal and end effector, and on the gripper opening.
    """

    def _position(self, observation: Observation, name: str) -> NDArray[np.float64]:
        return self._truth.get(observation["environment_state"], f"{name}_position").astype(np.float64)

    def _goal(self, observation: Observation) -> NDArray[np.float64]:
        """Return the point under the middle of the cube once it is placed, (n, 3) [m]."""
        return self._position(observation, "goal")

    def _grasp_height(self, cube: NDArray[np.float64], opening: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the height of the end effector at which it grasps the `cube`, (n,) [m]."""
        return np.where(opening > _CLOSED_ON_CUBE, _half_of(cube) - CUBE_HALF, 0.0) + _GRASP_HEIGHT

    def _closed(self, cube: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the opening below which the pads hold the `cube`, (n,) [m]."""
        larger = _CLOSED_ON_CUBE * np.maximum(_half_of(cube) / CUBE_HALF, 1.0)
        return np.where(cube[:, 2] > CUBE_HALF + _MOST_OTHER_SIZE, _HELD_IN_AIR, larger)

    def act(self, observation: Observation) -> Actions:
        """Return the next action for each row of `observation`."""
        ee = self._state.get(observation["state"], "ee_position").astype(np.float64)
        opening = self._state.get(observation["state"], "gripper_opening")[:, 0]
        cube, goal = self._position(observation, "cube"), self._goal(observation)
        around = (np.abs(ee - cube) < (0.012, 0.02, 0.015)).all(axis=1)
        gripped = around & (opening < self._closed(cube))
        on_table = cube[:, 2] < CUBE_HALF + 0.006
        delivered = (cube[:, 2] < goal[:, 2] + CUBE_HALF + 0.006) & (_horizontal(cube - goal) < _DELIVERED)
        carrying = gripped & ~delivered
        place = np.where(carrying[:, None], goal, cube)
        away = _horizontal(place - ee)
        grasp = self._grasp_height(cube, opening)
        height = _funnel(away, np.where(carrying, goal[:, 2] + _RELEASE_HEIGHT, grasp))
        # Up before sideways: a cube that is carried low would push its neighbours away, or turn in the gripper.
        low = carrying & (away > _OVER_GOAL)
        sideways = np.where(low, np.clip((ee[:, 2] - 0.045) / 0.025, 0.0, 1.0), 1.0)
        height = np.where(low & on_table, ee[:, 2] + _LIFT_STEP, height)
        height = np.where(delivered & (opening > _CLOSED_ON_CUBE), _CARRY_HEIGHT, height)
        motion = np.column_stack([sideways[:, None] * (place - ee)[:, :2], height - ee[:, 2]])
        ready = around & ~gripped & ~delivered & (np.abs(motion[:, 2]) < 0.004)
        motion[ready] = 0.0
        return _move(motion, np.where(carrying | ready, _CLOSE, _OPEN))


class StackExpert(PickPlaceExpert):
    """Does the same with the top of the base as the goal. It also grasps a cube that lies on another one."""

    def _goal(self, observation: Observation) -> NDArray[np.float64]:
        """Return the point `CUBE_HALF` under the middle of the cube once it is placed, (n, 3) [m].

        For cubes of the nominal size, this is the middle of the top of the base.
        """
        top = self._position(observation, "base")
        top[:, 2] += 2 * _half_of(top) - CUBE_HALF
        return top

    def _grasp_height(self, cube: NDArray[np.float64], opening: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the height of the end effector at which it grasps the `cube`, (n,) [m]."""
        return cube[:, 2] - CUBE_HALF + _GRASP_HEIGHT


class Pusher(PickPlaceExpert):
    """A control policy: pushes the target to the goal with a closed gripper, which must not count as success."""

    def act(self, observation: Observation) -> Actions:
        """Return the next action for each row of `observation`."""
        ee = self._state.get(observation["state"], "ee_position").astype(np.float64)
        cube, goal = self._position(observation, "cube"), self._goal(observation)
        heading = (goal - cube)[:, :2] / np.maximum(_horizontal(goal - cube), 1e-6)[:, None]
        behind = cube[:, :2] - 0.05 * heading
        away = _horizontal(behind - ee[:, :2])
        pushing = (away < 0.03) & (ee[:, 2] < 0.06)
        place = np.where(pushing[:, None], goal[:, :2], behind)
        motion = np.column_stack([place - ee[:, :2], _funnel(away, np.full(len(away), _GRASP_HEIGHT)) - ee[:, 2]])
        motion[pushing, 2] = _GRASP_HEIGHT - ee[pushing, 2]
        arrived = _horizontal(cube - goal) < 0.01
        motion[arrived] = (0.0, 0.0, 0.05)
        return _move(motion, np.full(len(ee), _CLOSE))


class StackPusher(Pusher, StackExpert):
    """A control policy: pushes the target against the base with a closed gripper, which must not count as success."""


EXPERTS: dict[str, type[ReachExpert] | type[PickPlaceExpert]] = {
    "SimScale/Reach-v0": ReachExpert,
    "SimScale/PickPlace-v0": PickPlaceExpert,
    "SimScale/PickPlaceLanguage-v0": PickPlaceExpert,
    "SimScale/Stack-v0": StackExpert,
    "SimScale/ReachGoal-v0": ReachExpert,
    "SimScale/PickPlaceGoal-v0": PickPlaceExpert,
}
"""Expert of each environment, by environment id."""

PUSHERS: dict[str, type[Pusher]] = {
    "SimScale/PickPlace-v0": Pusher,
    "SimScale/PickPlaceLanguage-v0": Pusher,
    "SimScale/Stack-v0": StackPusher,
}
"""Control policy that only pushes, by environment id."""


def _horizontal(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hypot(vectors[:, 0], vectors[:, 1])


def _half_of(cube: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return half of the edge of a cube (n,) [m]: its height if it lies on the table with another size than nominal."""
    off = np.abs(cube[:, 2] - CUBE_HALF)
    return np.where((off > _OTHER_SIZE) & (off < _MOST_OTHER_SIZE), cube[:, 2], CUBE_HALF)


def _funnel(away: NDArray[np.float64], lowest: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lowest allowed height [m] at the horizontal distance `away` from a place; at the place, `lowest`."""
    return np.minimum(lowest + _FUNNEL * np.maximum(away - _ALIGNED, 0.0), _CARRY_HEIGHT)


def _move(motion: NDArray[np.float64], gripper: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return actions that cover `_GAIN` of `motion` (n, 3) [m]. If one axis is too fast, all axes are scaled down."""
    steps = _GAIN * motion / METRES_PER_STEP
    fastest = np.maximum(np.abs(steps).max(axis=1, keepdims=True), 1.0)
    return np.column_stack([steps / fastest, gripper]).astype(np.float32)
