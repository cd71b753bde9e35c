"""What the record keeps and people read of a run that ends when it has seen enough."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from eval.comparison import Comparison, Run, Verdict, compare
from eval.comparison_text import extent_text, finding_rows
from eval.percentage import points_text
from eval.planning import RunPlan
from eval.results import EPISODES_FILE, RunRecord
from eval.stopping import Stopping

Sequential = dict[str, Any]
"""JSON data: `rule` and `threshold` (see `eval.stopping.StoppingRule`), `vs` (folder and digest of the other run's
episodes, or None), `limit` (the most episodes there may be), `episodes` (how many counted), `decided` (whether the rule
held then) and `saved` (how many were not needed). For `until_decided`, when the run is over, also what was found:
`verdict`, `pairs`, `difference`, `difference_sequence_95` and `inverse_e_value`."""


def sequential_record(plan: RunPlan, stopping: Stopping | None) -> Sequential | None:
    """Return how far the run has come; None if nothing ends it before its plan."""
    if plan.rule is None:
        return None
    n, limit = (stopping.n if stopping else 0), len(plan.specs)
    decided = bool(stopping and stopping.has_seen_enough)
    return {
        "rule": plan.rule.name,
        "threshold": plan.rule.threshold,
        "vs": None if plan.reference is None else _reference_to_json(plan.reference),
        "limit": limit,
        "episodes": n,
        "decided": decided,
        "saved": limit - n if decided else 0,
    }


def compare_with_reference(plan: RunPlan, run: Run) -> Comparison | None:
    """Return how a run until decided compares with the other one; None for other runs, and before it is over."""
    if plan.reference is None or plan.rule is None or not run.is_complete:
        return None
    return compare(plan.reference, run)


def findings_to_json(comparison: Comparison) -> Sequential:
    """Return what `comparison` adds to the record."""
    return {
        "verdict": comparison.verdict.value,
        "pairs": comparison.counts._asdict(),
        "difference": comparison.counts.difference,
        "difference_sequence_95": list(comparison.interval[:2]),
        "inverse_e_value": comparison.inverse_e_value,
    }


def sequential_rows(record: RunRecord, comparison: Comparison | None) -> Iterator[tuple[str, str]]:
    """Yield name and text of what a run that ends when it has seen enough says, besides its success rate."""
    if not record.sequential:
        return
    yield "stopping", f"{_reason_text(record)}; the run {extent_text(record.sequential)}"
    if comparison:
        yield from finding_rows(comparison)
        if comparison.verdict is Verdict.UNDECIDED and not comparison.hinges_on_errors:
            yield "undecided", f"{comparison.counts.n} episodes did not suffice, and that they are equal is not shown"


def _reason_text(record: RunRecord) -> str:
    sequential, summary = record.sequential or {}, record.summary or {}
    if sequential["vs"]:
        return f"at {sequential['threshold']:.2g} against {sequential['vs']['folder']} (A)"
    low, high = summary["confidence_sequence_95"]
    return f"interval {points_text(high - low)} pp wide, {points_text(sequential['threshold'])} pp wanted"


def _reference_to_json(reference: Run) -> dict[str, str]:
    digest = hashlib.sha256((reference.folder / EPISODES_FILE).read_bytes()).hexdigest()
    return {"folder": str(reference.folder), "episodes_sha256": digest}
