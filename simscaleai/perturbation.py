"""`Axis`, one way to change an episode by a physical magnitude, and how users write magnitudes and levels.

An environment offers the axes of its scene (`EnvSpec.axes`). Probes between environment and policy have axes of their
own, for any environment. The magnitude 0 changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simscaleai.errors import SimScaleError

LEVELS = (0, 1, 2, 3, 4, 5)
"""Levels of every axis. Level 0 changes nothing."""

Changes = Literal["looks", "physics", "observation", "action", "words", "time"]
"""What an axis changes: how the scene looks; how it moves or where it starts; the observations that a policy gets; the
actions that an environment gets; the instruction; or when actions arrive."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One way to change an episode, with five levels of a physical magnitude."""

    name: str
    """Name, for example "camera.azimuth". The part before the first dot is the group of the axis."""
    unit: str
    """Unit of the magnitude, for example "deg"; "" for a number without a unit."""
    magnitudes: tuple[float, float, float, float, float]
    """Magnitude of the levels 1 to 5, above 0 and increasing."""
    changes: Changes
    """What the axis changes. The result of a policy that gets simulator truth does not depend on looks."""
    is_signed: bool
    """Whether the axis has two directions. A signed magnitude such as +15 fixes the direction; otherwise, the seed of
    the episode draws it."""
    summary: str
    """What a magnitude means, in one sentence."""
    limit: float | None = None
    """Largest magnitude that is possible; None if there is no limit."""

    def __post_init__(self) -> None:
        """Check that the magnitudes increase, because they may come from a damaged file."""
        ordered = sorted({0.0, *self.magnitudes})
        if ordered != [0.0, *self.magnitudes]:
            raise SimScaleError(f"expected increasing magnitudes above 0 for axis {self.name!r}, got {self.magnitudes}")

    @property
    def group(self) -> str:
        """Group of the axis, for example "camera" for "camera.azimuth"."""
        return self.name.partition(".")[0]

    @property
    def is_of_one_camera(self) -> bool:
        """Whether the axis is limited to one camera, as "image.blur.wrist"."""
        return self.name.count(".") >= 2

    def overlaps(self, other: Axis) -> bool:
        """Return whether both are one axis, or one is the other limited to a camera, as "image.blur.wrist"."""
        one, two = f"{self.name}.", f"{other.name}."
        return one.startswith(two) or two.startswith(one)

    def magnitude(self, level: int) -> float:
        """Return the magnitude of `level`, 0 to 5."""
        return (0.0, *self.magnitudes)[level]


Magnitude = float | str
"""Magnitude of an axis in its unit, as a plan holds it. For a signed axis, a number above 0 lets the seed of the
episode draw the direction. A negative number, or a text with a sign such as "+15", fixes the direction."""


def magnitude_in(perturbation: Mapping[str, Magnitude] | None, axis: Axis) -> float:
    """Return the magnitude of `axis` in the perturbation of an episode; 0 if the axis is not perturbed."""
    return float((perturbation or {}).get(axis.name, 0.0))


def axis_stream(seed: int, name: str) -> np.random.Generator:
    """Return the random stream of the axis `name` in the episode `seed`. It is independent of all other streams."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=tuple(name.encode()))))


def with_direction(axis: Axis, magnitude: Magnitude, stream: np.random.Generator) -> float:
    """Return `magnitude` with its sign. If none is given and the axis has two directions, `stream` draws the sign."""
    if not axis.is_signed:
        return float(magnitude)
    drawn = (1.0, -1.0)[int(stream.integers(2))]  # drawn in any case, so that the rest of the stream stays the same
    is_fixed = isinstance(magnitude, str) or magnitude < 0
    return float(magnitude) if is_fixed else drawn * float(magnitude)
