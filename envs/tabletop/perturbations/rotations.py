"""Rotations as unit quaternions (wxyz)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def rotation(axis: Array, degrees: float) -> Array:
    """Return the rotation by `degrees` around `axis` (3,)."""
    half = np.radians(degrees) / 2
    return np.array([np.cos(half), *(np.sin(half) * axis / np.linalg.norm(axis))])


def rotate(quat: Array, vector: Array) -> Array:
    """Return `vector` (3,) after the rotation."""
    twice = 2 * np.cross(quat[1:], vector)
    return np.asarray(vector + quat[0] * twice + np.cross(quat[1:], twice))


def combine(second: Array, first: Array) -> Array:
    """Return the rotation `first`, followed by the rotation `second`."""
    scalar = second[0] * first[0] - second[1:] @ first[1:]
    return np.array([scalar, *(second[0] * first[1:] + first[0] * second[1:] + np.cross(second[1:], first[1:]))])


def perpendicular(vector: Array, angle: float) -> Array:
    """Return the unit vector perpendicular to `vector` at `angle` [rad] around it."""
    aside = np.cross(vector, np.eye(3)[np.argmin(np.abs(vector))])
    aside /= np.linalg.norm(aside)
    return rotate(rotation(vector, float(np.degrees(angle))), aside)
