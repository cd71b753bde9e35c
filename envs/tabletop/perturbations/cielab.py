"""CIELAB, a colour space in which equal distances look about equally different.

Source: CIE 15:2004 (L*a*b* and ΔE*ab of 1976), white point D65.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simscaleai.srgb import from_light, to_light

Array = NDArray[np.float64]

_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = _XYZ.sum(axis=1)  # D65
_RGB = np.linalg.inv(_XYZ)
_KNEE = 6 / 29


def to_lab(rgb: Array) -> Array:
    """Return L*, a*, b* of sRGB colours (…, 3) in 0 to 1."""
    ratio = to_light(rgb) @ _XYZ.T / _WHITE
    f = np.where(ratio > _KNEE**3, np.cbrt(ratio), ratio / (3 * _KNEE**2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def to_rgb(lab: Array) -> Array:
    """Return sRGB of colours L*, a*, b* (…, 3). A value outside 0 to 1 means that no screen shows the colour."""
    lightness, a, b = np.moveaxis(lab, -1, 0)
    y = (lightness + 16) / 116
    f = np.stack([y + a / 500, y, y - b / 200], axis=-1)
    ratio = np.where(f > _KNEE, f**3, 3 * _KNEE**2 * (f - 4 / 29))
    return from_light((ratio * _WHITE) @ _RGB.T)


def delta_e(a: Array, b: Array) -> Array:
    """Return the distance ΔE*ab between sRGB colours (…, 3). About 2 is just visible; black and white are 100 apart."""
    return np.asarray(np.linalg.norm(to_lab(a) - to_lab(b), axis=-1))
