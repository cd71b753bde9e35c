"""Axes of the colours of table, background, goal and objects. Magnitudes are distances ΔE*ab in CIELAB.

The direction of a change is drawn so that the new colour has exactly this distance, exists in sRGB, and stays at least
30 ΔE away from the nominal colours of the other things that instructions name. A named thing keeps its name: its colour
is nearer, by at least 30 ΔE, to its own nominal colour than to that of any other named thing. If no direction
qualifies, which happens beyond level 5, the magnitude is refused. All levels of one seed share the direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from envs.tabletop.perturbations.axes import Magnitudes, Scene, changes_model, has_objects
from envs.tabletop.perturbations.cielab import to_lab, to_rgb
from simscaleai.errors import SimScaleError

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]

_SURFACES: Magnitudes = (10, 20, 35, 50, 70)  # levels of what no instruction names
_OBJECTS: Magnitudes = (9, 18, 27, 36, 45)
_GOALS: Magnitudes = (6, 12, 18, 24, 30)
_GOAL = "goal"
_APART = 30.0
_CANDIDATES, _MOST_DRAWS = 16, 100  # directions drawn at once, and how often
_SHARES = np.linspace(0.2, 1.0, 5)  # of the largest level; points of a direction that must qualify


def has_goal(model: mujoco.MjModel) -> bool:
    """Return whether something in the scene has the material of the goal."""
    return _GOAL in _named_materials(model)


@changes_model("table.colour", "dE", _SURFACES, limit=100)
def paint_table(scene: Scene, delta_e: float, stream: np.random.Generator) -> None:
    """Changes the colour of the table top."""
    _paint(scene, "table", delta_e, _SURFACES, away_from_names(scene), stream)


@changes_model("background.colour", "dE", _SURFACES, limit=100)
def paint_background(scene: Scene, delta_e: float, stream: np.random.Generator) -> None:
    """Changes the colours of the floor and of the table's edge, each in a direction of its own."""
    for material in ("floor", "table_edge"):
        _paint(scene, material, delta_e, _SURFACES, {}, stream)


@changes_model("object.colour", "dE", _OBJECTS, limit=100, fits=has_objects)
def paint_objects(scene: Scene, delta_e: float, stream: np.random.Generator) -> None:
    """Changes the colour of each object in a direction of its own; the names of the colours still hold."""
    for material in _object_materials(scene.nominal):
        _paint(scene, material, delta_e, _OBJECTS, _namesakes(scene, material), stream)


@changes_model("goal.colour", "dE", _GOALS, limit=100, fits=has_goal)
def paint_goal(scene: Scene, delta_e: float, stream: np.random.Generator) -> None:
    """Changes the colour of the goal; the name of the colour still holds."""
    _paint(scene, _GOAL, delta_e, _GOALS, _namesakes(scene, _GOAL), stream)


def away_from_names(scene: Scene) -> dict[str, float]:
    """Return what a thing without a name keeps away from: the named ones."""
    return dict.fromkeys(_named_materials(scene.nominal), 0.0)


def _namesakes(scene: Scene, material: str) -> dict[str, float]:
    """Return what a named material keeps away from: the other named ones, so that it keeps its name, and the table."""
    return {name: 1.0 for name in _named_materials(scene.nominal) if name != material} | {"table": 0.0}


def _paint(
    scene: Scene,
    material: str,
    delta_e: float,
    levels: Magnitudes,
    others: Mapping[str, float],
    stream: np.random.Generator,
) -> None:
    """Move the colour of `material` by `delta_e` from the nominal one; see `draw_colour`."""
    nominal = scene.nominal.material(material).rgba[:3]
    scene.model.material(material).rgba[:3] = draw_colour(scene, nominal, delta_e, levels, others, stream)


def draw_colour(
    scene: Scene,
    origin: Array,
    delta_e: float,
    levels: Magnitudes,
    others: Mapping[str, float],
    stream: np.random.Generator,
) -> Array:
    """Return the colour (3,) at the distance `delta_e` from the colour `origin` (3,) in a random direction.

    Args:
        scene: The scene, for the colours of its materials.
        origin: sRGB, 0 to 1.
        delta_e: Distance ΔE*ab.
        levels: Distances of the levels of the axis.
        others: Materials to keep away from. The distance to the nominal colour of each is at least `_APART`, plus this
            multiple of the distance from `origin`.
        stream: Draws the direction.

    Raises:
        SimScaleError: If there is no such colour.
    """
    nominal = to_lab(origin.astype(np.float64))
    # A direction must qualify along the whole way to the largest level, so that all levels of one seed share it.
    moved = np.array([delta_e, *(max(delta_e, levels[-1]) * _SHARES)])
    places = np.array([_lab(scene.nominal, other) for other in others]).reshape(-1, 3)
    apart = _APART + moved[:, None] * np.array(list(others.values()))
    for _ in range(_MOST_DRAWS):
        directions = stream.normal(size=(_CANDIDATES, 1, 3))
        directions /= np.linalg.norm(directions, axis=2, keepdims=True)
        lab = nominal + moved[:, None] * directions
        rgb = to_rgb(lab)
        exists = ((rgb >= 0) & (rgb <= 1)).all(axis=(1, 2))
        is_apart = (np.linalg.norm(lab[:, :, None] - places, axis=3) >= apart).all(axis=(1, 2))
        if (exists & is_apart).any():
            return np.asarray(rgb[np.argmax(exists & is_apart), 0])
    raise SimScaleError(
        f"no colour at ΔE {delta_e:g} from rgb {np.round(origin, 2).tolist()} exists in sRGB and keeps away from the "
        f"colours of other things; ask for at most {levels[-1]:g}"
    )


def _lab(model: mujoco.MjModel, material: str) -> Array:
    return to_lab(model.material(material).rgba[:3].astype(np.float64))


def _object_materials(model: mujoco.MjModel) -> list[str]:
    """Return the names of the materials of the bodies that can be moved."""
    movable = set(model.jnt_bodyid[model.jnt_type == 0].tolist())
    geoms = [number for number in range(model.ngeom) if int(model.geom_bodyid[number]) in movable]
    return [model.material(model.geom_matid[number]).name for number in geoms]


def _named_materials(model: mujoco.MjModel) -> list[str]:
    """Return the names of the materials whose colours instructions name: those of the objects and of the goal."""
    used = {model.material(number).name for number in set(model.geom_matid.tolist()) if number >= 0}
    return [*_object_materials(model), *({_GOAL} & used)]
