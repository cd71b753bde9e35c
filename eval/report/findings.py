"""Computes the contents of a report from run folders: figures, comparisons, and their limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from eval.comparison.conditions import NotComparableError
from eval.comparison.outcome import Comparison
from eval.comparison.pairing import compare
from eval.comparison.text import finding_rows, sequential_rows
from eval.episodes.results import EpisodeResult
from eval.report.contents import ComparisonReport, Incomparable, Notice, Report, RunReport, by_environment
from eval.report.places import MOST_EPISODES, starting_places
from eval.runs.reading import read_run
from eval.runs.receipts import read_receipts
from eval.runs.record import Summary
from eval.runs.run import Run
from eval.runs.schema.stopping import Findings
from eval.runs.summary import summarise
from eval.statistics.multiplicity import holm
from eval.statistics.percentage import points_text
from eval.terminal.figures import errors_text, moved_object_text, overlap_text, smallest_difference_text
from simscaleai.errors import SimScaleError


def build_report(folders: Sequence[Path], *, with_places: bool = True) -> Report:
    """Return the report of the runs in `folders`. Each run is compared with the first run of its environment.

    Args:
        folders: Folders of runs.
        with_places: Whether to reset the environments of the runs for the positions at the start of episodes.

    Raises:
        ResultsError: If a folder holds no run, or a damaged one.
        SimScaleError: If no folder is given, or a folder is given twice.
    """
    _check_folders(folders)
    named = zip(_names(folders), folders, strict=True)
    runs = tuple(_run_report(name, read_run(folder), with_places=with_places) for name, folder in named)
    comparisons: list[tuple[RunReport, RunReport, Comparison]] = []
    incomparable: list[Incomparable] = []
    for a, b in _candidates(runs):
        try:
            comparisons.append((a, b, compare(a.run, b.run)))
        except NotComparableError as error:
            incomparable.append(Incomparable(a=a, b=b, differences=tuple(error.differences)))
    return Report(runs=runs, comparisons=tuple(_adjusted(comparisons)), incomparable=tuple(incomparable))


def _run_report(name: str, run: Run, *, with_places: bool) -> RunReport:
    if run.record.sequential:
        run = replace(run, results=tuple(_before_first_gap(run.results)))
    planned = max(run.planned, len(run.results))
    summary = summarise(run.results, planned, sequential=run.record.sequential is not None)
    return RunReport(
        name=name,
        run=run,
        summary=summary,
        receipts=tuple(read_receipts(run.folder)),
        places=starting_places(run.record.environment, run.results[:MOST_EPISODES]) if with_places else (),
        moved=moved_object_text(summary) if _has_choice_of_objects(run, summary) else "",
        notices=tuple(_notices(run, summary)),
        limits=tuple(_limits(run, summary)),
    )


def _before_first_gap(results: Sequence[EpisodeResult]) -> Iterator[EpisodeResult]:
    """Yield the results before the first gap in the plan. Episodes after a gap ended early, so most are successes."""
    for index, result in enumerate(results):
        if result.episode_index != index:
            return
        yield result


def _has_choice_of_objects(run: Run, summary: Summary) -> bool:
    moved = summary.moved_object
    return moved is not None and (moved.wrong > 0 or len({result.target for result in run.results}) > 1)


def _candidates(runs: Sequence[RunReport]) -> Iterator[tuple[RunReport, RunReport]]:
    """Yield the pairs to compare: the first run of each environment, and each of its other runs."""
    for first, *others in by_environment(runs).values():
        yield from ((first, other) for other in others)


def _adjusted(found: Sequence[tuple[RunReport, RunReport, Comparison]]) -> Iterator[ComparisonReport]:
    p_values = [_p_value(comparison) for _, _, comparison in found]
    for (a, b, comparison), p_value, adjusted in zip(found, p_values, holm(p_values), strict=True):
        yield ComparisonReport(
            a=a,
            b=b,
            comparison=comparison,
            rows=dict(finding_rows(comparison)),
            p_value=p_value,
            holm_p=adjusted if len(found) > 1 else None,
        )


def _p_value(comparison: Comparison) -> float:
    # min(1, 1 / e) is a p-value that is valid at every look, so it can be adjusted together with other p-values.
    return min(1.0, comparison.inverse_e_value) if comparison.p_value is None else comparison.p_value


def _names(folders: Sequence[Path]) -> list[str]:
    """Return a short name for each folder: the last parts of its path, as many as make all names unique."""
    parts = [folder.absolute().parts for folder in folders]
    depth = 1
    while len({part[-depth:] for part in parts}) < len(parts):
        depth += 1
    return ["/".join(part[-depth:]) for part in parts]


def _check_folders(folders: Sequence[Path]) -> None:
    if not folders:
        raise SimScaleError("expected at least one run folder, got none; for example runs/vla-pick-place-001")
    resolved = [folder.resolve() for folder in folders]
    for folder, path in zip(folders, resolved, strict=True):
        if resolved.count(path) > 1:
            raise SimScaleError(f"expected different run folders, got {folder} more than once; leave one out")


def _notices(run: Run, summary: Summary) -> Iterator[Notice]:
    record = run.record
    if not run.is_complete:
        yield Notice("Incomplete", _incomplete_text(summary))
    if record.sequential:
        for _, text in sequential_rows(record.sequential, summary, None):
            found = _findings_text(record.sequential.findings)
            yield Notice("Sequential run", f"{text[:1].upper()}{text[1:]}. {found}")
    if record.environment.repeats != "exact":
        yield Notice("Repetition", "The environment is not known to repeat itself exactly: a replay may differ.")
    if record.policy.simulator_truth:
        truth = ", ".join(record.policy.simulator_truth)
        yield Notice("Simulator truth", f"The policy gets {truth}, which a robot does not measure.")
    if record.seed_overlap:
        yield Notice("Seeds overlap", f"{overlap_text(record.seed_overlap, summary.planned)}.")
    if run.interventions:
        yield Notice("Intervention", f"{run.interventions_text}.")
    if run.perturbations:
        yield Notice("Perturbation", f"Every episode is perturbed: {run.perturbations_text}.")
    if summary.errors:
        yield Notice(
            "Errors", f"{summary.errors} of {summary.episodes} episodes could not be run; {errors_text(summary)}."
        )


def _incomplete_text(summary: Summary) -> str:
    if summary.episodes == summary.planned:
        return "All episodes have ended, but the run was killed before it wrote its summary; --resume completes it."
    return (
        f"{summary.episodes} of {summary.planned} planned episodes have ended. Short episodes end first, and most of "
        "them are successes, so the success rate of all may be lower. --resume completes the run."
    )


def _findings_text(findings: Findings | None) -> str:
    """Return the findings of a run about its reference in words; without a reference, a note on the interval."""
    if findings is None:
        return "Its interval is valid at every look, and therefore wider."
    low, high = (points_text(end, sign=True) for end in findings.difference_sequence_95)
    difference = f"{points_text(findings.difference, sign=True)} pp, 95 % interval [{low}, {high}]"
    evidence = f"1/e = {findings.inverse_e_value:.2g}, valid under stopping"
    return f"This run (B) minus the reference (A): {difference}; {evidence}: {findings.verdict}."


def _limits(run: Run, summary: Summary) -> Iterator[str]:
    record = run.record
    smallest = smallest_difference_text(summary)
    if smallest:
        yield f"Small differences from another policy: {smallest}."
    if run.conditions.terminates_on_success:
        yield "What happens after the first success: episodes end there. --no-terminate-on-success lets them run on."
    if record.policy.identity:
        yield (
            "Variation between trainings: the interval is about this one policy. If it was trained, the same training "
            "with another seed may give a rate outside of the interval."
        )
    yield (
        f"Scenes that {record.environment.env_id} does not have: other objects, places, lights or cameras, and the "
        "real robot."
    )
    if not record.policy.needs.instruction and len({result.instruction for result in run.results}) > 1:
        yield "Whether the instruction matters: the policy reads none."
