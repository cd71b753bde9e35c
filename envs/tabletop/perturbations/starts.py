"""Axes of the start of an episode: the posture of the arm, and where objects lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from envs.tabletop.controller import NUM_JOINTS, WORKSPACE
from envs.tabletop.perturbations.axes import changes_start, has_objects
from envs.tabletop.tasks.cubes import WORK_AREA
from envs.tabletop.variant.scene import DISTRACTORS, HEIGHTS
from simscaleai.errors import SimScaleError

if TYPE_CHECKING:
    import mujoco

    from envs.tabletop.tasks.task import Task

Vector = NDArray[np.float64]

_PLACES = ((0.33, 0.64), (-0.22, 0.22))  # where distractors may lie: in sight of the front camera, within reach [m]
_FROM_OBJECTS, _FROM_DISTRACTORS = 0.10, 0.075  # least horizontal distance of a distractor, as between cubes [m]
_OUTSIDE = (0.01, 0.02, 0.03, 0.04, 0.05)  # distance of an object from the region of nominal starts [m]
_FROM_BORDER = 0.02  # distance of the object from the border of where the controller can bring the gripper [m]
_SEEN = 0.95  # share of the image, from its middle, in which an object must lie
_POSTURES = (0.1, 0.2, 0.3, 0.4, 0.5)  # displacement of the joints [rad]
_LOWEST = 0.12  # of the point between the finger pads [m]; there, the gripper is clear of everything on the table
_FROM_GOAL = 0.1  # smallest distance between this point and the goal [m]
_SHARES = np.linspace(0.2, 1.0, 5)  # of the largest level; postures that must qualify, so that levels share a direction
_MOST_DRAWS = 500


@changes_start("robot.start", "rad", _POSTURES, limit=1.0)
def displace_arm(task: Task, slot: int, radians: float, stream: np.random.Generator) -> None:
    """Displaces the joints of the arm at the start in a random direction; the magnitude is the norm.

    The gripper stays at least 0.12 m above the table, within reach, and 0.1 m from the goal.
    """
    start = task.simulation.qpos[slot, :NUM_JOINTS].copy()
    arm = _Arm(task, slot)
    sizes = [radians, *(max(radians, _POSTURES[-1]) * _SHARES)]
    for _ in range(_MOST_DRAWS):
        direction = stream.normal(size=NUM_JOINTS)
        direction /= np.linalg.norm(direction)
        if all(arm.may_start(start + size * direction) for size in sizes):
            joints = start + radians * direction
            task.controller.begin(slot, joints, arm.gripper(joints))
            return
    raise SimScaleError(f"no start of the arm at {radians:g} rad from the nominal one is within reach; ask for less")


@changes_start("object.position", "m", _OUTSIDE, limit=0.12, fits=has_objects)
def move_target_out(task: Task, slot: int, metres: float, stream: np.random.Generator) -> None:
    """Puts the object to move this far outside the region that nominal starts come from, in a random direction.

    It stays within reach, in sight of the nominal front camera, and at least 0.1 m from other objects and the goal.
    """
    simulation, joint = task.simulation, task.simulation.model.joint(f"cube_{task.targets[slot]}")
    position = simulation.qpos[slot, int(joint.qposadr[0]) : int(joint.qposadr[0]) + 2]
    others = [place for place, _ in _occupied(task, slot) if (place != position).any()]
    sizes = [metres, *(max(metres, _OUTSIDE[-1]) * _SHARES)]
    for angle in stream.uniform(0, 2 * np.pi, _MOST_DRAWS):
        places = np.array([_outside(angle, size) for size in sizes])
        distances = np.linalg.norm(places[:, None] - np.array(others).reshape(-1, 2), axis=2)
        if _is_within_reach(places) and _is_seen(simulation.model, places) and (distances >= _FROM_OBJECTS).all():
            position[:] = places[0]
            return
    raise SimScaleError(
        f"no place {metres:g} m outside the region of starts is free, seen and within reach; ask for less"
    )


def _outside(angle: float, metres: float) -> Vector:
    """Return the place (2,) that is `metres` outside the work area, seen from its middle in the direction `angle`."""
    lowest, highest = np.array(WORK_AREA).T
    centre, half, direction = (lowest + highest) / 2, (highest - lowest) / 2, np.array([np.cos(angle), np.sin(angle)])
    (half_x, half_y), (x, y) = half.tolist(), np.abs(direction).tolist()  # plain numbers: a tenth of the time of arrays
    near, far = 0.0, 1.0  # distances from the middle [m]
    for _ in range(50):
        middle = (near + far) / 2
        beyond_x, beyond_y = max(middle * x - half_x, 0.0), max(middle * y - half_y, 0.0)
        is_outside = math.sqrt(beyond_x * beyond_x + beyond_y * beyond_y) > metres
        near, far = (near, middle) if is_outside else (middle, far)
    return np.asarray(centre + far * direction)


def _is_within_reach(places: Vector) -> bool:
    lowest, highest = WORKSPACE[0][:2] + _FROM_BORDER, WORKSPACE[1][:2] - _FROM_BORDER
    return bool(((places >= lowest) & (places <= highest)).all())


def _is_seen(model: mujoco.MjModel, places: Vector) -> bool:
    """Return whether square images of the front camera show all `places` (n, 2) on the table."""
    camera = model.camera("front")
    points = np.column_stack([places, np.zeros(len(places))]) - camera.pos
    x, y, z = (points @ camera.mat0.reshape(3, 3)).T  # right, up, and towards the camera
    most = -z * np.tan(np.radians(camera.fovy[0] / 2)) * _SEEN
    return bool(((np.abs(x) <= most) & (np.abs(y) <= most)).all())


@changes_start("distractors", "", (1, 2, 3, 4, 5), limit=len(DISTRACTORS))
def add_distractors(task: Task, slot: int, count: float, stream: np.random.Generator) -> None:
    """Puts this many loose objects, rounded, on the table, of shapes and colours that no task names.

    They lie at least 0.1 m from objects and goal. A level adds one to those of the level below. A magnitude that is
    rounded to 0 changes nothing.
    """
    occupied = _occupied(task, slot)
    poses: dict[int, Vector] = {}
    for number in stream.permutation(len(DISTRACTORS))[: round(count)].tolist():
        place = _draw_free_place(stream, [*occupied, *((pose[:2], _FROM_DISTRACTORS) for pose in poses.values())])
        half = stream.uniform(0, np.pi)
        poses[number] = np.array([*place, HEIGHTS[DISTRACTORS[number]], np.cos(half), 0, 0, np.sin(half)])
    if poses:
        task.simulation.place_distractors(slot, poses)


def _draw_free_place(stream: np.random.Generator, occupied: Sequence[tuple[Vector, float]]) -> Vector:
    """Draw a place (2,) on the table that keeps the distance from each of `occupied`, pairs of place and distance."""
    for _ in range(_MOST_DRAWS):
        place = np.array([stream.uniform(low, high) for low, high in _PLACES])
        if all(np.linalg.norm(place - other) >= distance for other, distance in occupied):
            return place
    raise SimScaleError("the table has no room for a further distractor; ask for fewer")


def _occupied(task: Task, slot: int) -> list[tuple[Vector, float]]:
    """Return the places (2,) of the objects and the goal, and how far distractors stay away from them."""
    simulation = task.simulation
    model = simulation.model
    objects = [simulation.qpos[slot, start : start + 2] for start in model.jnt_qposadr[model.jnt_type == 0].tolist()]
    places = [*objects, simulation.marker_position[slot, :2]]  # the latter is empty in a scene without a goal
    return [(place.copy(), _FROM_OBJECTS) for place in places if place.size]


class _Arm:
    """Forward kinematics of the arm in one slot."""

    def __init__(self, task: Task, slot: int) -> None:
        import mujoco

        simulation, self._kinematics = task.simulation, mujoco.mj_kinematics
        self._model, self._data = simulation.model, mujoco.MjData(simulation.model)
        self._goals = simulation.marker_position[slot].reshape(-1, 3)  # one, or none in a scene without a goal

    def gripper(self, joints: Vector) -> Vector:
        """Return the point between the finger pads, (3,) [m]."""
        self._data.qpos[:NUM_JOINTS] = joints
        self._kinematics(self._model, self._data)
        return np.array(self._data.site("tool").xpos)

    def may_start(self, joints: Vector) -> bool:
        lowest, highest = self._model.jnt_range[:NUM_JOINTS].T
        if not ((joints > lowest) & (joints < highest)).all():
            return False
        gripper = self.gripper(joints)
        reachable = bool(((gripper > WORKSPACE[0]) & (gripper < WORKSPACE[1])).all())
        is_clear = bool((np.linalg.norm(self._goals - gripper, axis=1) >= _FROM_GOAL).all())
        return reachable and is_clear and gripper[2] >= _LOWEST
