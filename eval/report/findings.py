"""What a report says, worked out from run folders: figures, comparisons, and what they do not show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from eval.comparison import Comparison, NotComparableError, Run, Verdict, compare
from eval.comparison_text import finding_rows, replay_command
from eval.interventions import parse_interventions
from eval.moved_object import MovedObjects, moved_objects
from eval.percentage import points_text
from eval.reading import read_run
from eval.report.places import MOST_EPISODES, Places, starting_places
from eval.results import EpisodeResult, RunRecord
from eval.seed_overlap import SeedOverlap
from eval.sequential import sequential_rows
from eval.statistics import LEVEL, holm
from eval.summary import Summary, smallest_difference_text, summarise
from simscaleai.errors import SimScaleError


@dataclass(frozen=True)
class Notice:
    """Something to know before a figure is believed."""

    title: str
    text: str


@dataclass(frozen=True, kw_only=True, eq=False)
class RunReport:
    """One run, and what is said of it."""

    name: str
    """How the report calls it: its folder's name, with as much of the path as it takes to be unique."""
    run: Run
    places: tuple[Places, ...]
    """Where its first episodes begin, in the order of its results; empty where that cannot be known."""

    @property
    def record(self) -> RunRecord:
        """What the run keeps besides its episodes."""
        return self.run.record

    @property
    def results(self) -> tuple[EpisodeResult, ...]:
        """The episodes that count."""
        return self.run.results

    @cached_property
    def summary(self) -> Summary:
        """Its figures."""
        planned = self.run.planned or 0
        return summarise(self.results, max(planned, len(self.results)), sequential=bool(self.record.sequential))

    @property
    def model(self) -> str:
        """What was evaluated, as the user named it."""
        return str(self.record.config["model"])

    @property
    def environment(self) -> str:
        """Full id of the environment."""
        return str(self.record.resolved["environment"])

    @property
    def meaning_of_success(self) -> str:
        """When an episode counts as a success."""
        ends = self.run.task.terminates_on_success
        return "at the end of the episode" if ends is False else "at any step, which ends the episode"

    @cached_property
    def moved(self) -> MovedObjects | None:
        """Which object was lifted; None where there is no choice of objects."""
        moved = moved_objects(self.results, sequential=bool(self.record.sequential))
        has_choice = moved.wrong or len({result.target for result in self.results}) > 1
        return moved if has_choice and moved.n else None

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What to know before its figures are believed."""
        return tuple(_notices(self))

    @property
    def blind_spots(self) -> tuple[str, ...]:
        """What the run could not see."""
        return tuple(_blind_spots(self))

    def replay(self, result: EpisodeResult | None = None) -> str:
        """Return the command that runs the episode of `result` again, by default the first failure."""
        failures = (result for result in self.results if result.status != "success")
        result = result or next(failures, self.results[0])
        return replay_command(self.run, [result.seed])


@dataclass(frozen=True, kw_only=True)
class ComparisonReport:
    """Two runs of the same episodes. In everything said of it, A is the earlier one in the report."""

    a: RunReport
    b: RunReport
    comparison: Comparison
    holm_p: float | None
    """Evidence against equality, adjusted for all comparisons of the report; None if this is the only one."""

    @property
    def verdict(self) -> str:
        """The verdict in words, that of several tests at once if there are several."""
        if self.is_decided or self.comparison.verdict is Verdict.UNDECIDED:
            return dict(finding_rows(self.comparison))["verdict"]
        return "cannot tell: alone it would decide, but not as one of several comparisons (Holm)"

    @property
    def is_decided(self) -> bool:
        """Whether A and B differ, also as one of several tests."""
        decided = self.comparison.verdict is not Verdict.UNDECIDED
        return decided and (self.holm_p is None or self.holm_p <= 1 - LEVEL)

    @property
    def evidence(self) -> float:
        """The p of the exact test, or 1 / e where a run ended when it had seen enough; at most 1."""
        return _evidence(self.comparison)


@dataclass(frozen=True, kw_only=True)
class Incomparable:
    """Two runs in the same environment whose success rates mean different things."""

    a: RunReport
    b: RunReport
    differences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What runs found."""

    runs: tuple[RunReport, ...]
    comparisons: tuple[ComparisonReport, ...]
    incomparable: tuple[Incomparable, ...]

    @property
    def environments(self) -> dict[str, list[RunReport]]:
        """Environment to its runs, in the order in which they were given."""
        return _by_environment(self.runs)


def build_report(folders: Sequence[Path]) -> Report:
    """Read the runs in `folders` and return what they found.

    Raises:
        ResultsError: If one of them holds no run, or a damaged one.
        SimScaleError: If there is none, or one is given twice.
    """
    _check_folders(folders)
    runs = tuple(_run_report(name, read_run(folder)) for name, folder in zip(_names(folders), folders, strict=True))
    comparisons: list[tuple[RunReport, RunReport, Comparison]] = []
    incomparable: list[Incomparable] = []
    for a, b in _candidates(runs):
        try:
            comparisons.append((a, b, compare(a.run, b.run)))
        except NotComparableError as error:
            incomparable.append(Incomparable(a=a, b=b, differences=tuple(error.differences)))
    return Report(runs=runs, comparisons=tuple(_adjusted(comparisons)), incomparable=tuple(incomparable))


