"""The transfer function of sRGB: from values of a picture to light, and back.

Source: IEC 61966-2-1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def to_light(values: Array) -> Array:
    """Return the light of sRGB `values`, both in [0, 1]."""
    return np.where(values <= 0.04045, values / 12.92, ((np.maximum(values, 0.0) + 0.055) / 1.055) ** 2.4)


def from_light(light: Array) -> Array:
    """Return the sRGB values of `light`, both in [0, 1]. Light below 0 gives values below 0, which no screen shows."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0.0) ** (1 / 2.4) - 0.055)
