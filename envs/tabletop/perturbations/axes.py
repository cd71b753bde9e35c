"""`SceneAxis`: how one axis of perturbations changes a scene, and the decorators that declare such axes.

An axis is one function. It changes either the model of one slot (`changes_model`) or the start of an episode
(`changes_start`). The first line of the function's docstring is the summary of the axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import getdoc
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simscaleai.perturbation import Axis, Changes

if TYPE_CHECKING:
    import mujoco

    from envs.tabletop.tasks.task import Task


@dataclass(frozen=True)
class Scene:
    """The scene of one slot while its perturbation is applied."""

    model: mujoco.MjModel
    """The model to change."""
    nominal: mujoco.MjModel
    """The model without any change; read-only."""
    extra: dict[str, NDArray[Any]] = field(default_factory=dict)
    """Fields of the variant's model that the scene's model lacks, to their values."""


ChangeModel = Callable[[Scene, float, np.random.Generator], None]
"""Function that changes `Scene.model` by a magnitude. Directions come from the random stream."""
ChangeStart = Callable[["Task", int, float, np.random.Generator], None]
"""Function that changes the episode that has just begun in a slot of a task."""
Fits = Callable[["mujoco.MjModel"], bool]
"""Function that says whether a scene has what an axis changes."""

Magnitudes = tuple[float, float, float, float, float]


@dataclass(frozen=True)
class SceneAxis:
    """An axis of the scene, and the function that carries it out."""

    axis: Axis
    """Name, unit and levels."""
    fits: Fits
    """Whether a scene has what the axis changes."""
    change_model: ChangeModel | None = None
    """Function of an axis that changes the model."""
    change_start: ChangeStart | None = None
    """Function of an axis that changes the start."""


AXES: dict[str, SceneAxis] = {}
"""All axes by name. A perturbation applies them in this order."""


def everywhere(model: mujoco.MjModel) -> bool:
    """Return True: the axis fits every scene."""
    return True


def has_objects(model: mujoco.MjModel) -> bool:
    """Return whether the scene has objects that the robot can move, which are the bodies with a free joint."""
    return bool((model.jnt_type == 0).any())


def changes_model(
    name: str,
    unit: str,
    magnitudes: Magnitudes,
    *,
    limit: float,
    changes: Changes = "looks",
    is_signed: bool = False,
    fits: Fits = everywhere,
) -> Callable[[ChangeModel], ChangeModel]:
    """Declare the function below as an axis that changes the model of a slot; see `Axis` and `SceneAxis`."""

    def declare(function: ChangeModel) -> ChangeModel:
        axis = _axis(name, unit, magnitudes, limit, changes, is_signed, function)
        AXES[name] = SceneAxis(axis, fits, change_model=function)
        return function

    return declare


def changes_start(
    name: str, unit: str, magnitudes: Magnitudes, *, limit: float, fits: Fits = everywhere
) -> Callable[[ChangeStart], ChangeStart]:
    """Declare the function below as an axis that changes how an episode starts; see `Axis` and `SceneAxis`."""

    def declare(function: ChangeStart) -> ChangeStart:
        axis = _axis(name, unit, magnitudes, limit, "physics", False, function)
        AXES[name] = SceneAxis(axis, fits, change_start=function)
        return function

    return declare


def _axis(
    name: str, unit: str, magnitudes: Magnitudes, limit: float, changes: Changes, is_signed: bool, function: object
) -> Axis:
    summary = (getdoc(function) or "").partition("\n\n")[0].replace("\n", " ")
    return Axis(
        name=name,
        unit=unit,
        magnitudes=magnitudes,
        changes=changes,
        is_signed=is_signed,
        summary=summary,
        limit=limit,
    )
