"""Findings of a battery, and comparisons of two, as JSON data. Rates and differences are fractions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval.battery.battery_run import BatteryRun
from eval.battery.cells import Cell
from eval.battery.comparison import BatteryComparison, compare_batteries
from eval.battery.differences import Difference, option_differences
from eval.battery.findings import AxisFindings, PairFindings
from eval.battery.reading import BatteryFolder
from eval.battery.wording import limits
from eval.statistics.robustness import Estimate


def battery_to_json(battery: BatteryFolder) -> dict[str, Any]:
    """Return all findings of a battery: the policy, its options, and further policies with their comparisons."""
    differences = option_differences(battery.tested.outcomes, battery.option_outcomes)
    comparisons = [compare_batteries(battery.tested.run, other.run) for other in battery.policies]
    return {
        **_policy(battery, battery.tested),
        "options": {
            each.name: _cell(battery.options[each.name].outcomes.control) | {"less_control": _difference(each)}
            for each in differences
        },
        "policies": [_policy(battery, other) for other in battery.policies],
        "comparisons": [battery_comparison_to_json(comparison) for comparison in comparisons],
    }


def _policy(battery: BatteryFolder, policy: BatteryRun) -> dict[str, Any]:
    findings, run = battery.findings(policy), policy.run
    return {
        **_side(policy),
        "environment": run.conditions.environment,
        "starts": findings.control.n,
        "seeds": list(policy.outcomes.seeds),
        "levels": list(policy.outcomes.battery.levels),
        "complete": run.is_complete,
        "errors": policy.outcomes.errors,
        "control": _cell(findings.control),
        "expert": _cell(findings.expert.control) if findings.expert else None,
        "axes": [_axis(axis) for axis in findings.axes],
        "pairs": [_pair(pair) for pair in findings.pairs],
        "largest_drop": findings.worst.axis.name if findings.worst else None,
        "not_covered": list(limits(findings)),
    }


def battery_comparison_to_json(comparison: BatteryComparison) -> dict[str, Any]:
    """Return all findings of a comparison of two policies in the same battery."""
    errors_a, errors_b = comparison.errors
    return {
        "verdict": comparison.verdict.value,
        "environment": comparison.a.run.conditions.environment,
        "starts": comparison.a.outcomes.control.n,
        "levels": list(comparison.a.outcomes.battery.levels),
        "a": _side(comparison.a) | {"errors": errors_a},
        "b": _side(comparison.b) | {"errors": errors_b},
        "control": _difference(comparison.control),
        "axes": {difference.name: _difference(difference) for difference in comparison.axes},
        "overall": _difference(comparison.overall),
        "margin": comparison.margin,
        "warnings": list(comparison.warnings),
    }


def _side(side: BatteryRun) -> dict[str, Any]:
    policy = side.run.record.policy
    return {"folder": str(side.run.folder), "model": policy.model, "identity": policy.identity}


def _axis(axis: AxisFindings) -> dict[str, Any]:
    return {
        "name": axis.axis.name,
        "unit": axis.axis.unit,
        "changes": axis.axis.changes,
        "levels": {
            str(level): {
                "magnitude": axis.axis.magnitude(level),
                **_cell(cell),
                "drop": _estimate(axis.drops.get(level)),
                "ceiling": _cell(axis.ceilings[level]) if axis.ceilings else None,
            }
            for level, cell in axis.cells.items()
        },
        "ceiling": axis.ceiling,
        "drop": _estimate(axis.drop),
        "p_value": axis.p_value,
        "holm_p": axis.holm_p,
        "area": _estimate(axis.area),
        "halving": axis.halving._asdict() | {"magnitude": axis.halving_magnitude},
    }


def _pair(pair: PairFindings) -> dict[str, Any]:
    return {
        "arm": pair.arm.name,
        **_cell(pair.cell),
        "parts": {part.arm: _cell(part) for part in pair.parts},
        "excess": _estimate(pair.excess),
        "fails_more": pair.fails_more,
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "n": cell.n,
        "successes": cell.successes,
        "success_rate": cell.rate,
        "wilson_95": list(cell.interval[:2]),
        "errors": cell.errors,
        "failures": cell.failures,
    }


def _estimate(estimate: Estimate | None) -> Mapping[str, float] | None:
    return None if estimate is None else estimate._asdict()


def _difference(difference: Difference) -> dict[str, Any]:
    return {
        "rate_a": difference.rate_a,
        "rate_b": difference.rate_b,
        "difference": _estimate(difference.estimate),
        "p_value": difference.p_value,
        "holm_p": difference.holm_p,
    }
