"""Axes of the objects that the robot moves: size, mass and friction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from envs.tabletop.perturbations.axes import Scene, changes_model, has_objects

if TYPE_CHECKING:
    import mujoco


@changes_model("object.size", "%", (3, 6, 9, 12, 15), limit=50, changes="physics", is_signed=True, fits=has_objects)
def resize_objects(scene: Scene, percent: float, stream: np.random.Generator) -> None:
    """Scales the edges of all objects, larger (+) or smaller (-); their mass stays."""
    model, factor = scene.model, 1 + percent / 100
    for body in _objects(model):
        geoms = slice(model.body_geomadr[body], model.body_geomadr[body] + model.body_geomnum[body])
        volumes = slice(model.body_bvhadr[body], model.body_bvhadr[body] + model.body_bvhnum[body])
        for lengths in (model.geom_size, model.geom_aabb, model.geom_rbound):
            lengths[geoms] *= factor
        model.bvh_aabb[volumes] *= factor
        model.body_inertia[body] *= factor**2


@changes_model("object.mass", "doublings", (0.5, 1.0, 1.5, 2.0, 2.32), limit=4, changes="physics", fits=has_objects)
def load_objects(scene: Scene, doublings: float, stream: np.random.Generator) -> None:
    """Multiplies the mass of all objects by 2 to the power of the magnitude; their size stays."""
    for body in _objects(scene.model):
        scene.model.body_mass[body] *= 2**doublings
        scene.model.body_inertia[body] *= 2**doublings


@changes_model("object.friction", "%", (10, 20, 30, 40, 50), limit=90, changes="physics", fits=has_objects)
def polish_objects(scene: Scene, percent: float, stream: np.random.Generator) -> None:
    """Lowers all coefficients of friction by this share: between objects and finger pads, and on the table."""
    touches = (scene.model.geom_contype != 0) | (scene.model.geom_conaffinity != 0)
    scene.model.geom_friction[touches] *= 1 - percent / 100


def _objects(model: mujoco.MjModel) -> Iterator[int]:
    """Yield the bodies with a free joint."""
    yield from model.jnt_bodyid[model.jnt_type == 0].tolist()
