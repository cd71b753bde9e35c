"""Compares two runs of the same episodes: whether they can be compared at all, and what follows from the pairs.

Of runs whose number of episodes was fixed beforehand this is an exact test and an interval for that number. A run
that ended when it had seen enough (`RunRecord.sequential`) ended because of what it saw, also when it is now compared
with a third run; of it only what holds at every look may be said, about the episodes that both runs have, and only if
these are the first of both plans: the e-process of `eval.paired.log_e_value` and its interval.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from math import exp
from pathlib import Path
from typing import Any

from eval.command import plan_text
from eval.interventions import parse_interventions
from eval.paired import PairedCounts, difference_sequence, log_e_value, mcnemar_exact, newcombe
from eval.plan import EpisodeSpec
from eval.power import pairs_needed, smallest_difference
from eval.results import EPISODES_FILE, EpisodeResult, RunRecord, read_results
from eval.statistics import LEVEL, Interval, rate_interval
from simscaleai.errors import SimScaleError


class NotComparableError(SimScaleError):
    """Two runs whose success rates mean different things."""

    def __init__(self, differences: list[str]) -> None:
        super().__init__("; ".join(differences))
        self.differences = differences
        """What differs, one line each."""


class Verdict(Enum):
    """What a comparison found about B."""

    BETTER = "better"
    NON_INFERIOR = "within the margin"
    WORSE = "worse"
    UNDECIDED = "cannot tell"


@dataclass(frozen=True)
class Task:
    """What an episode of a run is, besides its seed: success rates of different tasks mean different things."""

    environment: str | None
    """Full id of the environment."""
    scene: str | None
    """Digest of the environment's scene."""
    terminates_on_success: bool | None
    """Whether an episode ends at its first success, and so counts one that it would have lost again."""
    max_episode_steps: int | None
    """Time limit."""

    @classmethod
    def of(cls, contract: Mapping[str, Any], environment: str | None, terminates_on_success: bool | None) -> Task:
        """Return the task of a policy with a `contract`, given as JSON data."""
        scenes: Mapping[str | None, str] = contract.get("environments", {})
        return cls(environment, scenes.get(environment), terminates_on_success, contract.get("max_episode_steps"))

    def differences(self, b: Task) -> Iterator[str]:
        """Yield a line for everything in which this task, that of A, differs from that of `b`."""
        names = {
            "environment": "environment",
            "scene": "scene digest",
            "terminates_on_success": "ends at success",
            "max_episode_steps": "max episode steps",
        }
        for attribute, name in names.items():
            of_a, of_b = getattr(self, attribute), getattr(b, attribute)
            if of_a != of_b:
                yield f"{name}: A has {of_a}, B has {of_b}"


@dataclass(frozen=True)
class Run:
    """A run folder, read."""

    folder: Path
    record: RunRecord
    results: tuple[EpisodeResult, ...]
    """Episodes that ended, sorted."""

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Read the run in `folder`.

        Raises:
            ResultsError: If it holds no run, or one that cannot be read.
        """
        record = RunRecord.read(folder)
        episodes = folder / EPISODES_FILE
        return cls(folder, record, tuple(read_results(episodes)) if episodes.exists() else ())

    @property
    def task(self) -> Task:
        """What its episodes are."""
        record = self.record
        return Task.of(record.contract, record.resolved.get("environment"), record.config.get("terminate_on_success"))

    @property
    def interventions(self) -> tuple[str, ...]:
        """What its policy was given instead of what the scene shows, as `eval.interventions` reads it."""
        return tuple(self.record.config.get("intervene") or ())

    @property
    def planned(self) -> int | None:
        """Number of episodes that the run was to have; of one that has seen enough, those up to there."""
        sequential = self.record.sequential
        if sequential and sequential["decided"]:
            return int(sequential["episodes"])
        return self.record.resolved.get("episodes")

    @property
    def is_complete(self) -> bool:
        """Whether it has all its episodes, each once, and has summed them up."""
        has_each = len(self.results) == len(set(self.seeds)) == self.planned
        return bool(self.results) and has_each and self.record.summary is not None

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds in the order of the plan."""
        return tuple(result.seed for result in self.results)

    @property
    def successes(self) -> dict[int, bool]:
        """Seed to whether the episode was a success."""
        return {result.seed: _succeeded(result) for result in self.results}

    @property
    def seeds_text(self) -> str:
        """The number of episodes and their seeds, in a few words."""
        return _seeds_text(self.results)