def _run_report(name: str, run: Run) -> RunReport:
    parse_interventions(run.interventions)  # before anything is said of them
    if run.record.sequential:
        run = replace(run, results=tuple(_without_gaps(run.results)))
    return RunReport(name=name, run=run, places=starting_places(run, run.results[:MOST_EPISODES]))


def _without_gaps(results: Sequence[EpisodeResult]) -> Iterator[EpisodeResult]:
    """Yield the first episodes of the plan: those after a gap ended early, and would flatter what ends soon."""
    for index, result in enumerate(results):
        if result.episode_index != index:
            return
        yield result


def _candidates(runs: Sequence[RunReport]) -> Iterator[tuple[RunReport, RunReport]]:
    """Yield the first run of every environment with each other run there."""
    for first, *others in _by_environment(runs).values():
        yield from ((first, other) for other in others)


def _by_environment(runs: Sequence[RunReport]) -> dict[str, list[RunReport]]:
    grouped: dict[str, list[RunReport]] = {}
    for run in runs:
        grouped.setdefault(run.environment, []).append(run)
    return grouped


def _adjusted(found: Sequence[tuple[RunReport, RunReport, Comparison]]) -> Iterator[ComparisonReport]:
    adjusted = holm([_evidence(comparison) for _, _, comparison in found])
    for (a, b, comparison), p in zip(found, adjusted, strict=True):
        yield ComparisonReport(a=a, b=b, comparison=comparison, holm_p=p if len(found) > 1 else None)


def _evidence(comparison: Comparison) -> float:
    # 1 / e, at most 1, is a p-value that holds at every look: both may stand in one family.
    return min(1.0, comparison.inverse_e_value) if comparison.p_value is None else comparison.p_value


def _names(folders: Sequence[Path]) -> list[str]:
    """Return a short name for each folder: the last parts of its path, as many as tell all of them apart."""
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


def _notices(report: RunReport) -> Iterator[Notice]:
    summary, record = report.summary, report.record
    if not report.run.is_complete:
        yield Notice("Incomplete", _incomplete_text(summary))
    for _, text in sequential_rows(replace(record, summary=summary.to_json()), None):
        yield Notice("Sequential run", f"{text[:1].upper()}{text[1:]}. {_sequential_findings(record.sequential or {})}")
    if record.seed_overlap:
        yield Notice("Seeds overlap", f"{_overlap(record.seed_overlap, summary.planned).text()}.")
    if report.run.interventions:
        yield Notice("Intervention", f"{parse_interventions(report.run.interventions).meaning()}.")
    if summary.errors:
        low, high = map(points_text, (summary.success_rate, summary.rate_if_errors_succeeded))
        many = f"{summary.errors} of {summary.episodes} episodes could not be run and count as no success"
        yield Notice("Errors", f"{many}; had they run, the rate would lie in [{low}, {high}] %.")


def _incomplete_text(summary: Summary) -> str:
    if summary.episodes == summary.planned:
        return "All episodes have ended, but the run was killed before it summed them up; --resume completes it."
    return (
        f"{summary.episodes} of {summary.planned} planned episodes have ended. Those that end soon are over first, and "
        "most of these are successes: the rate of all may be lower. --resume completes the run."
    )


def _sequential_findings(sequential: Mapping[str, Any]) -> str:
    """Return what the record of a run until decided says of the other run; of other runs, what their interval is."""
    if sequential.get("verdict") is None:
        return "Its interval holds at every look, and is wider for it."
    low, high = (points_text(end, sign=True) for end in sequential["difference_sequence_95"])
    difference = f"{points_text(sequential['difference'], sign=True)} pp, 95 % interval [{low}, {high}]"
    evidence = f"1/e = {sequential['inverse_e_value']:.2g}, valid under stopping"
    return f"This run (B) less that one (A): {difference}; {evidence}: {sequential['verdict']}."


def _overlap(data: Mapping[str, Any], planned: int) -> SeedOverlap:
    return SeedOverlap(seeds=tuple(data["seeds"]), planned=planned, **data["trained_on"])


def _blind_spots(report: RunReport) -> Iterator[str]:
    summary, record = report.summary, report.record
    smallest = smallest_difference_text(summary)
    if smallest:
        yield f"A small difference from another policy. It could have seen {smallest}."
    if report.run.task.terminates_on_success is not False:
        yield "What happens after the first success: episodes end there. --no-terminate-on-success lets them run on."
    if record.checkpoint_digest:
        yield (
            "Luck in training. The interval is about episodes of this one checkpoint; another one, trained in the same "
            "way with another seed, may lie outside of it."
        )
    yield (
        f"Scenes that {report.environment} does not draw: other objects, places, lights or cameras, and the real robot."
    )
    if not record.contract.get("language") and len({result.instruction for result in report.results}) > 1:
        yield "Whether the words matter: the policy reads no instructions."
