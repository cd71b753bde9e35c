"""Perturbations that a user asks for: parsing `--perturb AXIS=LEVEL …`, and the plan in which every episode has them.

    python -m eval.rollout --model vla --env pick-place --perturb light=3 camera.azimuth=15deg

An integer is a level, 0 to 5. A number with a unit is a magnitude. A sign fixes the direction of an axis that has two;
otherwise, the seed of the episode draws the direction. The name of a group sets all axes of the group to a level. In a
collection, `light=0..3` draws the magnitude of each axis anew for every episode.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from eval.episodes.plan import EpisodeSpec
from simscaleai.errors import SimScaleError, UnknownNameError
from simscaleai.perturbation import LEVELS, Axis, Magnitude, axis_stream

_INTEGER = re.compile(r"([+-]?)([0-9]+)")
_RANGE = re.compile(r"([0-9]+)\.\.([0-9]+)")
_MAGNITUDE = re.compile(r"([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)([^0-9]*)")


class PerturbationError(SimScaleError):
    """A perturbation that cannot be read, is not possible, or would change nothing."""


@dataclass(frozen=True)
class Setting:
    """What a user asks of one axis."""

    axis: Axis
    text: str
    """The words of the user, for example "light=3". They may set other axes, too."""
    low: float
    """Smallest magnitude, at least 0."""
    high: float
    """Largest magnitude. If it is above `low`, the seed of an episode draws the magnitude, uniformly."""
    sign: str = ""
    """"+" or "-" for a fixed direction; "" if the seed of an episode draws the direction."""

    def magnitude(self, seed: int) -> Magnitude:
        """Return the magnitude in the episode `seed`; see `EpisodeSpec.perturbation`."""
        size = self.low
        if self.high > self.low:
            size = float(axis_stream(seed, f"{self.axis.name} magnitude").uniform(self.low, self.high))
        return -size if self.sign == "-" else f"+{size!r}" if self.sign else size

    def meaning(self) -> str:
        """Return in words what is set."""
        size = f"{self.low:g}" if self.low == self.high else f"{self.low:g} to {self.high:g}"
        return f"{self.axis.name} {self.sign}{size} {self.axis.unit}".rstrip()


@dataclass(frozen=True)
class Perturbations:
    """Settings of axes, each axis at most once. An axis whose magnitude is 0 is left out."""

    settings: tuple[Setting, ...] = ()

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes that are set."""
        return tuple(setting.axis for setting in self.settings)

    def meanings(self) -> dict[str, str]:
        """Return each text of the user with its meaning: axes, magnitudes and units."""
        meanings: dict[str, list[str]] = {}
        for setting in self.settings:
            meanings.setdefault(setting.text, []).append(setting.meaning())
        return {text: ", ".join(parts) for text, parts in meanings.items()}

    def meaning(self) -> str:
        """Return in words what is changed; "" if nothing is."""
        return "; ".join(self.meanings().values())

    def planned(self, plan: Sequence[EpisodeSpec]) -> tuple[EpisodeSpec, ...]:
        """Return `plan` with the perturbation in every episode, as a new arm."""
        return tuple(self._planned_episode(spec) for spec in plan) if self.settings else tuple(plan)

    def _planned_episode(self, spec: EpisodeSpec) -> EpisodeSpec:
        drawn = {setting.axis.name: setting.magnitude(spec.seed) for setting in self.settings}
        return replace(spec, arm=" ".join(self.meanings()), perturbation=drawn)


def parse_perturbations(texts: Sequence[str], axes: Mapping[str, Axis], *, allow_ranges: bool = False) -> Perturbations:
    """Return the perturbations in `texts`, for example "light=3", "camera.azimuth=-15deg".

    Args:
        texts: Words of the user, each `AXIS=VALUE` or `GROUP=LEVEL`.
        axes: Axes that exist, by name.
        allow_ranges: Whether a value may be a range of levels, `0..3`, from which every episode draws.

    Raises:
        UnknownNameError: If there is no such axis or group.
        PerturbationError: If a value cannot be read or is not possible, or an axis is set twice.
    """
    settings = [setting for text in texts for setting in _parse(text, axes, allow_ranges)]
    for one, other in combinations(settings, 2):
        if one.axis.overlaps(other.axis):
            raise PerturbationError(
                f"expected one setting of the axis {one.axis.name}, got {one.text} and {other.text}; leave one out"
            )
    return Perturbations(tuple(setting for setting in settings if setting.high))


def _parse(text: str, axes: Mapping[str, Axis], allow_ranges: bool) -> list[Setting]:
    name, equals, value = text.partition("=")
    if not (equals and value.strip()):
        raise PerturbationError(f"expected AXIS=LEVEL or AXIS=MAGNITUDE, got {text!r}; for example {name or 'light'}=3")
    return [_parse_value(axis, text, value.strip(), allow_ranges) for axis in find_axes(name, axes)]


def find_axes(name: str, axes: Mapping[str, Axis]) -> list[Axis]:
    """Return the axis `name`, or the axes of the group `name`."""
    if name in axes:
        return [axes[name]]
    whole = {axis.name: axis for axis in axes.values() if not axis.is_of_one_camera}
    group = [axis for axis in whole.values() if axis.group == name]
    if not group:
        shown = axes if name.count(".") == 2 else [*dict.fromkeys(axis.group for axis in whole.values()), *whole]
        raise UnknownNameError("axis", name, shown)
    return group


def _parse_value(axis: Axis, text: str, value: str, allow_ranges: bool) -> Setting:
    if drawn := _RANGE.fullmatch(value):
        if not allow_ranges:
            raise PerturbationError(
                f"expected one level, got the range {text!r}; only eval.collect draws from a range of levels"
            )
        first, last = (_checked_level(axis, text, int(level)) for level in drawn.groups())
        if first > last:
            raise PerturbationError(f"expected a range from the lower to the higher level, got {text!r}")
        return Setting(axis, text, axis.magnitude(first), axis.magnitude(last))
    if level := _INTEGER.fullmatch(value):
        sign, size = level[1], axis.magnitude(_checked_level(axis, text, int(level[2])))
    else:
        sign, size = _parse_magnitude(axis, text, value)
    if sign and not axis.is_signed:
        raise PerturbationError(f"the axis {axis.name} has no direction, so its value has no sign; got {text!r}")
    return Setting(axis, text, size, size, sign)


def _checked_level(axis: Axis, text: str, level: int) -> int:
    if level not in LEVELS:
        raise PerturbationError(
            f"expected a level from {LEVELS[0]} to {LEVELS[-1]} for {axis.name}, or a magnitude such as "
            f"{_example(axis)}; got {text!r}"
        )
    return level


def _parse_magnitude(axis: Axis, text: str, value: str) -> tuple[str, float]:
    match = _MAGNITUDE.fullmatch(value)
    if not match or match[3].strip() != axis.unit:
        raise PerturbationError(
            f"expected a level from {LEVELS[0]} to {LEVELS[-1]} for {axis.name}, or a magnitude such as "
            f"{_example(axis)}; got {text!r}"
        )
    size = float(match[2])
    most = sys.float_info.max if axis.limit is None else axis.limit
    if size > most:
        raise PerturbationError(f"expected at most {most:g}{axis.unit} for {axis.name}, got {text!r}")
    return match[1], size


def _example(axis: Axis) -> str:
    size = axis.magnitudes[2]
    return f"{size:g}{axis.unit}" if axis.unit else f"{float(size)!r}"
