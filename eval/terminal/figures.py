"""Figures of a run as text for people."""

from __future__ import annotations

from eval.runs.record import Summary
from eval.runs.schema.seeds import SeedOverlap
from eval.statistics.percentage import points_text, rate_text
from eval.terminal.console import Row, rows_text


def format_summary(summary: Summary) -> str:
    """Return the figures as lines of text."""
    return rows_text(summary_rows(summary))


def summary_rows(summary: Summary) -> list[Row]:
    """Return the figures as rows, the success rate first."""
    n = summary.episodes
    runs_on = summary.success_held is not None
    headline = f"{rate_text(summary.successes, n, summary.interval, summary.success_rate)} ({summary.method})"
    rows = [("success at end" if runs_on else "success once", headline)]
    if runs_on:
        rows += [("success once", f"{summary.success_once}/{n}"), ("success held", f"{summary.success_held}/{n}")]
    for task, figures in summary.tasks.items():
        rows.append((f"  {task}", rate_text(figures.successes, figures.episodes, figures.wilson_95)))
    rows.append(("mean steps", f"{summary.mean_steps:.1f}"))
    if summary.errors:
        rows.append(("errors", f"{summary.errors}; {errors_text(summary)}"))
    rows += [(f"  {name}", str(count)) for name, count in summary.failures.items()]
    if n < summary.planned:
        text = f"{n} of {summary.planned} planned episodes count: those before the first unfinished one"
        rows.append(("incomplete", text))
    return rows


def errors_text(summary: Summary) -> str:
    """Return, in words, the bounds of the success rate if the episodes with errors had run."""
    low, high = map(points_text, (summary.success_rate, summary.rate_if_errors_succeeded))
    return f"they count as not successful; had they run, the success rate would be in [{low}, {high}] %"


def smallest_difference_text(summary: Summary) -> str:
    """Return the smallest detectable difference from another policy, in words.

    Returns "" if a rule may stop the run early, because then the number of episodes is not fixed.
    """
    n = summary.episodes
    if summary.is_sequential:
        return ""
    if summary.smallest_difference is None:
        return f"none is detectable: {n} episodes are too few"
    least = points_text(summary.smallest_difference)
    return f"{least} pp is detectable with 80 % power, paired with an equally good policy on the same {n} episodes"


def moved_object_text(summary: Summary) -> str:
    """Return, in words, how often a lifted object was the target."""
    moved = summary.moved_object
    if moved is None:
        return "no object was lifted in any episode"
    method = "confidence sequence" if summary.is_sequential else "Wilson"
    return f"{rate_text(moved.right, moved.n, moved.right_share_95)} ({method}, of the episodes with a lifted object)"


def overlap_text(overlap: SeedOverlap, planned: int) -> str:
    """Return the warning that the checkpoint was trained on seeds of a run with `planned` episodes."""
    low, high = min(overlap.seeds), max(overlap.seeds)
    seeds = f"seed {low}" if low == high else f"seeds {low} to {high}"
    trained = overlap.trained_on
    some = "" if overlap.is_certain else f" ({trained.count} of these seeds, which ones is not recorded)"
    return (
        f"{len(overlap.seeds)} of {planned} episodes, {seeds}, are in the range of seeds that the checkpoint was "
        f"trained on, {trained.first} to {trained.last}{some}: this is no test on new scenes"
    )
