"""Compares two runs of the same episodes and says whether the second policy is better, worse, or undecided.

    python -m eval.compare runs/a runs/b --margin 5pp

Two robustness batteries are compared axis by axis, paired by arm and seed.

Exit codes: 0 B is better than A or within --margin, 1 B is worse, 2 cannot tell, 3 not comparable or wrong usage,
70 internal error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from eval.battery.as_json import battery_comparison_to_json
from eval.battery.comparison import BatteryComparison, compare_batteries
from eval.battery.text import battery_comparison_rows
from eval.comparison.as_json import comparison_to_json
from eval.comparison.conditions import NotComparableError
from eval.comparison.outcome import Comparison
from eval.comparison.pairing import compare
from eval.comparison.text import comparison_rows
from eval.comparison.verdict import Verdict
from eval.runs.reading import read_run
from eval.terminal.command import run_command
from eval.terminal.console import rows_text
from eval.terminal.flags import Points
from simscaleai.command_line import printable
from simscaleai.errors import SimScaleError

PROGRAM = "python -m eval.compare"

NOT_COMPARABLE = 3
"""Exit code if the runs cannot be compared or the usage is wrong. Other commands use 2 for wrong usage; here 2 means
"cannot tell"."""

EXIT_CODES = {Verdict.BETTER: 0, Verdict.NON_INFERIOR: 0, Verdict.WORSE: 1, Verdict.UNDECIDED: 2}


@dataclass(frozen=True)
class CompareConfig:
    """Compare two runs of the same episodes, pair by pair; two robustness batteries axis by axis.

    Exit codes: 0 B is better than A or within --margin, 1 B is worse, 2 cannot tell, 3 not comparable or wrong usage.
    """

    a: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="A")]
    """Run folder to compare with."""
    b: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="B")]
    """Run folder to judge."""
    margin: Points = None
    """Non-inferiority margin: how much lower the success rate of B may be (5pp, 5% or 0.05)."""
    json: bool = False
    """Print the result as one JSON object instead of text."""
    quiet: bool = False
    """Print no text, only errors; the exit code holds the verdict."""


def format_comparison(comparison: Comparison | BatteryComparison) -> str:
    """Return the findings of a comparison as lines of text."""
    if isinstance(comparison, BatteryComparison):
        return rows_text(battery_comparison_rows(comparison))
    return rows_text(comparison_rows(comparison))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code."""
    return run_command(CompareConfig, _compare_and_print, PROGRAM, arguments, wrong_usage=NOT_COMPARABLE)


def _compare_and_print(config: CompareConfig) -> int:
    if config.a.resolve() == config.b.resolve():
        raise SimScaleError(f"expected two different runs, got {config.a} twice")
    a, b = read_run(config.a), read_run(config.b)
    try:
        comparison = (compare_batteries if a.record.battery and b.record.battery else compare)(a, b, config.margin)
    except NotComparableError as error:
        _print_differences(error.differences, as_json=config.json)
        return NOT_COMPARABLE
    if config.json:
        print(_as_json(comparison))
    elif not config.quiet:
        print(format_comparison(comparison))
    return EXIT_CODES[comparison.verdict]


def _as_json(comparison: Comparison | BatteryComparison) -> str:
    if isinstance(comparison, BatteryComparison):
        return json.dumps(battery_comparison_to_json(comparison), indent=2)
    return json.dumps(comparison_to_json(comparison), indent=2)


def _print_differences(differences: list[str], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"verdict": "not comparable", "differences": differences}, indent=2))
        return
    print("\n".join(["not comparable", *(f"  {printable(difference)}" for difference in differences)]), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
