"""The variant of a scene: the same scene with things that a nominal scene lacks, for the slots that need them.

The variant has five distractors, which no task names, and a texture on the table. Bodies, geoms, joints and materials
of the scene come first and in the same order, so the values of the scene are the first ones of every field.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from simscaleai.assets import asset_path

if TYPE_CHECKING:
    import mujoco

DISTRACTORS = ("cylinder", "capsule", "ellipsoid", "roll", "cross")
"""Names of the distractors. Each has a shape and a colour that no task names."""

TEXTURE_SIZE = 128
"""Height and width of the texture of the table [px]."""

_COLOURS = {
    "cylinder": (0.50, 0.22, 0.66),
    "capsule": (0.10, 0.68, 0.72),
    "ellipsoid": (0.93, 0.55, 0.72),
    "roll": (0.10, 0.10, 0.11),
    "cross": (0.42, 0.27, 0.16),
}  # purple, cyan, pink, black, brown
BELOW_FLOOR = -1.0
"""A distractor that is lower than this is not part of the episode [m]."""

HEIGHTS = {"cylinder": 0.022, "capsule": 0.014, "ellipsoid": 0.015, "roll": 0.015, "cross": 0.011}
"""Height of the centre of each distractor above the table [m]. All are lower than what the open gripper passes over."""

Shape = tuple["mujoco.mjtGeom", tuple[float, float, float], tuple[float, float, float, float]]

_HALF = 0.7071067811865476
_UPRIGHT, _LYING, _ASIDE = (1.0, 0.0, 0.0, 0.0), (_HALF, 0.0, _HALF, 0.0), (_HALF, _HALF, 0.0, 0.0)
_VISIBLE, _HIDDEN = 0, 3  # groups of geoms
_PARKED = -2.0  # height of distractors that a slot does not have [m]


def variant_spec(scene: str) -> mujoco.MjSpec:
    """Return the variant of `assets/<scene>.xml`, to be compiled."""
    import mujoco

    spec = mujoco.MjSpec.from_file(str(asset_path(f"{scene}.xml")))
    _add_texture(spec)
    for number, name in enumerate(DISTRACTORS):
        body = spec.worldbody.add_body(name=f"distractor_{name}", pos=(0.5, 0.2 * number, _PARKED))
        body.add_freejoint(name=f"distractor_{name}")
        material = spec.add_material(name=f"distractor_{name}", rgba=(*_COLOURS[name], 1), specular=0.2, shininess=0.3)
        _add_geoms(body, name, material.name)
    return spec


@lru_cache(maxsize=8)
def load_variant(scene: str) -> mujoco.MjModel:
    """Compile the variant of `scene` once per process and return it; treat the model as read-only."""
    return variant_spec(scene).compile()


def _add_texture(spec: mujoco.MjSpec) -> None:
    """Give the material of the table a white texture, over the whole table."""
    import mujoco

    spec.add_texture(
        name="table",
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
        rgb1=(1, 1, 1),
        width=TEXTURE_SIZE,
        height=TEXTURE_SIZE,
    )
    table = spec.material("table")
    table.textures[int(mujoco.mjtTextureRole.mjTEXROLE_RGB)] = "table"


def _add_geoms(body: mujoco.MjsBody, name: str, material: str) -> None:
    """Add what is seen of a distractor, and, hidden, the boxes and capsules that touch, which rest without rocking."""
    seen, touching = _shapes()[name]
    for kind, size, quat in seen:
        body.add_geom(
            type=kind, size=size, quat=quat, material=material, mass=0, contype=0, conaffinity=0, group=_VISIBLE
        )
    for kind, size, quat in touching:
        body.add_geom(
            type=kind,
            size=size,
            quat=quat,
            group=_HIDDEN,
            mass=0.05 / len(touching),
            solref=(0.004, 1),
            solimp=(0.95, 0.99, 0.001, 0.5, 2),
        )


def _shapes() -> dict[str, tuple[list[Shape], list[Shape]]]:
    """Return the geoms of each distractor that are seen, and those that touch: type, size, orientation."""
    import mujoco

    cylinder, capsule = mujoco.mjtGeom.mjGEOM_CYLINDER, mujoco.mjtGeom.mjGEOM_CAPSULE
    ellipsoid, box = mujoco.mjtGeom.mjGEOM_ELLIPSOID, mujoco.mjtGeom.mjGEOM_BOX
    bar: Shape = (capsule, (0.014, 0.018, 0), _LYING)
    return {
        "cylinder": ([(cylinder, (0.017, 0.022, 0), _UPRIGHT)], [(box, (0.0145, 0.0145, 0.022), _UPRIGHT)]),
        "capsule": ([bar], [bar]),
        "ellipsoid": ([(ellipsoid, (0.027, 0.020, 0.015), _UPRIGHT)], [(capsule, (0.015, 0.010, 0), _LYING)]),
        "roll": ([(cylinder, (0.015, 0.024, 0), _LYING)], [(capsule, (0.015, 0.015, 0), _LYING)]),
        "cross": (  # the bars differ in height, so that they do not flicker where they meet
            [(box, (0.030, 0.009, 0.011), _UPRIGHT), (box, (0.009, 0.030, 0.0107), _UPRIGHT)],
            [(capsule, (0.011, 0.019, 0), _LYING), (capsule, (0.011, 0.019, 0), _ASIDE)],
        ),
    }
