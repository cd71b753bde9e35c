"""What a report holds: its runs, their comparisons, and what is said about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eval.comparison.outcome import Comparison
from eval.comparison.replay import replay_command
from eval.comparison.verdict import Verdict
from eval.episodes.results import EpisodeResult
from eval.report.places import Places
from eval.runs.receipts import Receipt
from eval.runs.record import RunRecord, Summary
from eval.runs.run import Run
from eval.statistics.rates import LEVEL


@dataclass(frozen=True)
class Notice:
    """Something to know before a figure is used."""

    title: str
    text: str


@dataclass(frozen=True, kw_only=True, eq=False)
class RunReport:
    """One run, and what is said about it."""

    name: str
    """Name of the run in the report: that of its folder, with as much of the path as makes it unique."""
    run: Run
    """The run, with the episodes that count."""
    summary: Summary
    """Its figures."""
    receipts: tuple[Receipt, ...]
    """What the policy was given at the first step of the first episodes, and what it answered."""
    places: tuple[Places, ...]
    """Where things are when episodes begin, in the order of the episodes; empty if that is unknown."""
    moved: str
    """How often a lifted object was the target; "" without a choice of objects."""
    notices: tuple[Notice, ...]
    """What to know before its figures are used."""
    limits: tuple[str, ...]
    """What the run does not show."""

    @property
    def record(self) -> RunRecord:
        """The record of the run."""
        return self.run.record

    @property
    def results(self) -> tuple[EpisodeResult, ...]:
        """The episodes that count."""
        return self.run.results

    @property
    def model(self) -> str:
        """The policy that was evaluated, as the user named it."""
        return self.record.policy.model

    @property
    def environment(self) -> str:
        """Full id of the environment."""
        return self.record.environment.env_id

    @property
    def meaning_of_success(self) -> str:
        """When an episode counts as a success."""
        ends = self.run.conditions.terminates_on_success
        return "at any step, which ends the episode" if ends else "at the end of the episode"

    def replay(self, result: EpisodeResult | None = None) -> str:
        """Return the command that runs the episode of `result` again, by default the first that was no success."""
        failures = (result for result in self.results if result.status != "success")
        result = result or next(failures, self.results[0])
        return replay_command(self.run, [result.seed])


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparisonReport:
    """Two runs of the same episodes. A is the run that comes first in the report."""

    a: RunReport
    b: RunReport
    comparison: Comparison
    rows: Mapping[str, str]
    """Findings by name, in words."""
    p_value: float
    """p of the exact test; 1 / e, at most 1, if a rule may have stopped a run early."""
    holm_p: float | None
    """`p_value` adjusted for all comparisons of the report; None if this is the only one."""

    @property
    def is_decided(self) -> bool:
        """Whether A and B differ, also as one of several tests."""
        decided = self.comparison.verdict is not Verdict.UNDECIDED
        return decided and (self.holm_p is None or self.holm_p <= 1 - LEVEL)

    @property
    def verdict(self) -> str:
        """The verdict in words, as one of several tests if there are several."""
        if self.is_decided or self.comparison.verdict is Verdict.UNDECIDED:
            return self.rows["verdict"]
        return "cannot tell: this comparison alone would decide, but not as one of several (Holm)"


@dataclass(frozen=True, kw_only=True)
class Incomparable:
    """Two runs in the same environment whose success rates mean different things."""

    a: RunReport
    b: RunReport
    differences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report of runs."""

    runs: tuple[RunReport, ...]
    comparisons: tuple[ComparisonReport, ...]
    incomparable: tuple[Incomparable, ...]

    @property
    def environments(self) -> dict[str, list[RunReport]]:
        """Environment to its runs, in the order in which they were given."""
        return by_environment(self.runs)


def by_environment(runs: Sequence[RunReport]) -> dict[str, list[RunReport]]:
    """Return environment to its runs, in the order of `runs`."""
    grouped: dict[str, list[RunReport]] = {}
    for run in runs:
        grouped.setdefault(run.environment, []).append(run)
    return grouped
