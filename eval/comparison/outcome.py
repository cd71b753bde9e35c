"""The comparison of two runs of the same episodes: counts, rates, difference, evidence, verdict."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from eval.comparison.verdict import Verdict, difference_interval, p_value_of, verdict_of
from eval.episodes.results import EpisodeResult
from eval.runs.run import Run, seeds_text
from eval.statistics.multiplicity import holm
from eval.statistics.paired import PairedCounts
from eval.statistics.power import pairs_needed, smallest_difference
from eval.statistics.rates import Interval
from eval.statistics.sequential import rate_interval
from eval.statistics.stratified import average_rate


@dataclass(frozen=True)
class Pair:
    """The results of A and B for the same episode."""

    a: EpisodeResult
    b: EpisodeResult


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A comparison of two runs of the same episodes. All differences are B minus A."""

    a: Run
    b: Run
    pairs: tuple[Pair, ...]
    """Results of the episodes that both runs have, in the order of A's plan."""
    margin: float | None
    """Non-inferiority margin: how much lower the success probability of B may be; None without a margin."""
    warnings: tuple[str, ...]
    """What besides the policies may explain a difference, or weakens the pairing."""

    @property
    def verdict(self) -> Verdict:
        """The verdict about B; undecided if it depends on the outcome of episodes that could not be run."""
        verdicts = self._possible_verdicts
        if verdicts == {Verdict.BETTER, Verdict.NON_INFERIOR}:
            return Verdict.NON_INFERIOR
        return Verdict.UNDECIDED if len(verdicts) > 1 else next(iter(verdicts))

    @property
    def hinges_on_errors(self) -> bool:
        """Whether the verdict is undecided only because of episodes that could not be run."""
        return self.verdict is Verdict.UNDECIDED and len(self._possible_verdicts) > 1

    @cached_property
    def _possible_verdicts(self) -> set[Verdict]:
        possible = {self.counts, *self._counts_had_errors_run}
        return {verdict_of(counts, self.margin, sequential=self.sequential) for counts in possible}

    @cached_property
    def counts(self) -> PairedCounts:
        """Pairs by outcome. Episodes that could not be run count as not successful."""
        return self._count(())

    def _count(self, runs_whose_errors_succeed: Collection[str]) -> PairedCounts:
        """Return the pairs by outcome as if the errors of the named runs, "a" or "b", had been successes."""

        def succeeded(result: EpisodeResult, run: str) -> bool:
            return result.status == "success" or (result.status == "error" and run in runs_whose_errors_succeed)

        outcomes = [(succeeded(pair.a, "a"), succeeded(pair.b, "b")) for pair in self.pairs]
        return PairedCounts(*map(outcomes.count, ((True, True), (True, False), (False, True), (False, False))))

    @cached_property
    def _counts_had_errors_run(self) -> tuple[PairedCounts, PairedCounts]:
        """The counts if errors had ended in the worst way for B, and in the best way."""
        return self._count("a"), self._count("b")

    @property
    def difference_had_errors_run(self) -> tuple[float, float]:
        """The difference if errors had ended in the worst way for B, and in the best way."""
        worst, best = self._counts_had_errors_run
        return worst.difference, best.difference

    @property
    def discordant(self) -> tuple[Pair, ...]:
        """Pairs in which exactly one policy succeeded."""
        return tuple(pair for pair in self.pairs if (pair.a.status == "success") != (pair.b.status == "success"))

    @property
    def errors(self) -> tuple[int, int]:
        """Number of episodes of A and of B that could not be run."""
        return _errors(pair.a for pair in self.pairs), _errors(pair.b for pair in self.pairs)

    @property
    def seeds_text(self) -> str:
        """Number of pairs and their seeds, in a few words."""
        return seeds_text(pair.a for pair in self.pairs)

    @property
    def sequential(self) -> bool:
        """Whether a rule may have stopped a run early. Then all intervals and the verdict are valid at every look."""
        return any(run.record.sequential for run in (self.a, self.b))

    @cached_property
    def interval(self) -> Interval:
        """Interval of the difference: Newcombe's for pairs, or the one that is valid at every look."""
        return difference_interval(self.counts, sequential=self.sequential)

    @cached_property
    def by_task(self) -> dict[str, Comparison]:
        """The comparison of each task of a suite, by its id, in the order of A's plan; empty for a single task."""
        tasks = dict.fromkeys(pair.a.task for pair in self.pairs if pair.a.task is not None)
        return {task: replace(self, pairs=tuple(p for p in self.pairs if p.a.task == task)) for task in tasks}

    @cached_property
    def holm_p_by_task(self) -> dict[str, float]:
        """p-value of each task, adjusted for the number of tasks (Holm)."""
        p_values = [comparison.p_value or 0.0 for comparison in self.by_task.values()]
        return dict(zip(self.by_task, holm(p_values), strict=True))

    @property
    def rates(self) -> tuple[Interval, Interval]:
        """Intervals of the success rates of A and B: Wilson's, or confidence sequences; stratified in a suite."""
        counts, sequential = self.counts, self.sequential
        if len(self.by_task) > 1:
            tasks = [each.counts for each in self.by_task.values()]
            return (
                average_rate([(each.successes_a, each.n) for each in tasks])[1],
                average_rate([(each.successes_b, each.n) for each in tasks])[1],
            )
        of_a = rate_interval(counts.successes_a, counts.n, sequential=sequential)
        return of_a, rate_interval(counts.successes_b, counts.n, sequential=sequential)

    @cached_property
    def p_value(self) -> float | None:
        """Two-sided p-value of the exact McNemar test; None if a rule may have stopped a run early."""
        return None if self.sequential else p_value_of(self.counts, sequential=False)

    @property
    def inverse_e_value(self) -> float:
        """1 / e, where e is the e-value against equal success rates; the smaller, the stronger the evidence.

        If the success rates are equal, the probability that 1 / e ever falls to x is at most x.
        """
        return p_value_of(self.counts, sequential=True)

    @cached_property
    def smallest_difference(self) -> float | None:
        """Smallest detectable difference with 80 % power, for this number of pairs and the observed discordance.

        None if there are too few pairs to detect any, or if a rule may have stopped a run early.
        """
        counts = self.counts
        return None if self.sequential else smallest_difference(counts.n, counts.discordant / counts.n)

    @property
    def pairs_to_decide(self) -> int | None:
        """Number of pairs that detect a difference as large as the observed one with 80 % power.

        None if the observed difference is 0, if `MOST_PAIRS` do not suffice, or if a rule may have stopped a run early.
        """
        counts = self.counts
        if self.sequential or not counts.difference:
            return None
        return pairs_needed(abs(counts.difference), counts.discordant / counts.n)


def _errors(results: Iterable[EpisodeResult]) -> int:
    return sum(result.status == "error" for result in results)
