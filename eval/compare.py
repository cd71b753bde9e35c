"""Compares two runs of the same episodes and says whether the second policy is better, worse, or neither for sure.

    python -m eval.compare runs/a runs/b --margin 5pp

Exit codes: 0 B is better than A or within --margin, 1 worse, 2 cannot tell, 3 not comparable or wrong usage.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from eval.comparison import Comparison, NotComparableError, Pair, Run, Verdict, compare
from eval.percentage import Points, points_text
from eval.results import EpisodeResult
from eval.statistics import Interval
from simscaleai.errors import SimScaleError

PROGRAM = "python -m eval.compare"

NOT_COMPARABLE = 3
"""Exit code: the two runs cannot be compared, or the command makes no sense."""

EXIT_CODES = {Verdict.BETTER: 0, Verdict.NON_INFERIOR: 0, Verdict.WORSE: 1, Verdict.UNDECIDED: 2}

_MOST_EPISODES_SHOWN = 20


@dataclass(frozen=True)
class CompareConfig:
    """Compare two runs of the same episodes, pair by pair.

    Exit codes: 0 B is better than A or within --margin, 1 worse, 2 cannot tell, 3 not comparable.
    """

    a: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="A")]
    """Run folder to compare with."""
    b: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="B")]
    """Run folder to judge."""
    margin: Points = None
    """How much lower B's success rate may be: 5pp, 5% or 0.05."""
    json: bool = False
    """Print everything as JSON."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code."""
    try:
        config = tyro.cli(CompareConfig, prog=PROGRAM, args=arguments)
    except SystemExit as ended:
        if ended.code:  # a wrong flag is 2 everywhere else; here that would say "cannot tell"
            return NOT_COMPARABLE
        raise
    try:
        comparison = compare(Run.read(config.a), Run.read(config.b), config.margin)
    except NotComparableError as error:
        _print_differences(error.differences, as_json=config.json)
        return NOT_COMPARABLE
    except (SimScaleError, OSError) as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return NOT_COMPARABLE
    print(json.dumps(to_json(comparison), indent=2) if config.json else format_comparison(comparison))
    return EXIT_CODES[comparison.verdict]


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Return everything that a comparison found as plain JSON data; rates and differences are fractions."""
    counts, (rate_a, rate_b) = comparison.counts, comparison.rates
    return {
        "verdict": comparison.verdict.value,
        "environment": comparison.a.environment,
        "terminate_on_success": comparison.a.terminates_on_success,
        "episodes": counts.n,
        "a": _run_to_json(comparison.a, counts.successes_a, rate_a),
        "b": _run_to_json(comparison.b, counts.successes_b, rate_b),
        "pairs": counts._asdict(),
        "difference": counts.difference,
        "newcombe_95": list(comparison.interval[:2]),
        "p_value": comparison.p_value,
        "smallest_difference": comparison.smallest_difference,
        "margin": comparison.margin,
        "discordant": [
            {"seed": pair.a.seed, "a": pair.a.to_json(), "b": pair.b.to_json()} for pair in comparison.discordant
        ],
        "replay": _replay_both(comparison, comparison.discordant),
        "warnings": list(comparison.warnings),
    }


def format_comparison(comparison: Comparison) -> str:
    """Return what a comparison found as lines of text for people."""
    rows = [*_heading(comparison), *_findings(comparison), *_discordant(comparison)]
    return "\n".join(f"{name:<20} {text}".rstrip() for name, text in rows)


def replay_command(run: Run, seeds: Sequence[int]) -> str:
    """Return the command that runs the episodes of `seeds` as `run` did."""
    config = run.record.config
    words = ["python", "-m", "eval.rollout", "--model", str(config["model"])]
    if config.get("checkpoint") is not None:
        words += ["--checkpoint", str(config["checkpoint"])]
    words += ["--env", str(config["env"])]
    if run.terminates_on_success is False:
        words.append("--no-terminate-on-success")
    return shlex.join([*words, "--seeds", *map(str, seeds)])


def _heading(comparison: Comparison) -> Iterator[tuple[str, str]]:
    for name, run in (("A", comparison.a), ("B", comparison.b)):
        digest = run.record.checkpoint_digest
        checkpoint = f", checkpoint {digest[:12]}" if digest else ""
        yield name, f"{run.folder}: {run.record.config['model']}{checkpoint}"
    yield "episodes", f"{comparison.a.environment}, {comparison.a.seeds_text}"
    moment = (
        "at any step, which ends the episode" if comparison.a.terminates_on_success else "at the end of the episode"
    )
    yield "success", moment
    for warning in comparison.warnings:
        yield "warning", warning
    yield "", ""


def _findings(comparison: Comparison) -> Iterator[tuple[str, str]]:
    counts, (rate_a, rate_b) = comparison.counts, comparison.rates
    for name, count in zip(("both succeed", "only A", "only B", "neither"), counts, strict=True):
        yield name, f"{count:>5}   {points_text(count / counts.n):>5} %"
    yield "A", _rate_text(counts.successes_a, counts.n, rate_a) + _error_note(comparison.a)
    yield "B", _rate_text(counts.successes_b, counts.n, rate_b) + _error_note(comparison.b)
    low, high = (points_text(end, sign=True) for end in comparison.interval[:2])
    yield "B - A", f"{points_text(counts.difference, sign=True)} pp   95 % interval [{low}, {high}] (Newcombe, paired)"
    yield "p", f"{comparison.p_value:.2g} (exact McNemar, two-sided, {counts.discordant} discordant pairs)"
    yield "could have seen", _smallest_text(comparison)
    yield "verdict", _verdict_text(comparison)


def _rate_text(successes: int, n: int, interval: Interval) -> str:
    low, high = (points_text(end) for end in interval[:2])
    return f"{successes}/{n}   {points_text(successes / n)} %   95 % interval [{low}, {high}] (Wilson)"


def _error_note(run: Run) -> str:
    return f"; {run.errors} could not be run and count as no success" if run.errors else ""


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
    for name, command in _replay_both(comparison, shown).items():
        yield f"replay {name.upper()}", command


def _replay_both(comparison: Comparison, pairs: Sequence[Pair]) -> dict[str, str]:
    seeds = [pair.a.seed for pair in pairs]
    runs = {"a": comparison.a, "b": comparison.b}
    return {name: replay_command(run, seeds) for name, run in runs.items()} if seeds else {}


def _winner(pair: Pair) -> str:
    return "only A" if pair.a.status == "success" else "only B"


def _outcome(result: EpisodeResult) -> str:
    return f"{result.failure or result.status} after {result.steps} steps"


def _run_to_json(run: Run, successes: int, interval: Interval) -> dict[str, Any]:
    return {
        "folder": str(run.folder),
        "model": run.record.config["model"],
        "checkpoint_digest": run.record.checkpoint_digest,
        "successes": successes,
        "errors": run.errors,
        "success_rate": successes / len(run.results),
        "wilson_95": list(interval[:2]),
    }


def _print_differences(differences: list[str], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"verdict": "not comparable", "differences": differences}, indent=2))
        return
    print("\n".join(["not comparable", *(f"  {difference}" for difference in differences)]), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
