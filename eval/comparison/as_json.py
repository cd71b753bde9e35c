"""Converts a comparison of two runs to JSON data: all of it, or the findings that a record holds."""

from __future__ import annotations

from typing import Any

from eval.comparison.outcome import Comparison
from eval.comparison.replay import replay_both
from eval.runs.schema.stopping import Findings
from eval.statistics.rates import Interval


def comparison_to_json(comparison: Comparison) -> dict[str, Any]:
    """Return all findings of a comparison as plain JSON data; rates and differences are fractions.

    If a rule may have stopped a run early, figures for a fixed number of pairs are None (`p_value`, `newcombe_95`,
    `wilson_95`, `smallest_difference`). Otherwise figures that are valid at every look are None (`inverse_e_value`,
    `difference_sequence_95`, `confidence_sequence_95`).
    """
    conditions, sequential = comparison.a.conditions, comparison.sequential
    return {
        "verdict": comparison.verdict.value,
        "environment": conditions.environment,
        "terminate_on_success": conditions.terminates_on_success,
        "episodes": comparison.counts.n,
        **_sides(comparison),
        "pairs": comparison.counts._asdict(),
        "difference": comparison.counts.difference,
        **_interval("newcombe_95", "difference_sequence_95", comparison.interval, sequential=sequential),
        "difference_had_errors_run": list(comparison.difference_had_errors_run),
        "p_value": comparison.p_value,
        "inverse_e_value": comparison.inverse_e_value if sequential else None,
        "smallest_difference": comparison.smallest_difference,
        "margin": comparison.margin,
        "discordant": [
            {"seed": pair.a.seed, "a": pair.a.to_json(), "b": pair.b.to_json()} for pair in comparison.discordant
        ],
        "replay": replay_both(comparison.a, comparison.b, [pair.a for pair in comparison.discordant]),
        **_tasks(comparison),
        "warnings": list(comparison.warnings),
    }


def _tasks(comparison: Comparison) -> dict[str, Any]:
    """Return the findings for each task of a suite; nothing for a single task."""
    if not comparison.by_task:
        return {}
    return {
        "tasks": {
            task: {
                "pairs": each.counts._asdict(),
                "difference": each.counts.difference,
                "newcombe_95": list(each.interval[:2]),
                "p_value": each.p_value,
                "holm_p": comparison.holm_p_by_task[task],
            }
            for task, each in comparison.by_task.items()
        }
    }


def findings_of(comparison: Comparison) -> Findings:
    """Return the findings that the record of run B holds about its reference A."""
    low, high, _ = comparison.interval
    return Findings(
        verdict=comparison.verdict.value,
        pairs=comparison.counts._asdict(),
        difference=comparison.counts.difference,
        difference_sequence_95=(low, high),
        inverse_e_value=comparison.inverse_e_value,
    )


def _sides(comparison: Comparison) -> dict[str, Any]:
    counts = comparison.counts
    successes = (counts.successes_a, counts.successes_b)
    sides = zip("ab", (comparison.a, comparison.b), successes, comparison.errors, comparison.rates, strict=True)
    return {
        name: {
            "folder": str(run.folder),
            "model": run.record.policy.model,
            "identity": run.record.policy.identity,
            "interventions": list(run.interventions),
            "perturbations": dict(run.record.perturbations),
            "successes": count,
            "sequential": run.record.to_json()["sequential"],
            "errors": errors,
            "success_rate": count / counts.n,
            **_interval("wilson_95", "confidence_sequence_95", interval, sequential=comparison.sequential),
        }
        for name, run, count, errors, interval in sides
    }


def _interval(fixed: str, anytime: str, interval: Interval, *, sequential: bool) -> dict[str, Any]:
    ends = [interval.low, interval.high]
    return {fixed: None if sequential else ends, anytime: ends if sequential else None}
