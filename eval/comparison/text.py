"""A comparison of two runs as rows of text for people."""

from __future__ import annotations

from collections.abc import Iterator

from eval.comparison.outcome import Comparison, Pair
from eval.comparison.replay import replay_both
from eval.comparison.verdict import Verdict
from eval.episodes.results import EpisodeResult
from eval.runs.record import Summary
from eval.runs.schema.stopping import SequentialRecord
from eval.statistics.percentage import points_text, rate_text
from eval.statistics.rates import LEVEL

Row = tuple[str, str]
"""Name and text."""

_MOST_EPISODES_SHOWN = 20


def comparison_rows(comparison: Comparison) -> Iterator[Row]:
    """Yield what was compared, the findings, and the discordant episodes."""
    yield from _heading(comparison)
    yield from finding_rows(comparison)
    yield from _discordant_rows(comparison)


def finding_rows(comparison: Comparison) -> Iterator[Row]:
    """Yield the findings of a comparison: counts, rates, difference, evidence and verdict."""
    counts, (rate_a, rate_b), (errors_a, errors_b) = comparison.counts, comparison.rates, comparison.errors
    method = "confidence sequence" if comparison.sequential else "Wilson"
    if len(comparison.by_task) > 1:
        method = f"average of {len(comparison.by_task)} tasks, stratified"
    for name, count in zip(("both succeed", "only A", "only B", "neither"), counts, strict=True):
        yield name, f"{count:>5}   {points_text(count / counts.n):>5} %"
    yield "A", f"{rate_text(counts.successes_a, counts.n, rate_a)} ({method}){_error_note(errors_a)}"
    yield "B", f"{rate_text(counts.successes_b, counts.n, rate_b)} ({method}){_error_note(errors_b)}"
    yield from _evidence_rows(comparison)
    yield from _task_rows(comparison)
    if errors_a or errors_b:
        low, high = (points_text(end, sign=True) for end in comparison.difference_had_errors_run)
        yield "errors", f"had they run, B - A would be in [{low}, {high}] pp"
    yield "verdict", _verdict_text(comparison)


def sequential_rows(sequential: SequentialRecord, summary: Summary, comparison: Comparison | None) -> Iterator[Row]:
    """Yield the extent of a run with a stopping rule and, with a `comparison`, the findings about its reference.

    Args:
        sequential: The rule, and the number of episodes of the run.
        summary: Figures of the run.
        comparison: Comparison of the reference (A) with the run (B); None if the run is not complete or has no
            reference.
    """
    yield "stopping", f"{_rule_text(sequential, summary)}; the run {extent_text(sequential)}"
    if comparison:
        yield from finding_rows(comparison)
        if comparison.verdict is Verdict.UNDECIDED and not comparison.hinges_on_errors:
            n = comparison.counts.n
            yield "undecided", f"{n} episodes did not suffice; this does not show that the policies are equal"


def extent_text(sequential: SequentialRecord) -> str:
    """Return the extent of a run with a stopping rule, in words that follow the name of the run."""
    n, limit = sequential.episodes, sequential.limit
    if sequential.decided:
        return f"ended after {n} of at most {limit} episodes; {sequential.saved} saved"
    return f"was still undecided after {n} of at most {limit} episodes"


def _rule_text(sequential: SequentialRecord, summary: Summary) -> str:
    if sequential.vs:
        return f"at level {sequential.threshold:.2g} against {sequential.vs.folder} (A)"
    low, high, _ = summary.interval
    return f"interval {points_text(high - low)} pp wide, {points_text(sequential.threshold)} pp wanted"


def _heading(comparison: Comparison) -> Iterator[Row]:
    sides = (("A", comparison.a), ("B", comparison.b))
    for name, run in sides:
        policy = run.record.policy
        identity = f", identity {policy.identity[:12]}" if policy.identity else ""
        truth = f"; gets simulator truth: {', '.join(policy.simulator_truth)}" if policy.simulator_truth else ""
        yield name, f"{run.folder}: {run.record.policy_text}{identity}{truth}"
    conditions = comparison.a.conditions
    yield "episodes", f"{conditions.environment}, {comparison.seeds_text}"
    ends = conditions.terminates_on_success
    yield "success", "at any step, which ends the episode" if ends else "at the end of the episode"
    for name, run in sides:
        if run.interventions:
            yield f"intervention on {name}", run.interventions_text
        if run.perturbations:
            yield f"perturbation of {name}", run.perturbations_text
    for name, run in sides:
        if run.record.sequential:
            yield "sequential", f"{name} {extent_text(run.record.sequential)}"
    if comparison.sequential and len(comparison.a.results) != len(comparison.b.results):
        yield "compared", f"the first {comparison.counts.n} episodes, which both have"
    for warning in comparison.warnings:
        yield "warning", warning
    yield "", ""


