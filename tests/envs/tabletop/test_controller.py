"""Closed-form posture and Cartesian following, against the simulator's own kinematics."""

import numpy as np
import pytest

from envs.tabletop.controller import WORKSPACE, CartesianController, joints_for_position
from envs.tabletop.names import METRES_PER_STEP
from envs.tabletop.simulation import Simulation

ALL = np.ones(1, dtype=bool)


def at(position):
    simulation = Simulation("reach", 1)
    controller = CartesianController(simulation)
    simulation.reset(ALL)
    controller.reset(0, np.asarray(position))
    simulation.forward(ALL)
    return simulation, controller


def test_posture_puts_the_tool_where_asked_pointing_down():
    for position in np.random.default_rng(0).uniform(*WORKSPACE, (50, 3)):
        simulation, _ = at(position)
        np.testing.assert_allclose(simulation.ee_position[0], position, atol=1e-9)
        np.testing.assert_allclose(simulation.ee_rotation[0], np.diag([1.0, -1.0, -1.0]), atol=1e-7)


def test_posture_keeps_the_joint_limits():
    limits = Simulation("reach", 1).model.jnt_range[:7]
    for position in np.random.default_rng(1).uniform([0.38, -0.2, 0.05], [0.6, 0.2, 0.34], (200, 3)):
        joints = joints_for_position(position)
        assert (limits[:, 0] < joints).all()
        assert (joints < limits[:, 1]).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sign", [-1, 1])
def test_an_action_moves_the_tool_by_the_documented_metres(axis, sign):
    simulation, controller = at([0.48, 0.0, 0.2])
    action = np.zeros((1, 4), dtype=np.float32)
    action[0, axis] = sign
    controller.apply(action, ALL)
    simulation.step(ALL)
    for _ in range(15):
        controller.apply(np.zeros((1, 4), dtype=np.float32), ALL)
        simulation.step(ALL)
    moved = simulation.ee_position[0] - [0.48, 0.0, 0.2]
    expected = np.zeros(3)
    expected[axis] = sign * METRES_PER_STEP
    np.testing.assert_allclose(moved, expected, atol=5e-4)
    np.testing.assert_allclose(simulation.ee_rotation[0], np.diag([1.0, -1.0, -1.0]), atol=2e-3)


def test_the_target_does_not_wind_up_or_leave_the_workspace():
    simulation, controller = at([0.5, 0.0, 0.05])
    down = np.float32([[0, 0, -1, 0]])
    for _ in range(40):
        controller.apply(down, ALL)
        simulation.step(ALL)
    assert controller.target[0, 2] == pytest.approx(WORKSPACE[0][2])
    assert simulation.ee_position[0, 2] == pytest.approx(WORKSPACE[0][2], abs=2e-3)


def test_gripper_command_spans_the_opening():
    simulation, controller = at([0.5, 0.0, 0.2])
    for command, opening in ((-1.0, 0.0), (1.0, 0.08), (0.0, 0.04)):
        for _ in range(20):
            controller.apply(np.float32([[0, 0, 0, command]]), ALL)
            simulation.step(ALL)
        assert simulation.qpos[0, 7:9].sum() == pytest.approx(opening, abs=1.5e-3)
