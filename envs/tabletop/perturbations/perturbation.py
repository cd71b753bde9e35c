"""`Perturbation`: the seed and the magnitudes of a perturbed episode, and what they change in the model of its slot."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from envs.tabletop.perturbations import cameras, colours, lights, objects, starts, textures  # noqa: F401  each declares axes, in this order
from envs.tabletop.perturbations.axes import AXES, Scene, SceneAxis
from envs.tabletop.simulation import LOOKS, PHYSICS, Edits, load_scene
from simscaleai.errors import SimScaleError, UnknownNameError
from simscaleai.perturbation import Axis, Magnitude, axis_stream, with_direction

if TYPE_CHECKING:
    from envs.tabletop.tasks.task import Task


@dataclass(frozen=True)
class Perturbation:
    """What is changed in one episode."""

    seed: int
    """Seed of the episode, from which all directions are drawn."""
    magnitudes: Mapping[str, Magnitude]
    """Name of each axis to its magnitude, not 0."""

    def edits(self, scene: str) -> Edits:
        """Return what the perturbation changes in the model of `scene`: the new values of each changed field."""
        import mujoco

        if not any(AXES[name].change_model for name in self.magnitudes):
            return {}
        nominal = load_scene(scene)
        changed = Scene(copy.deepcopy(nominal), nominal)
        for axis, amount, stream in self._amounts():
            if axis.change_model:
                axis.change_model(changed, amount, stream)
        if any((attrgetter(field)(changed.model) != attrgetter(field)(nominal)).any() for field in PHYSICS):
            mujoco.mj_setConst(changed.model, mujoco.MjData(changed.model))  # what the engine derives from masses
        fields = {field: attrgetter(field) for field in (*LOOKS, *PHYSICS)}
        return {
            field: get(changed.model).copy()
            for field, get in fields.items()
            if (get(changed.model) != get(nominal)).any()
        } | changed.extra

    def change_start(self, task: Task, slot: int) -> None:
        """Change the episode that has just begun in `slot`."""
        for axis, amount, stream in self._amounts():
            if axis.change_start:
                axis.change_start(task, slot, amount, stream)

    def _amounts(self) -> list[tuple[SceneAxis, float, np.random.Generator]]:
        """Return each axis that is perturbed, its magnitude with the sign, and the random stream for the rest."""
        found = []
        for name, axis in AXES.items():
            if name in self.magnitudes:
                stream = axis_stream(self.seed, name)
                found.append((axis, with_direction(axis.axis, self.magnitudes[name], stream), stream))
        return found


def axes_of(scene: str) -> tuple[Axis, ...]:
    """Return the axes that fit `scene`, the stem of an MJCF under assets/."""
    model = load_scene(scene)
    return tuple(each.axis for each in AXES.values() if each.fits(model))


def read_perturbation(axes: tuple[Axis, ...], seed: int, given: object) -> Perturbation | None:
    """Return the perturbation that the start option "perturbation" asks for, or None if it changes nothing.

    Args:
        axes: Axes of the environment.
        seed: Seed of the episode.
        given: Mapping from the name of an axis to a magnitude in its unit; see `Magnitude`. 0 changes nothing.

    Raises:
        UnknownNameError: If the environment has no such axis.
        SimScaleError: If a magnitude is not a number, or not possible.
    """
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise SimScaleError(f"expected a mapping from axis to magnitude as start option 'perturbation', got {given!r}")
    named = {axis.name: axis for axis in axes}
    for name, magnitude in given.items():
        if name not in named:
            raise UnknownNameError("axis of the scene", name, named)
        _check(named[name], magnitude)
    magnitudes = {name: magnitude for name, magnitude in given.items() if float(magnitude)}
    return Perturbation(seed, magnitudes) if magnitudes else None


def _check(axis: Axis, magnitude: object) -> None:
    """Raise `SimScaleError` unless `magnitude` is a number or a text with a sign, and possible for `axis`."""
    amount = _number(magnitude)
    most = math.inf if axis.limit is None else axis.limit
    least = -most if axis.is_signed else 0.0
    proper = not isinstance(magnitude, str) or (axis.is_signed and magnitude.strip()[:1] in ("+", "-"))
    if not (proper and least <= amount <= most):
        signs = ', or a text with a sign such as "+1",' if axis.is_signed else ""
        raise SimScaleError(
            f"axis {axis.name!r} needs a number{signs} from {least:g} to {most:g} {axis.unit}".rstrip()
            + f", got {magnitude!r}"
        )


def _number(magnitude: object) -> float:
    """Return `magnitude` as a number; NaN if it is none."""
    if isinstance(magnitude, bool) or not isinstance(magnitude, float | int | str | np.number):
        return math.nan
    try:
        return float(magnitude)
    except ValueError:
        return math.nan