@dataclass(frozen=True)
class Pair:
    """What A and B made of the same episode."""

    a: EpisodeResult
    b: EpisodeResult


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What two runs of the same episodes say about their policies. Differences are B less A."""

    a: Run
    b: Run
    pairs: tuple[Pair, ...]
    """The episodes that both runs have, in the order of A's plan."""
    margin: float | None
    """How much worse B may be; None for not at all."""
    warnings: tuple[str, ...]
    """What may explain a difference besides the policies."""

    @property
    def verdict(self) -> Verdict:
        """What this says about B.

        Better and worse need a test, which errs in at most 5 % of comparisons of equals. Within the margin is B if the
        whole interval of the difference is, also if it is worse by less than that; of policies that are worse by just
        the margin, this lets about 2.5 % pass. What is said must hold however episodes that could not be run would
        have ended.
        """
        verdicts = self._possible_verdicts
        if verdicts == {Verdict.BETTER, Verdict.NON_INFERIOR}:
            return Verdict.NON_INFERIOR
        return Verdict.UNDECIDED if len(verdicts) > 1 else next(iter(verdicts))

    @property
    def hinges_on_errors(self) -> bool:
        """Whether there is no telling only because of episodes that could not be run."""
        return self.verdict is Verdict.UNDECIDED and len(self._possible_verdicts) > 1

    @cached_property
    def _possible_verdicts(self) -> set[Verdict]:
        possible = {self.counts, *self._counts_had_errors_run}
        return {_verdict(counts, self.margin, sequential=self.sequential) for counts in possible}

    @cached_property
    def counts(self) -> PairedCounts:
        """How many pairs ended how."""
        return self._counted(())

    def _counted(self, runs_whose_errors_succeed: Collection[str]) -> PairedCounts:
        """Return how many pairs ended how, had the errors of those runs, "a" or "b", been successes."""

        def succeeded(result: EpisodeResult, run: str) -> bool:
            return _succeeded(result) or (result.status == "error" and run in runs_whose_errors_succeed)

        outcomes = [(succeeded(pair.a, "a"), succeeded(pair.b, "b")) for pair in self.pairs]
        return PairedCounts(*map(outcomes.count, ((True, True), (True, False), (False, True), (False, False))))

    @cached_property
    def _counts_had_errors_run(self) -> tuple[PairedCounts, PairedCounts]:
        """The counts if errors had ended as badly for B as they can, and as well."""
        return self._counted("a"), self._counted("b")

    @property
    def difference_had_errors_run(self) -> tuple[float, float]:
        """The difference if errors had ended as badly for B as they can, and as well."""
        worst, best = self._counts_had_errors_run
        return worst.difference, best.difference

    @property
    def discordant(self) -> tuple[Pair, ...]:
        """Episodes in which exactly one succeeded."""
        return tuple(pair for pair in self.pairs if _succeeded(pair.a) != _succeeded(pair.b))

    @property
    def errors(self) -> tuple[int, int]:
        """Episodes of A and of B that could not be run; they count as no success."""
        return _errors(pair.a for pair in self.pairs), _errors(pair.b for pair in self.pairs)

    @property
    def seeds_text(self) -> str:
        """The number of pairs and their seeds, in a few words."""
        return _seeds_text(pair.a for pair in self.pairs)

    @property
    def sequential(self) -> bool:
        """Whether a run ended when it had seen enough: then all intervals and the verdict hold at every look."""
        return any(run.record.sequential for run in (self.a, self.b))

    @cached_property
    def interval(self) -> Interval:
        """Interval of the difference: Newcombe's for pairs, or one that holds at every look."""
        return _interval(self.counts, sequential=self.sequential)

    @property
    def rates(self) -> tuple[Interval, Interval]:
        """Intervals of the success rates of A and B: Wilson's, or confidence sequences."""
        counts, sequential = self.counts, self.sequential
        of_a = rate_interval(counts.successes_a, counts.n, sequential=sequential)
        return of_a, rate_interval(counts.successes_b, counts.n, sequential=sequential)

    @cached_property
    def p_value(self) -> float | None:
        """Exact McNemar test, two-sided; None if the number of pairs was not fixed beforehand."""
        return None if self.sequential else _evidence(self.counts, sequential=False)

    @property
    def inverse_e_value(self) -> float:
        """1 / e of the e-process; of equals, at most a share of x ever gets down to x, whoever looks how often."""
        return _evidence(self.counts, sequential=True)

    @cached_property
    def smallest_difference(self) -> float | None:
        """What so many pairs see with 80 % power, given how often A and B differed.

        None if they are too few for any, or if their number was not fixed beforehand.
        """
        counts = self.counts
        return None if self.sequential else smallest_difference(counts.n, counts.discordant / counts.n)

    @property
    def pairs_to_decide(self) -> int | None:
        """How many pairs would see a difference like the observed one.

        None if none or too many would, or if the number of pairs was not fixed beforehand.
        """
        counts = self.counts
        if self.sequential or not counts.difference:
            return None
        return pairs_needed(abs(counts.difference), counts.discordant / counts.n)


