"""Findings about one policy in a battery: success over level, drop, area, halving level, ceilings, pairs of axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from eval.battery.cells import Cell, Outcomes
from eval.episodes.battery import CONTROL, Arm
from eval.statistics.multiplicity import holm
from eval.statistics.rates import LEVEL
from eval.statistics.robustness import Cells, Estimate, Halving, area_weights, halving, matched_exact
from simscaleai.perturbation import LEVELS, Axis

Ceiling = Literal["run", "control", "none"]
"""Where the expert's success rate at a level comes from: its own episodes at this level; its control, because what the
axis changes does not reach it; or nowhere, because there is no expert, or its run is not complete."""


@dataclass(frozen=True, kw_only=True)
class AxisFindings:
    """One axis over its levels, compared with the same starts unperturbed."""

    axis: Axis
    cells: Mapping[int, Cell]
    """Level to the episodes at this level, with the control at level 0."""
    drops: Mapping[int, Estimate]
    """Level above 0 to the success rate minus that of the control (Newcombe, paired)."""
    drop: Estimate
    """Mean success rate over the levels above 0, minus that of the control."""
    p_value: float
    """Exact p-value of "the axis changes nothing", over all its levels."""
    holm_p: float
    """`p_value` adjusted for all axes of the battery."""
    area: Estimate
    """Area under success over level, divided by the distance of the levels."""
    halving: Halving
    """Level at which the success rate is half of that of the control."""
    ceiling: Ceiling
    ceilings: Mapping[int, Cell]
    """Level to the expert's episodes; empty without an expert."""

    @property
    def is_significant(self) -> bool:
        """Whether the axis changes the success rate, also after the adjustment for several axes."""
        return self.holm_p <= 1 - LEVEL

    @property
    def halving_magnitude(self) -> float | None:
        """Magnitude at which the success rate halves; None if it does not."""
        return None if self.halving.at is None else magnitude_at(self.axis, self.halving.at)


@dataclass(frozen=True, kw_only=True)
class PairFindings:
    """Two axes at once, compared with each alone."""

    arm: Arm
    cell: Cell
    parts: tuple[Cell, Cell]
    """The episodes with one of the two perturbations each."""
    excess: Estimate
    """Success rate of the pair minus the one expected if the two drops added up. Below 0, the pair fails more than its
    parts. The confidence level of its interval is adjusted for the number of pairs (Bonferroni)."""

    @property
    def fails_more(self) -> bool:
        """Whether the pair fails more often than the sum of its parts, also among several pairs."""
        return self.excess.high < 0


@dataclass(frozen=True, kw_only=True)
class BatteryFindings:
    """What a battery found about one policy."""

    tested: Outcomes
    expert: Outcomes | None
    """The expert on the same starts; None if there is no expert, or its run is not complete."""
    axes: tuple[AxisFindings, ...]
    pairs: tuple[PairFindings, ...]

    @property
    def control(self) -> Cell:
        """The unperturbed episodes."""
        return self.tested.control

    @property
    def worst(self) -> AxisFindings | None:
        """The axis with the largest significant drop; None if no drop is significant."""
        falling = [each for each in self.axes if each.is_significant and each.drop.value < 0]
        return min(falling, key=lambda each: each.drop.value, default=None)


def find(tested: Outcomes, expert: Outcomes | None) -> BatteryFindings:
    """Return the findings about the policy of `tested`.

    Args:
        tested: Its episodes.
        expert: Those of the expert on the same starts; None if there is no expert, or its run is not complete.
    """
    axes = tested.battery.axes
    p_values = [_p_value(tested, axis) for axis in axes]
    return BatteryFindings(
        tested=tested,
        expert=expert,
        axes=tuple(
            _axis_findings(tested, expert, axis, p_value, adjusted)
            for axis, p_value, adjusted in zip(axes, p_values, holm(p_values), strict=True)
        ),
        pairs=tuple(_pair_findings(tested, arm) for arm in tested.battery.pairs),
    )


def magnitude_at(axis: Axis, level: float) -> float:
    """Return the magnitude of `axis` at a level that may lie between two levels."""
    return float(np.interp(level, LEVELS, [axis.magnitude(each) for each in LEVELS]))


def _names(tested: Outcomes, axis: Axis) -> list[str]:
    return [arm.name for arm in tested.battery.arms_of(axis)]


def _p_value(tested: Outcomes, axis: Axis) -> float:
    outcomes = tested.outcomes([CONTROL, *_names(tested, axis)])
    return matched_exact(outcomes[:, 0], outcomes[:, 1:])


def _axis_findings(
    tested: Outcomes, expert: Outcomes | None, axis: Axis, p_value: float, adjusted: float
) -> AxisFindings:
    levels, names = (0, *tested.battery.levels), [CONTROL, *_names(tested, axis)]
    cells = Cells(tested.outcomes(names))
    contrasts = np.eye(len(names)) - np.eye(len(names))[0]
    return AxisFindings(
        axis=axis,
        cells={level: tested.cell(name) for level, name in zip(levels, names, strict=True)},
        drops={level: cells.combination(row) for level, row in zip(levels[1:], contrasts[1:], strict=True)},
        drop=cells.combination(contrasts[1:].mean(axis=0)),
        p_value=p_value,
        holm_p=adjusted,
        area=cells.combination(area_weights(levels)),
        halving=halving(cells, levels),
        ceiling=_ceiling(expert, axis),
        ceilings=_ceilings(expert, levels, names),
    )


def _ceiling(expert: Outcomes | None, axis: Axis) -> Ceiling:
    if expert is None:
        return "none"
    return "run" if axis in expert.battery.axes else "control"


def _ceilings(expert: Outcomes | None, levels: Sequence[int], names: Sequence[str]) -> dict[int, Cell]:
    if expert is None:
        return {}
    return {
        level: expert.cell(name if expert.has(name) else CONTROL) for level, name in zip(levels, names, strict=True)
    }


def _pair_findings(tested: Outcomes, arm: Arm) -> PairFindings:
    parts = [f"{axis}={level}" for axis, level in arm.levels.items()]
    confidence = 1 - (1 - LEVEL) / len(tested.battery.pairs)
    excess = Cells(tested.outcomes([CONTROL, *parts, arm.name]), confidence).combination([1, -1, -1, 1])
    first, second = map(tested.cell, parts)
    return PairFindings(arm=arm, cell=tested.cell(arm.name), parts=(first, second), excess=excess)
