"""Findings of a battery in words: drops, halving levels, ceilings, limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from eval.battery.cells import Cell
from eval.battery.differences import Difference
from eval.battery.findings import AxisFindings, BatteryFindings, magnitude_at
from eval.comparison.verdict import Verdict
from eval.statistics.percentage import points_text
from eval.statistics.robustness import Estimate
from simscaleai.perturbation import LEVELS, Axis, Changes

_UNSEEN: dict[Changes, str] = {"looks": "looks", "observation": "images", "words": "instructions"}
"""What an axis changes that does not reach an expert."""


def no_ceiling_text(findings: BatteryFindings) -> str:
    """Return, in words, why there is no expert beside the policy."""
    if findings.tested.battery.has_expert:
        return "no ceiling yet: the episodes of the expert are missing; --resume runs them"
    return "no ceiling: this environment has no expert"


def largest_drop_text(findings: BatteryFindings) -> str:
    """Return, in words, the axis with the largest significant drop."""
    worst = findings.worst
    if worst is None:
        return f"no axis lowers the success rate significantly (Holm, {len(findings.axes)} axes)"
    return f"{worst.axis.name}: {drop_text(worst.drop)} over its levels, p = {worst.holm_p:.2g} (Holm)"


def drop_text(drop: Estimate) -> str:
    """Return a difference of success rates with its interval, in percentage points."""
    low, high = (points_text(end, sign=True) for end in (drop.low, drop.high))
    return f"{points_text(drop.value, sign=True)} pp [{low}, {high}]"


def halving_text(axis: AxisFindings) -> str:
    """Return, in words, where the success rate is half of that of the control."""
    at, low, high = axis.halving
    if at is None and low is None:
        return "does not halve" if axis.cells[0].successes else "has no success to halve"
    ends = f"[{'…' if low is None else f'{low:.1f}'}, {'beyond' if high is None else f'{high:.1f}'}]"
    if at is None:
        return f"does not halve up to level {max(axis.cells)}, interval of the level {ends}"
    size = f"{magnitude_at(axis.axis, at):.3g} {axis.axis.unit}".rstrip()
    return f"halves at level {at:.1f} {ends} ({size})"


def levels_text(axis: Axis, levels: Sequence[int]) -> str:
    """Return the magnitudes of `levels`, with the unit."""
    return f"{' '.join(f'{axis.magnitude(level):g}' for level in levels)} {axis.unit}".rstrip()


def ceiling_text(axis: AxisFindings) -> str:
    """Return, in words, what the expert reaches on this axis."""
    if axis.ceiling == "none":
        return "no ceiling"
    if axis.ceiling == "control":
        return f"expert {points_text(axis.ceilings[0].rate)} %, {ceiling_reason(axis)}"
    return f"expert {rates_text({level: cell for level, cell in axis.ceilings.items() if level})} %"


def ceiling_reason(axis: AxisFindings) -> str:
    """Return, in words, why the expert's control stands for its success rate at every level; "" if it does not."""
    if axis.ceiling != "control":
        return ""
    return f"from its control, as it does not depend on {_UNSEEN[axis.axis.changes]}"


def limits(findings: BatteryFindings) -> Iterator[str]:
    """Yield what the battery does not show."""
    battery = findings.tested.battery
    if battery.untested:
        yield f"axes that were not run: {', '.join(battery.untested)}"
    missing = [str(level) for level in LEVELS[1:] if level not in battery.levels]
    yield f"levels {' '.join(missing)} and magnitudes beyond level 5" if missing else "magnitudes beyond level 5"
    if battery.pair_level is None:
        yield "several axes at once"
    yield f"differences that {findings.control.n} starts in each cell cannot show"
    yield "the real robot: one simulator, one robot, one rule of success"


def battery_verdict_text(verdict: Verdict, margin: float | None) -> str:
    """Return the verdict about B over all perturbed arms, in words."""
    if verdict is Verdict.NON_INFERIOR:
        return f"B is within the margin: no more than {points_text(margin or 0)} pp worse than A"
    if verdict is Verdict.UNDECIDED:
        return "cannot tell"
    return f"B is {verdict.value} than A over all perturbed arms"


def difference_text(difference: Difference) -> str:
    """Return a difference of two policies in words: both rates, the difference with its interval, the p-value."""
    rates = f"A {points_text(difference.rate_a):>5} %   B {points_text(difference.rate_b):>5} %"
    p = f"{difference.p_value:.2g}" if difference.holm_p is None else f"{difference.holm_p:.2g} (Holm)"
    return f"{rates}   B - A {drop_text(difference.estimate)}   p = {p}"


def rates_text(cells: Mapping[int, Cell]) -> str:
    """Return the success rates of `cells` in percent, without decimals."""
    return " ".join(f"{100 * cell.rate:3.0f}" for cell in cells.values())
