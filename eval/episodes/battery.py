"""The design of a robustness battery: axes, levels, and the arms in which every start is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from simscaleai.errors import SimScaleError
from simscaleai.perturbation import LEVELS, Axis

CONTROL = "control"
"""What reports call the unperturbed starts. Their episodes have no arm, so their lines are those of a plain run."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One cell of a battery: every start, with the same perturbation."""

    name: str
    """Name, for example "light.intensity=3": what `--perturb` takes. A space stands between two axes."""
    levels: Mapping[str, int]
    """Name of each perturbed axis to its level, 1 to 5."""
    perturbation: Mapping[str, float]
    """Name of each perturbed axis to its magnitude, in the unit of the axis."""


@dataclass(frozen=True, kw_only=True)
class Battery:
    """Which perturbations are tested: each axis alone at each level, and perhaps pairs of axes at one level."""

    axes: tuple[Axis, ...] = ()
    """Axes with their units and magnitudes; none if only the unperturbed starts run."""
    levels: tuple[int, ...] = LEVELS[1:]
    """Levels above 0, increasing."""
    pair_level: int | None = None
    """Level at which all pairs of axes are combined; None without pairs."""

    has_expert: bool = False
    """Whether the privileged expert runs the arms that concern it, in a run of its own."""

    untested: tuple[str, ...] = ()
    """Names of the axes that this environment also has, and that do not run."""

    def __post_init__(self) -> None:
        """Check the levels, because they may come from a damaged file."""
        if list(self.levels) != sorted({*self.levels} & {*LEVELS[1:]}):
            raise SimScaleError(f"expected increasing levels from {LEVELS[1]} to {LEVELS[-1]}, got {self.levels}")
        if self.pair_level not in (None, *self.levels):
            raise SimScaleError(
                f"expected pairs at one of the levels {' '.join(map(str, self.levels))}, whose parts are run alone; "
                f"got {self.pair_level}"
            )

    def arms_of(self, axis: Axis) -> tuple[Arm, ...]:
        """Return the arms in which only `axis` is perturbed, one for each level."""
        return tuple(_arm((axis,), level) for level in self.levels)

    @property
    def pairs(self) -> tuple[Arm, ...]:
        """The arms in which two axes are perturbed, which change different things."""
        if self.pair_level is None:
            return ()
        pairs = combinations(self.axes, 2)
        return tuple(_arm((one, other), self.pair_level) for one, other in pairs if not one.overlaps(other))

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All arms except the control."""
        return (*(arm for axis in self.axes for arm in self.arms_of(axis)), *self.pairs)


def _arm(axes: Sequence[Axis], level: int) -> Arm:
    return Arm(
        name=" ".join(f"{axis.name}={level}" for axis in axes),
        levels={axis.name: level for axis in axes},
        perturbation={axis.name: axis.magnitude(level) for axis in axes},
    )
