"""One line about a run, for the table of runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.episodes.plan import WHOLE
from eval.episodes.results import EpisodeResult
from eval.observers.plan_order import InPlanOrder
from eval.runs.record import RunRecord, Summary
from eval.runs.run import Run
from eval.statistics.sequential import rate_interval


def row_of(folder: Path, record: RunRecord, results: Sequence[EpisodeResult]) -> dict[str, Any]:
    """Return what the table says about a run, as plain JSON data.

    Args:
        folder: Folder of the run.
        record: Its record.
        results: Its episodes; not needed if the record has a summary.
    """
    source = record.source
    figures = _of_summary(record.summary) if record.summary else _so_far(record, results)
    return {
        "policy": record.policy.model,
        "checkpoint": record.policy.checkpoint,
        "environment": record.environment.env_id,
        "planned": Run(folder, record, ()).planned,
        "started": record.timing.started,
        "seconds": record.timing.seconds,
        "pace": record.timing.episodes_per_second,
        "commit": source.commit if source else None,
        "dirty": bool(source and source.dirty),
        "battery": record.battery is not None,
        "conditions": [*record.settings.policy_option, *record.interventions, *record.perturbations],
        "ended": record.summary is not None,
        **figures,
    }


def _of_summary(summary: Summary) -> dict[str, Any]:
    return {
        "planned": summary.planned,
        "n": summary.episodes,
        "done": summary.episodes,
        "successes": summary.successes,
        "rate": summary.success_rate,
        "interval": [summary.interval.low, summary.interval.high],
        "method": summary.method,
        "errors": summary.errors,
        "failures": dict(summary.failures),
        "tasks": len(summary.tasks),
    }


def _so_far(record: RunRecord, results: Sequence[EpisodeResult]) -> dict[str, Any]:
    """Return the figures of a run that goes on, or that was killed: those of the episodes before the first gap."""
    in_order, sequential = InPlanOrder(record.shard or WHOLE), record.sequential is not None
    due = [result for ended in results for result in in_order.add(ended)]
    if record.battery is not None:
        due = [result for result in due if result.arm is None]
    n, successes = len(due), sum(result.status == "success" for result in due)
    low, high, _ = rate_interval(successes, n, sequential=sequential)
    return {
        "n": n,
        "done": len(results),
        "successes": successes,
        "rate": successes / n if n else None,
        "interval": [low, high],
        "method": "confidence sequence, valid under stopping" if sequential else "Wilson",
        "errors": sum(result.status == "error" for result in due),
        "failures": dict(Counter(result.failure for result in due if result.failure).most_common()),
        "tasks": len({result.task for result in results if result.task is not None}),
    }
