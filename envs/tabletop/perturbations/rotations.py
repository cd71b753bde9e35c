"""Rotations as unit quaternions (wxyz)."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def rotation(axis: Array, degrees: float) -> Array:
    """Return the rotation by `degrees` around `axis` (3,)."""
    half = np.radians(degrees) / 2
    return np.array([np.cos(half), *(np.sin(half) * axis / np.linalg.norm(axis))])


def rotate(quat: Array, vector: Array) -> Array:
    """Return `vector` (3,) after the rotation."""
    rotated = np.empty(3)
    mujoco.mju_rotVecQuat(rotated, vector, quat)
    return rotated


def combine(second: Array, first: Array) -> Array:
    """Return the rotation `first`, followed by the rotation `second`."""
    product = np.empty(4)
    mujoco.mju_mulQuat(product, second, first)
    return product


def perpendicular(vector: Array, angle: float) -> Array:
    """Return the unit vector perpendicular to `vector` at `angle` [rad] around it."""
    aside = np.cross(vector, np.eye(3)[np.argmin(np.abs(vector))])
    aside /= np.linalg.norm(aside)
    return rotate(rotation(vector, float(np.degrees(angle))), aside)