def _evidence_rows(comparison: Comparison) -> Iterator[Row]:
    counts = comparison.counts
    low, high = (points_text(end, sign=True) for end in comparison.interval[:2])
    difference = f"{points_text(counts.difference, sign=True)} pp   95 % interval [{low}, {high}]"
    discordant = f"{counts.discordant} discordant pairs"
    if comparison.p_value is None:
        yield "B - A", f"{difference} (paired, valid under stopping)"
        evidence = f"{comparison.inverse_e_value:.2g}, {1 - LEVEL:.2g} or less decides"
        yield "1/e", f"{evidence} (anytime-valid, two-sided, {discordant})"
    else:
        yield "B - A", f"{difference} (Newcombe, paired)"
        yield "p", f"{comparison.p_value:.2g} (exact McNemar, two-sided, {discordant})"
        yield "smallest difference", _smallest_text(comparison)


def _task_rows(comparison: Comparison) -> Iterator[Row]:
    """Yield the difference in each task of a suite."""
    for task, each in comparison.by_task.items():
        counts, (low, high) = each.counts, (points_text(end, sign=True) for end in each.interval[:2])
        rates = f"A {counts.successes_a}/{counts.n}, B {counts.successes_b}/{counts.n}"
        difference = f"{points_text(counts.difference, sign=True)} pp [{low}, {high}]"
        yield f"  {task}", f"{rates}: {difference}, p (Holm) {comparison.holm_p_by_task[task]:.2g}"


def _error_note(errors: int) -> str:
    return f"; {errors} could not be run and count as not successful" if errors else ""


def _smallest_text(comparison: Comparison) -> str:
    smallest = comparison.smallest_difference
    if smallest is None:
        return f"none is detectable: {comparison.counts.n} episodes are too few"
    return f"{points_text(smallest)} pp is detectable with 80 % power, at this rate of discordant pairs"


def _verdict_text(comparison: Comparison) -> str:
    verdict, margin = comparison.verdict, points_text(comparison.margin or 0)
    if verdict is Verdict.NON_INFERIOR:
        return f"B is within the margin: no more than {margin} pp worse than A"
    if verdict is not Verdict.UNDECIDED:
        return f"B is {verdict.value} than A"
    if comparison.hinges_on_errors:
        return "cannot tell; it depends on episodes that could not be run: eval.rollout --resume runs them again"
    if comparison.margin is not None:
        lowest = points_text(-comparison.interval.low)
        return f"cannot tell; B may be {lowest} pp worse than A, the margin is {margin} pp"
    needed = comparison.pairs_to_decide
    if needed is None:
        return "cannot tell"
    observed = points_text(abs(comparison.counts.difference))
    return f"cannot tell; about {needed} episodes would detect a difference of {observed} pp (80 % power)"


def _discordant_rows(comparison: Comparison) -> Iterator[Row]:
    if not comparison.discordant:
        return
    shown = comparison.discordant[:_MOST_EPISODES_SHOWN]
    yield "", ""
    for pair in shown:
        task = f"{pair.a.task}, " if pair.a.task else ""
        yield _winner(pair), f"{task}seed {pair.a.seed}: A {_outcome(pair.a)}, B {_outcome(pair.b)}"
    if len(shown) < len(comparison.discordant):
        yield "…", f"{len(comparison.discordant) - len(shown)} more; --json lists all"
    commands = replay_both(comparison.a, comparison.b, [pair.a for pair in shown])
    for name, command in commands.items():
        yield f"replay {name.upper()}", command


def _winner(pair: Pair) -> str:
    return "only A" if pair.a.status == "success" else "only B"


def _outcome(result: EpisodeResult) -> str:
    return f"{result.failure or result.status} after {result.steps} steps"
