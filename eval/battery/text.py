"""Findings of a battery, and comparisons of two, as rows of text for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from eval.battery.battery_run import BatteryRun
from eval.battery.cells import Cell
from eval.battery.comparison import BatteryComparison, compare_batteries
from eval.battery.differences import option_differences
from eval.battery.findings import AxisFindings, PairFindings
from eval.battery.reading import BatteryFolder
from eval.battery.wording import (
    battery_verdict_text,
    ceiling_text,
    difference_text,
    drop_text,
    halving_text,
    largest_drop_text,
    levels_text,
    limits,
    no_ceiling_text,
    rates_text,
)
from eval.runs.run import seeds_text
from eval.statistics.percentage import points_text, rate_text
from eval.statistics.rates import Interval

Row = tuple[str, str]
"""Name and text."""

_MOST_FAILURES = 3


def folder_rows(battery: BatteryFolder) -> Iterator[Row]:
    """Yield the findings about the policy that is tested, its options, and further policies compared with it."""
    yield from battery_rows(battery)
    yield from option_rows(battery)
    for other in battery.policies:
        yield from battery_comparison_rows(compare_batteries(battery.tested.run, other.run))


def battery_rows(battery: BatteryFolder, policy: BatteryRun | None = None) -> Iterator[Row]:
    """Yield the findings about one policy: the control, each axis, pairs of axes, and what they do not cover.

    Args:
        battery: The battery.
        policy: One of its policies, by default the one that is tested.
    """
    policy = policy or battery.tested
    findings = battery.findings(policy)
    control, expert = findings.control, findings.expert
    yield "control", f"{_rate(control)} (Wilson), {seeds_text(control.results)}"
    yield "expert", f"{_rate(expert.control)} (Wilson)" if expert else no_ceiling_text(findings)
    for axis in findings.axes:
        yield from _axis_rows(axis)
    for pair in findings.pairs:
        yield from _pair_rows(pair)
    yield "largest drop", largest_drop_text(findings)
    if errors := policy.outcomes.errors:
        yield "errors", f"{errors} episodes could not be run and count as not successful; --resume runs them again"
    yield "not covered", "; ".join(limits(findings))


def option_rows(battery: BatteryFolder) -> Iterator[Row]:
    """Yield the unperturbed success rate with each other option, against that of the policy as it was tested."""
    for difference in option_differences(battery.tested.outcomes, battery.option_outcomes):
        control = battery.options[difference.name].outcomes.control
        against = f"{drop_text(difference.estimate)} against the control, p = {difference.holm_p:.2g} (Holm)"
        yield difference.name, f"{_rate(control)} (Wilson); {against}"


def battery_comparison_rows(comparison: BatteryComparison) -> Iterator[Row]:
    """Yield what was compared, the difference for each axis and overall, and the verdict."""
    for name, side in (("A", comparison.a), ("B", comparison.b)):
        policy = side.run.record.policy
        identity = f", identity {policy.identity[:12]}" if policy.identity else ""
        yield name, f"{side.run.folder}: {side.run.record.policy_text}{identity}"
    control, battery = comparison.a.outcomes.control, comparison.a.outcomes.battery
    environment, levels = comparison.a.run.conditions.environment, " ".join(map(str, battery.levels))
    yield "episodes", f"{environment}, {seeds_text(control.results)} in each arm, levels {levels}"
    for warning in comparison.warnings:
        yield "warning", warning
    yield "", ""
    for difference in (comparison.control, *comparison.axes, comparison.overall):
        yield difference.name, difference_text(difference)
    errors_a, errors_b = comparison.errors
    if errors_a or errors_b:
        yield "errors", f"{errors_a} episodes of A and {errors_b} of B could not be run and count as not successful"
    yield "verdict", battery_verdict_text(comparison.verdict, comparison.margin)


def _axis_rows(axis: AxisFindings) -> Iterator[Row]:
    cells = {level: cell for level, cell in axis.cells.items() if level}
    where = f"at level {' '.join(map(str, cells))} ({levels_text(axis.axis, list(cells))})"
    yield axis.axis.name, f"{rates_text(cells)} %   {where}; {ceiling_text(axis)}"
    area, low, high = map(points_text, axis.area[:3])
    drop = f"{drop_text(axis.drop)}, p = {axis.holm_p:.2g} (Holm)"
    yield "", f"{drop}; area {area} % [{low}, {high}]; {halving_text(axis)}"
    failures = sum((Counter(cell.failures) for cell in cells.values()), Counter[str]())
    yield "", ", ".join(f"{name} {count}" for name, count in failures.most_common(_MOST_FAILURES))


def _pair_rows(pair: PairFindings) -> Iterator[Row]:
    alone = " and ".join(points_text(part.rate) for part in pair.parts)
    more = "fails more than its parts" if pair.fails_more else "no more than its parts"
    percent = f"{100 * pair.excess.level:.4g}"
    yield pair.arm.name, f"{_rate(pair.cell)} (Wilson); alone {alone} %"
    yield "", f"{drop_text(pair.excess)} beyond both drops added up ({percent} % interval): {more}"


def _rate(cell: Cell) -> str:
    return rate_text(*_counts(cell))


def _counts(cell: Cell) -> tuple[int, int, Interval]:
    return cell.successes, cell.n, cell.interval
