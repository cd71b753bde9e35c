"""Digests of a scene and of the render settings of observations. A version of an environment never changes them.

Numbers are rounded to six significant digits, so that different compilers give the same digests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from envs.tabletop.rendering import HIDDEN_IN_OBSERVATIONS

if TYPE_CHECKING:
    import mujoco

_MODEL_PREFIXES = (
    *("body_", "jnt_", "dof_", "geom_", "site_", "cam_", "light_", "mat_"),
    *("actuator_", "tendon_", "wrap_", "eq_", "sensor_", "exclude_", "qpos0"),
)
_VISUAL_GROUPS = ("headlight", "quality", "map", "rgba")


def scene_digest(model: mujoco.MjModel) -> str:
    """Return 16 hex digits that change with the compiled scene: bodies, geoms, materials, lights, cameras, options."""
    digest = hashlib.sha256(model.names)
    for line in (*_numbers(model, _MODEL_PREFIXES), *_numbers(model.opt)):
        digest.update(line.encode())
    return digest.hexdigest()[:16]


def profile_digest(model: mujoco.MjModel) -> str:
    """Return 16 hex digits that change with the render settings: light, quality, colours, and hidden effects."""
    digest = hashlib.sha256(" ".join(HIDDEN_IN_OBSERVATIONS).encode())
    for group in _VISUAL_GROUPS:
        for line in _numbers(getattr(model.vis, group)):
            digest.update(f"{group}.{line}".encode())
    return digest.hexdigest()[:16]


def _numbers(owner: object, prefixes: tuple[str, ...] = ("",)) -> Iterable[str]:
    """Return name and values of each numeric field of `owner` whose name starts with one of `prefixes`."""
    names = sorted(name for name in dir(owner) if not name.startswith("_") and name.startswith(prefixes))
    values = {name: getattr(owner, name) for name in names}
    return [f"{name}{_rounded(value)}" for name, value in values.items() if isinstance(value, np.ndarray | int | float)]


def _rounded(values: NDArray[np.generic] | float) -> list[str]:
    flat = np.asarray(values, dtype=np.float64).ravel()
    return [f"{value:.5e}" for value in flat + 0.0]  # + 0.0 turns -0.0 into 0.0
