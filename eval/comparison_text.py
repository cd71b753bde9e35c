"""What a comparison of two runs found, in lines of text for people."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eval.comparison import Comparison, Pair, Run, Verdict
from eval.console import rows_text
from eval.interventions import parse_interventions
from eval.percentage import points_text, rate_text
from eval.results import EpisodeResult
from eval.statistics import LEVEL
from simscaleai.command_line import printable

_MOST_EPISODES_SHOWN = 20


def format_comparison(comparison: Comparison) -> str:
    """Return what a comparison found as lines of text for people."""
    rows = [*_heading(comparison), *finding_rows(comparison), *_discordant(comparison)]
    return rows_text((name, printable(text)) for name, text in rows)


def replay_command(run: Run, seeds: Sequence[int]) -> str:
    """Return the command that runs the episodes of `seeds` as `run` did."""
    config = run.record.config
    words = ["python", "-m", "eval.rollout", "--model", str(config["model"])]
    if config.get("checkpoint") is not None:
        words += ["--checkpoint", str(config["checkpoint"])]
    words += ["--env", str(config["env"])]
    if run.task.terminates_on_success is False:
        words.append("--no-terminate-on-success")
    if run.interventions:
        words += ["--intervene", *run.interventions]
    return shlex.join([*words, "--seeds", *map(str, seeds)])


def _heading(comparison: Comparison) -> Iterator[tuple[str, str]]:
    for name, run in (("A", comparison.a), ("B", comparison.b)):
        digest = run.record.checkpoint_digest
        checkpoint = f", checkpoint {digest[:12]}" if digest else ""
        yield name, f"{run.folder}: {run.record.config['model']}{checkpoint}"
    task = comparison.a.task
    yield "episodes", f"{task.environment}, {comparison.seeds_text}"
    ends = task.terminates_on_success
    yield "success", "at any step, which ends the episode" if ends else "at the end of the episode"
    for name, run in (("A", comparison.a), ("B", comparison.b)):
        if run.interventions:
            yield f"intervention on {name}", parse_interventions(run.interventions).meaning()
    yield from _stopping_rows(comparison)
    for warning in comparison.warnings:
        yield "warning", warning
    yield "", ""


def _stopping_rows(comparison: Comparison) -> Iterator[tuple[str, str]]:
    for name, run in (("A", comparison.a), ("B", comparison.b)):
        if run.record.sequential:
            yield "sequential", f"{name} {extent_text(run.record.sequential)}"
    if comparison.sequential and len(comparison.a.results) != len(comparison.b.results):
        yield "compared", f"the first {comparison.counts.n} episodes, which both have"


def extent_text(sequential: Mapping[str, Any]) -> str:
    """Return how far a run came that ends when it has seen enough, in words, from what its record says."""
    n, limit = sequential["episodes"], sequential["limit"]
    if sequential["decided"]:
        return f"ended after {n} of at most {limit} episodes; {sequential['saved']} saved"
    return f"was still undecided after {n} of at most {limit} episodes"


def finding_rows(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """Yield name and text of what a comparison found: counts, rates, difference, evidence and verdict."""
    counts, (rate_a, rate_b), (errors_a, errors_b) = comparison.counts, comparison.rates, comparison.errors
    method = "confidence sequence" if comparison.sequential else "Wilson"
    for name, count in zip(("both succeed", "only A", "only B", "neither"), counts, strict=True):
        yield name, f"{count:>5}   {points_text(count / counts.n):>5} %"
    yield "A", f"{rate_text(counts.successes_a, counts.n, rate_a)} ({method}){_error_note(errors_a)}"
    yield "B", f"{rate_text(counts.successes_b, counts.n, rate_b)} ({method}){_error_note(errors_b)}"
    yield from _evidence_rows(comparison)
    if errors_a or errors_b:
        low, high = (points_text(end, sign=True) for end in comparison.difference_had_errors_run)
        yield "errors", f"had they run, B - A would lie in [{low}, {high}] pp"
    yield "verdict", _verdict_text(comparison)


def _evidence_rows(comparison: Comparison) -> Iterator[tuple[str, str]]:
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
        yield "could have seen", _smallest_text(comparison)


def _error_note(errors: int) -> str:
    return f"; {errors} could not be run and count as no success" if errors else ""


def _smallest_text(comparison: Comparison) -> str:
    smallest = comparison.smallest_difference
    if smallest is None:
        return f"nothing: {comparison.counts.n} episodes are too few for any difference"
    return f"{points_text(smallest)} pp or more (80 % power, given how often A and B differ)"


def _verdict_text(comparison: Comparison) -> str:
    verdict, margin = comparison.verdict, points_text(comparison.margin or 0)
    if verdict is Verdict.NON_INFERIOR:
        return f"B is within the margin: no more than {margin} pp worse than A"
    if verdict is not Verdict.UNDECIDED:
        return f"B is {verdict.value} than A"
    if comparison.hinges_on_errors:
        return "cannot tell; it hinges on episodes that could not be run: eval.rollout --resume runs them again"
    if comparison.margin is not None:
        return (
            f"cannot tell; B may be {points_text(-comparison.interval.low)} pp worse than A, the margin is {margin} pp"
        )
    needed = comparison.pairs_to_decide
    if needed is None:
        return "cannot tell"
    observed = points_text(abs(comparison.counts.difference))
    return f"cannot tell; about {needed} episodes would see a difference of {observed} pp (80 % power)"


def _discordant(comparison: Comparison) -> Iterator[tuple[str, str]]:
    if not comparison.discordant:
        return
    shown = comparison.discordant[:_MOST_EPISODES_SHOWN]
    yield "", ""
    for pair in shown:
        yield _winner(pair), f"seed {pair.a.seed}: A {_outcome(pair.a)}, B {_outcome(pair.b)}"
    if len(shown) < len(comparison.discordant):
        yield "…", f"{len(comparison.discordant) - len(shown)} more; --json lists all"
    for name, command in replay_both(comparison, shown).items():
        yield f"replay {name.upper()}", command


def replay_both(comparison: Comparison, pairs: Sequence[Pair]) -> dict[str, str]:
    """Return the commands, by "a" and "b", that run the episodes of `pairs`; none without pairs."""
    seeds = [pair.a.seed for pair in pairs]
    runs = {"a": comparison.a, "b": comparison.b}
    return {name: replay_command(run, seeds) for name, run in runs.items()} if seeds else {}


def _winner(pair: Pair) -> str:
    return "only A" if pair.a.status == "success" else "only B"


def _outcome(result: EpisodeResult) -> str:
    return f"{result.failure or result.status} after {result.steps} steps"
