"""The contents of a report: runs, their comparisons, and the notes on both."""

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
    """A note that a reader needs before using a figure."""

    title: str
    text: str


@dataclass(frozen=True, kw_only=True, eq=False)
class RunReport:
    """One run with its figures and the notes on them."""

    name: str
    """Name of the run in the report: the last parts of its path, as many as make the name unique."""
    run: Run
    """The run, with the episodes that count."""
    summary: Summary
    """Its figures."""
    receipts: tuple[Receipt, ...]
    """What the policy got at the first step of the first episodes, and what it answered."""
    places: tuple[Places, ...]
    """Positions at the start of the episodes, one entry for each object or goal; empty if they are unknown."""
    moved: str
    """How often a lifted object was the target, in words; "" without a choice of objects."""
    notices: tuple[Notice, ...]
    """Notes that a reader needs before using the figures."""
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
    def policy(self) -> str:
        """The policy that was evaluated and its options, as the user named them."""
        return self.record.policy_text

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
        """Return the replay command of `result`, by default of the first failure or else of the first episode."""
        failures = (result for result in self.results if result.status != "success")
        result = result or next(failures, self.results[0])
        return replay_command(self.run, [result])


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
    """`p_value` adjusted for all comparisons of the report (Holm); None if there is only one comparison."""

    @property
    def is_decided(self) -> bool:
        """Whether A and B differ significantly, also after the adjustment for several comparisons."""
        decided = self.comparison.verdict is not Verdict.UNDECIDED
        return decided and (self.holm_p is None or self.holm_p <= 1 - LEVEL)

    @property
    def verdict(self) -> str:
        """The verdict in words, adjusted for several comparisons."""
        if self.is_decided or self.comparison.verdict is Verdict.UNDECIDED:
            return self.rows["verdict"]
        return "cannot tell: the difference is significant alone, but not among several comparisons (Holm)"


@dataclass(frozen=True, kw_only=True)
class Incomparable:
    """Two runs in the same environment that cannot be compared."""

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
        """Full id of each environment to its runs, in the order of `runs`."""
        return by_environment(self.runs)


def by_environment(runs: Sequence[RunReport]) -> dict[str, list[RunReport]]:
    """Group `runs` by the full id of their environment, in the order of `runs`."""
    grouped: dict[str, list[RunReport]] = {}
    for run in runs:
        grouped.setdefault(run.environment, []).append(run)
    return grouped
