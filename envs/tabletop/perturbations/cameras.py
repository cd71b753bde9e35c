"""Axes of the cameras: where they stand and where they look."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.tabletop.perturbations.axes import Scene, changes_model
from envs.tabletop.perturbations.rotations import combine, rotate, rotation

Vector = NDArray[np.float64]


@changes_model("camera.azimuth", "deg", (5, 15, 30, 45, 75), limit=180, is_signed=True)
def turn_front_camera(scene: Scene, degrees: float, stream: np.random.Generator) -> None:
    """Turns the front camera around the vertical line through the point of the table that it looks at."""
    camera = scene.model.camera("front")
    centre = _looked_at(camera.pos, camera.quat)
    turn = rotation(np.array([0.0, 0.0, 1.0]), degrees)
    camera.pos[:] = centre + rotate(turn, camera.pos - centre)
    camera.quat[:] = combine(turn, camera.quat)


@changes_model("camera.distance", "%", (15, 30, 50, 75, 100), limit=400)
def move_front_camera_away(scene: Scene, percent: float, stream: np.random.Generator) -> None:
    """Moves the front camera straight back, by a share of its distance from the point of the table it looks at."""
    camera = scene.model.camera("front")
    centre = _looked_at(camera.pos, camera.quat)
    camera.pos[:] = centre + (1 + percent / 100) * (camera.pos - centre)


@changes_model("camera.aim", "deg", (2, 4, 6, 8, 10), limit=45)
def tilt_front_camera(scene: Scene, degrees: float, stream: np.random.Generator) -> None:
    """Turns the line of sight of the front camera in a random direction; the camera stays in its place."""
    _tilt(scene.model.camera("front").quat, degrees, stream)


@changes_model("wrist.aim", "deg", (2, 4, 6, 8, 10), limit=45)
def tilt_wrist_camera(scene: Scene, degrees: float, stream: np.random.Generator) -> None:
    """Turns the line of sight of the wrist camera in a random direction; the camera stays in its place."""
    _tilt(scene.model.camera("wrist").quat, degrees, stream)


def _tilt(quat: Vector, degrees: float, stream: np.random.Generator) -> None:
    """Turn a camera around a random axis that is perpendicular to its line of sight."""
    angle = stream.uniform(0, 2 * np.pi)
    axis = rotate(quat, np.array([np.cos(angle), np.sin(angle), 0.0]))  # in the plane of the image
    quat[:] = combine(rotation(axis, degrees), quat)


def _looked_at(position: Vector, quat: Vector) -> Vector:
    """Return the point where the line of sight of a camera meets the table top, z = 0."""
    sight = rotate(quat, np.array([0.0, 0.0, -1.0]))
    return np.asarray(position - sight * position[2] / sight[2])
