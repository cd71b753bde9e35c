"""Axes of the lights. The head light, which moves with the camera, belongs to them.

MuJoCo multiplies the colours of materials and lights without gamma correction, so a light of half the intensity halves
every pixel that is not saturated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from envs.tabletop.perturbations.axes import Scene, changes_model
from envs.tabletop.perturbations.cielab import to_lab, to_rgb
from envs.tabletop.perturbations.rotations import perpendicular, rotate, rotation
from simscaleai.errors import SimScaleError

if TYPE_CHECKING:
    import mujoco

_CENTRE = np.array([0.5, 0.0, 0.0])  # middle of the work area [m]
_GREY = np.full(3, 0.7)  # colour by which the hue of a light is measured
_LOWEST_LIGHT = -np.sin(np.radians(10))  # z of the direction of a light 10° above the horizon
_LEVELS = (10, 20, 30, 40, 50)  # turn of the lights [deg]
_MOST_DRAWS = 1000


@changes_model("light.intensity", "stop", (0.25, 0.5, 0.75, 1.0, 1.3), limit=5, is_signed=True)
def dim_or_brighten(scene: Scene, stops: float, stream: np.random.Generator) -> None:
    """Multiplies the intensity of all lights by 2 to the power of the magnitude, brighter (+) or darker (-)."""
    for light in _lights(scene.model):
        light *= 2**stops


@changes_model("light.colour", "dE", (5, 10, 15, 20, 25), limit=60)
def tint(scene: Scene, delta_e: float, stream: np.random.Generator) -> None:
    """Tints all lights, so that a grey surface of equal lightness is this far from grey in CIELAB."""
    angle = stream.uniform(0, 2 * np.pi)
    tinted = to_rgb(to_lab(_GREY) + delta_e * np.array([0.0, np.cos(angle), np.sin(angle)]))
    for light in _lights(scene.model):
        light *= tinted / _GREY


@changes_model("light.direction", "deg", _LEVELS, limit=80)
def turn_lights(scene: Scene, degrees: float, stream: np.random.Generator) -> None:
    """Turns all fixed lights around the middle of the work area; the direction of the key light turns by this angle.

    All lights stay at least 10° above the horizon.
    """
    model, key = scene.model, scene.nominal.light("key").dir
    axis = next(
        (
            axis
            for angle in stream.uniform(0, 2 * np.pi, _MOST_DRAWS)
            if all(_stays_up(model, axis := perpendicular(key, angle), each) for each in (degrees, _LEVELS[-1]))
        ),
        None,
    )
    if axis is None:
        raise SimScaleError(
            f"every light direction that is turned by {degrees} deg is too low; ask for a smaller angle"
        )
    turn = rotation(axis, degrees)
    for number in range(model.nlight):
        model.light_pos[number] = _CENTRE + rotate(turn, model.light_pos[number] - _CENTRE)
        model.light_dir[number] = rotate(turn, model.light_dir[number])


def _stays_up(model: mujoco.MjModel, axis: NDArray[np.float64], degrees: float) -> bool:
    turn = rotation(axis, degrees)
    return all(rotate(turn, direction)[2] <= _LOWEST_LIGHT for direction in model.light_dir)


def _lights(model: mujoco.MjModel) -> Iterator[NDArray[np.floating]]:
    """Yield writable arrays with all intensities of all lights, (3,) or (number of lights, 3)."""
    headlight = model.vis.headlight
    yield from (headlight.ambient, headlight.diffuse, headlight.specular)
    yield from (model.light_ambient, model.light_diffuse, model.light_specular)
