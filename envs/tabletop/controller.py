"""Converts actions to joint commands, with an integrated Cartesian target and damped least squares."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from envs.tabletop.names import METRES_PER_STEP
from envs.tabletop.simulation import Simulation

NUM_JOINTS = 7
OPEN_GRIPPER = 0.04
"""Half of the largest opening [m], which is the gripper command at action +1."""
WORKSPACE = (np.array([0.28, -0.32, 0.015]), np.array([0.70, 0.32, 0.45]))
"""Lowest and highest Cartesian target [m]; the floor keeps the fingertips 2 mm above the table."""

_MAX_LEAD = 0.05  # largest distance of the target from the end effector, per axis [m]; prevents wind-up at obstacles
_DAMPING = 0.02  # damping of the least squares; keeps joint steps bounded near singular arm postures
_POSTURE_GAIN = 0.1  # share of the way to the resting posture taken per step in the null space
_DAMPING_MATRIX = _DAMPING**2 * np.eye(6)

_SHOULDER_HEIGHT = 0.333  # this and the next lengths: published kinematics [m]
_UPPER_ARM, _FOREARM, _ELBOW_OFFSET = 0.316, 0.384, 0.0825
_WRIST_OFFSET, _HAND_LENGTH = 0.088, 0.107 + 0.1034


def joints_for_position(position: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the elbow-up joint positions (7,) [rad] for the end effector at `position`, hand down, fingers along y.

    Joints 3 and 5 are zero, so shoulder, elbow and wrist form a triangle in a vertical plane, solved in closed form.

    Args:
        position: End effector position (3,), world frame [m], within `WORKSPACE`.
    """
    x, y, z = (float(value) for value in position)
    heading = math.atan2(y, x)
    reach = math.hypot(x, y) - _WRIST_OFFSET
    rise = z + _HAND_LENGTH - _SHOULDER_HEIGHT
    upper, fore = math.hypot(_UPPER_ARM, _ELBOW_OFFSET), math.hypot(_FOREARM, _ELBOW_OFFSET)
    distance = math.hypot(reach, rise)
    shoulder_angle = math.acos((upper**2 + distance**2 - fore**2) / (2 * upper * distance))
    elbow_angle = math.acos((upper**2 + fore**2 - distance**2) / (2 * upper * fore))
    upper_tilt = math.atan2(reach, rise) - shoulder_angle
    fore_tilt = upper_tilt + math.pi - elbow_angle
    joint2 = upper_tilt - math.atan2(_ELBOW_OFFSET, _UPPER_ARM)
    joint6 = fore_tilt + math.atan2(_ELBOW_OFFSET, _FOREARM)
    return np.array([heading, joint2, 0.0, joint2 - joint6, 0.0, joint6, heading + math.pi / 4])


class CartesianController:
    """Moves a Cartesian target by each action and follows it with the arm, hand pointing down, fingers along y.

    The target is the only memory of the controller. Resetting a slot resets its target. One damped least-squares step
    per control step turns the pose error into joint commands. The null space pulls towards a resting posture.

    Source: damped least squares, Wampler 1986; null-space projection, Siciliano et al., Robotics, 2009, § 3.7.
    """

    def __init__(self, simulation: Simulation) -> None:
        """Control the arms of `simulation`."""
        self._simulation = simulation
        self.target = np.zeros((simulation.num_slots, 3))
        """Cartesian target of each slot, (N, 3) [m]."""
        self._resting_joints = joints_for_position(np.array([0.45, 0.0, 0.22]))
        ranges = simulation.model.jnt_range[:NUM_JOINTS]
        self._lowest, self._highest = ranges[:, 0], ranges[:, 1]

    def reset(self, slot: int, ee_position: NDArray[np.float64]) -> None:
        """Write a posture into `slot`: end effector at `ee_position` (3,) [m], gripper open, at rest."""
        self.begin(slot, joints_for_position(ee_position), ee_position)

    def begin(self, slot: int, joints: NDArray[np.float64], ee_position: NDArray[np.float64]) -> None:
        """Write the posture `joints` (7,) [rad], whose end effector is at `ee_position` (3,) [m], into `slot`."""
        simulation = self._simulation
        simulation.qpos[slot, :NUM_JOINTS] = joints
        simulation.qpos[slot, NUM_JOINTS : NUM_JOINTS + 2] = OPEN_GRIPPER
        simulation.ctrl[slot, :NUM_JOINTS] = joints
        simulation.ctrl[slot, NUM_JOINTS] = OPEN_GRIPPER
        self.target[slot] = ee_position

    def apply(self, actions: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
        """Command the arms of the slots in `mask`.

        Args:
            actions: Clipped actions (N, 4).
            mask: Slots to command (N,).
        """
        ee = self._simulation.ee_position
        target = self.target + METRES_PER_STEP * actions[:, :3].astype(np.float64)
        target = _limit(target, ee - _MAX_LEAD, ee + _MAX_LEAD)
        np.copyto(self.target, _limit(target, *WORKSPACE), where=mask[:, None])
        commands = np.empty((mask.size, NUM_JOINTS + 1))
        commands[:, :NUM_JOINTS] = self._joint_commands(self.target)
        commands[:, NUM_JOINTS] = 0.5 * OPEN_GRIPPER * (1.0 + actions[:, 3].astype(np.float64))
        np.copyto(self._simulation.ctrl, commands, where=mask[:, None])

    def _joint_commands(self, target: NDArray[np.float64]) -> NDArray[np.float64]:
        simulation = self._simulation
        joints = simulation.qpos[:, :NUM_JOINTS]
        error = np.concatenate([target - simulation.ee_position, _tilt_error(simulation.ee_rotation)], axis=1)
        jacobian = simulation.ee_jacobian(NUM_JOINTS)
        transposed = jacobian.transpose(0, 2, 1)
        posture = _POSTURE_GAIN * (self._resting_joints - joints)
        # J⁺(e − J p) + p: the least-squares step, plus the part of the posture step that leaves the end effector alone.
        residual = error[..., None] - jacobian @ posture[..., None]
        normal = jacobian @ transposed + _DAMPING_MATRIX
        commands = joints + posture + (transposed @ np.linalg.solve(normal, residual))[..., 0]
        return _limit(commands, self._lowest, self._highest)


def _tilt_error(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotation vector (N, 3) that turns the end effector's axes towards x, −y and −z, first order."""
    sums = np.empty((len(rotation), 3))  # of cross products: each axis (a column of `rotation`) with its target axis
    np.subtract(rotation[:, 2, 1], rotation[:, 1, 2], out=sums[:, 0])
    np.add(rotation[:, 2, 0], rotation[:, 0, 2], out=sums[:, 1])
    sums[:, 2] = -rotation[:, 1, 0] - rotation[:, 0, 1]
    return 0.5 * sums


def _limit(
    values: NDArray[np.float64], lowest: NDArray[np.float64], highest: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Clip `values` as `np.clip` does, in a third of the time."""
    return np.minimum(np.maximum(values, lowest), highest)