def compare(a: Run, b: Run, margin: float | None = None) -> Comparison:
    """Compare two runs of the same episodes.

    Args:
        a: What is compared with.
        b: What is judged.
        margin: How much lower B's success probability may be, in (0, 1).

    Raises:
        NotComparableError: If the runs are not of the same episodes, or not complete.
    """
    differences = list(_differences(a, b))
    if differences:
        raise NotComparableError(differences)
    b_by_seed = {result.seed: result for result in b.results}
    pairs = [Pair(result, b_by_seed[result.seed]) for result in a.results if result.seed in b_by_seed]
    return Comparison(
        a=a,
        b=b,
        pairs=tuple(pairs),
        margin=margin,
        warnings=tuple(_fingerprint_warnings(a.record.fingerprint, b.record.fingerprint)),
    )


def _verdict(counts: PairedCounts, margin: float | None, *, sequential: bool) -> Verdict:
    decided = _evidence(counts, sequential=sequential) <= 1 - LEVEL
    if decided and counts.difference > 0:
        return Verdict.BETTER
    if margin is not None and _interval(counts, sequential=sequential).low > -margin:
        return Verdict.NON_INFERIOR
    return Verdict.WORSE if decided else Verdict.UNDECIDED


def _evidence(counts: PairedCounts, *, sequential: bool) -> float:
    """Return what at most a share of x of equals gets down to x: the p-value, or 1 / e."""
    if sequential:
        return exp(-log_e_value(counts.only_a, counts.only_b))
    return mcnemar_exact(counts.only_a, counts.only_b)


def _interval(counts: PairedCounts, *, sequential: bool) -> Interval:
    return difference_sequence(counts) if sequential else newcombe(counts)


def _succeeded(result: EpisodeResult) -> bool:
    return result.status == "success"


def _errors(results: Iterable[EpisodeResult]) -> int:
    return sum(result.status == "error" for result in results)


def _seeds_text(results: Iterable[EpisodeResult]) -> str:
    return plan_text([EpisodeSpec(result.episode_index, result.seed) for result in results])


def _differences(a: Run, b: Run) -> Iterator[str]:
    """Yield a line for everything because of which the runs cannot be compared."""
    yield from a.task.differences(b.task)
    yield from _incomplete("A", a)
    yield from _incomplete("B", b)
    if a.results and b.results:
        yield from _other_episodes(a, b)


def _incomplete(name: str, run: Run) -> Iterator[str]:
    if not run.is_complete:
        yield f"complete: {name} ({run.folder}) has {len(set(run.seeds))} of {run.planned} episodes; finish it first"


def _other_episodes(a: Run, b: Run) -> Iterator[str]:
    of_a = {result.seed: result.target for result in a.results}
    of_b = {result.seed: result.target for result in b.results}
    common = of_a.keys() & of_b.keys()
    if a.record.sequential or b.record.sequential:
        if any(seed_a != seed_b for seed_a, seed_b in zip(a.seeds, b.seeds, strict=False)):
            yield f"seeds: A has {a.seeds_text}; B has {b.seeds_text}; one must begin as the other"
    elif not len(common) == len(of_a) == len(of_b):
        yield f"seeds: A has {a.seeds_text}; B has {b.seeds_text}; {len(common)} in common"
    other = sorted(seed for seed in common if of_a[seed] != of_b[seed])
    if other and not any(parse_interventions(run.interventions).target for run in (a, b)):
        seed = other[0]
        yield f"target: A has {of_a[seed]} with seed {seed}, B has {of_b[seed]}; {len(other)} seeds differ"


def _fingerprint_warnings(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key in sorted(a.keys() | b.keys()):
        of_a, of_b = a.get(key), b.get(key)
        if isinstance(of_a, Mapping) and isinstance(of_b, Mapping):
            yield from _fingerprint_warnings(of_a, of_b, f"{prefix}{key}.")
        elif of_a != of_b and not (key == "gl_renderer" and None in (of_a, of_b)):  # None: a policy without eyes
            yield f"fingerprint {prefix}{key} differs: A has {of_a}, B has {of_b}; episodes may differ by that alone"
