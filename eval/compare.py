"""Compares two runs of the same episodes and says whether the second policy is better, worse, or neither for sure.

    python -m eval.compare runs/a runs/b --margin 5pp

Exit codes: 0 B is better than A or within --margin, 1 worse, 2 cannot tell, 3 not comparable or wrong usage.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from eval.comparison import Comparison, NotComparableError, Verdict, compare
from eval.comparison_text import format_comparison, replay_both
from eval.percentage import Points
from eval.reading import read_run
from eval.statistics import Interval
from simscaleai.command_line import parse, printable, say_mistake
from simscaleai.errors import SimScaleError

PROGRAM = "python -m eval.compare"

NOT_COMPARABLE = 3
"""Exit code: the two runs cannot be compared, or the command makes no sense."""

EXIT_CODES = {Verdict.BETTER: 0, Verdict.NON_INFERIOR: 0, Verdict.WORSE: 1, Verdict.UNDECIDED: 2}


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
    quiet: bool = False
    """Print nothing: the exit code says it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code."""
    try:
        config: CompareConfig = parse(CompareConfig, PROGRAM, arguments)
    except SimScaleError as mistake:
        say_mistake(mistake)
        return NOT_COMPARABLE  # a wrong flag is 2 everywhere else; here that would say "cannot tell"
    try:
        comparison = compare(read_run(config.a), read_run(config.b), config.margin)
        text = json.dumps(to_json(comparison), indent=2) if config.json else format_comparison(comparison)
    except NotComparableError as error:
        _print_differences(error.differences, as_json=config.json)
        return NOT_COMPARABLE
    except (SimScaleError, OSError) as mistake:
        say_mistake(mistake)
        return NOT_COMPARABLE
    if not config.quiet:
        print(text)
    return EXIT_CODES[comparison.verdict]


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Return everything that a comparison found as plain JSON data; rates and differences are fractions.

    If a run ended when it had seen enough, what holds only for a number of pairs fixed beforehand is None (`p_value`,
    `newcombe_95`, `wilson_95`, `smallest_difference`), otherwise what holds at every look (`inverse_e_value`,
    `difference_sequence_95`, `confidence_sequence_95`).
    """
    task, sequential = comparison.a.task, comparison.sequential
    return {
        "verdict": comparison.verdict.value,
        "environment": task.environment,
        "terminate_on_success": task.terminates_on_success,
        "episodes": comparison.counts.n,
        **_rates_to_json(comparison),
        "pairs": comparison.counts._asdict(),
        "difference": comparison.counts.difference,
        **_interval_to_json("newcombe_95", "difference_sequence_95", comparison.interval, sequential=sequential),
        "difference_had_errors_run": list(comparison.difference_had_errors_run),
        "p_value": comparison.p_value,
        "inverse_e_value": comparison.inverse_e_value if sequential else None,
        "smallest_difference": comparison.smallest_difference,
        "margin": comparison.margin,
        "discordant": [
            {"seed": pair.a.seed, "a": pair.a.to_json(), "b": pair.b.to_json()} for pair in comparison.discordant
        ],
        "replay": replay_both(comparison, comparison.discordant),
        "warnings": list(comparison.warnings),
    }


def _rates_to_json(comparison: Comparison) -> dict[str, Any]:
    counts = comparison.counts
    successes = (counts.successes_a, counts.successes_b)
    sides = zip("ab", (comparison.a, comparison.b), successes, comparison.errors, comparison.rates, strict=True)
    return {
        name: {
            "folder": str(run.folder),
            "model": run.record.config["model"],
            "checkpoint_digest": run.record.checkpoint_digest,
            "interventions": list(run.interventions),
            "successes": count,
            "sequential": run.record.sequential,
            "errors": errors,
            "success_rate": count / counts.n,
            **_interval_to_json("wilson_95", "confidence_sequence_95", interval, sequential=comparison.sequential),
        }
        for name, run, count, errors, interval in sides
    }


def _interval_to_json(fixed: str, anytime: str, interval: Interval, *, sequential: bool) -> dict[str, Any]:
    ends = [interval.low, interval.high]
    return {fixed: None if sequential else ends, anytime: ends if sequential else None}


def _print_differences(differences: list[str], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"verdict": "not comparable", "differences": differences}, indent=2))
        return
    print("\n".join(["not comparable", *(f"  {printable(difference)}" for difference in differences)]), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
