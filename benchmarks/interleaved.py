"""Compares the speed of two checkouts by interleaved pairs of measurements on this machine.

    git worktree add /tmp/before 8faaa2b
    python -m benchmarks.interleaved /tmp/before . --pairs 10
    python -m benchmarks.interleaved /tmp/before . --quick --rows "eval.rollout --help" "single gym.make"

The rows are those of `benchmarks.run` without peers. Each checkout measures itself with its own code: `table` of its
`benchmarks/run.py`. Every figure comes from a fresh process, which measures once to warm up and once for the figure. A
pair is one figure of each checkout; the order changes from pair to pair (before, after, after, before, …), so that a
drift of the machine's speed cancels out.

For each row this command prints the median over the pairs of the cost after divided by the cost before, with a 95 %
interval of the median from order statistics. The cost of a rate, such as steps/s, is its inverse. So a ratio below 1
means that the checkout `after` is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from math import comb
from pathlib import Path
from typing import Any

Row = tuple[str, str]
"""Name and unit of a row, which identify it."""

_RATES = ("simulated s/s", "steps/s", "stored steps/s", "images/s", "times ours")
"""Units for which a higher figure is better."""

_LIST = """
import json, sys
from benchmarks.run import table
print(json.dumps([[row.name, row.unit] for row in table(quick=json.loads(sys.argv[1]))]))
"""
_MEASURE = """
import json, sys
from benchmarks.run import table
if __name__ == "__main__":
    quick, name, unit = json.loads(sys.argv[1])
    (row,) = [row for row in table(quick=quick) if (row.name, row.unit) == (name, unit)]
    row.measure()
    print(json.dumps(row.measure()))
"""


def list_rows(checkout: Path, *, quick: bool) -> list[Row]:
    """Return the rows that the speed table of `checkout` has, in its order."""
    return [(name, unit) for name, unit in _ask(checkout, _LIST, quick)]


def measure(checkout: Path, row: Row, *, quick: bool) -> float:
    """Return the figure of `row` that a fresh process of `checkout` measures."""
    return float(_ask(checkout, _MEASURE, [quick, *row]))


def measure_pair(before: Path, after: Path, row: Row, *, quick: bool, after_first: bool) -> tuple[float, float]:
    """Measure both checkouts one right after the other; return the figure of `before`, then the figure of `after`."""
    order = (after, before) if after_first else (before, after)
    figures = {checkout: measure(checkout, row, quick=quick) for checkout in order}
    return figures[before], figures[after]


def cost_ratio(row: Row, before: float, after: float) -> float:
    """Return the cost after divided by the cost before; below 1 means that `after` is better."""
    return before / after if row[1] in _RATES else after / before


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return an interval that covers the median of the distribution of `values` with a probability of at least 95 %.

    Its ends are two of the values, the k-th lowest and the k-th highest. The number of values below the median has a
    binomial distribution with p = 1/2, so this holds for every continuous distribution.

    Args:
        values: Independent values.

    Returns:
        Both ends; None for fewer than 6 values, which are too few for this probability.
    """
    n, ordered = len(values), sorted(values)
    outside = 0.0  # probability that fewer than k values lie below the median
    k = 0
    while outside + comb(n, k) / 2**n <= 0.025:
        outside += comb(n, k) / 2**n
        k += 1
    return (ordered[k - 1], ordered[n - k]) if k else None


def _ask(checkout: Path, code: str, question: object) -> Any:
    """Run `code` with the packages of `checkout`; return its last line of output, read as JSON."""
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    words = [sys.executable, "-P", "-c", code, json.dumps(question)]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{checkout} could not measure {question}: {done.stderr.strip()[-800:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _chosen(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """Return the rows whose names contain one of `names`; all rows if no name is given."""
    chosen = [row for row in rows if not names or any(name in row[0] for name in names)]
    if not chosen:
        raise SystemExit(
            f"error: no row contains {' or '.join(names)}; there are: {'; '.join(name for name, _ in rows)}"
        )
    return chosen


def _line(row: Row, pairs: Sequence[tuple[float, float]]) -> str:
    ratios = [cost_ratio(row, *pair) for pair in pairs]
    interval = median_interval(ratios)
    ends = f"[{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "[needs 6 pairs]"
    before, after = (statistics.median(figures) for figures in zip(*pairs, strict=True))
    return f"{row[0]:48} {statistics.median(ratios):6.3f} {ends:16} {before:10.4g} {after:10.4g} {row[1]}"


def main() -> None:
    """Measure the rows in both checkouts and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="the earlier checkout")
    parser.add_argument("after", type=Path, help="the later checkout")
    parser.add_argument("--pairs", type=int, default=10, help="pairs of measurements for each row")
    parser.add_argument("--rows", nargs="+", default=[], help="only rows whose name contains one of these texts")
    parser.add_argument("--quick", action="store_true", help="fewer episodes in rows that run episodes")
    options = parser.parse_args()
    before, after, quick = options.before.resolve(), options.after.resolve(), options.quick
    there = list_rows(after, quick=quick)
    rows = _chosen([row for row in list_rows(before, quick=quick) if row in there], options.rows)
    print(f"{'row':48}  ratio {'95 % interval':16} {'before':>10} {'after':>10} unit")
    for row in rows:
        pairs = [
            measure_pair(before, after, row, quick=quick, after_first=bool(index % 2)) for index in range(options.pairs)
        ]
        print(_line(row, pairs), flush=True)


if __name__ == "__main__":
    main()
