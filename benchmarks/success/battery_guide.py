"""Writes what the guide to robustness shows of benchmarks/results/robustness.csv.

    python -m benchmarks.success.battery_guide

It draws docs/robustness.svg and replaces the tables between the marks in docs/guides/robustness.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.success.battery_figure import Curves, Point, figure, read_curves

DOCS = Path(__file__).resolve().parents[2] / "docs"
FIGURE, GUIDE = DOCS / "robustness.svg", DOCS / "guides" / "robustness.md"
BEGIN, END = "<!-- made by benchmarks.success.battery_guide -->\n", "<!-- end -->\n"
"""Marks around the tables in the guide."""

_FIGURE_ENVIRONMENT = "SimScale/PickPlace-v0"


@dataclass(frozen=True)
class Table:
    """A table with a row for each axis and a column for each policy."""

    title: str
    policies: Mapping[str, str]
    """Name of each policy to its environment."""
    levels: tuple[int, ...]


_VLAS = ("vla-pick-place", "vla-pick-place-diffusion", "vla-robust")
_LANGUAGE, _PICK_PLACE = "SimScale/PickPlaceLanguage-v0", "SimScale/PickPlace-v0"
TABLES = (
    Table("PickPlace, from images", dict.fromkeys(("bc-pick-place-image", *_VLAS), _PICK_PLACE), (2, 4)),
    Table("PickPlaceLanguage, from images", dict.fromkeys(_VLAS, _LANGUAGE), (2, 4)),
    Table(
        "From simulator truth: Reach, PickPlace, Stack",
        {"bc-reach": "SimScale/Reach-v0", "bc-pick-place": _PICK_PLACE, "bc-stack": "SimScale/Stack-v0"},
        (1, 3, 5),
    ),
)


def tables() -> str:
    """Return the tables as Markdown."""
    return "\n".join(line for table in TABLES for line in _lines(table))


def _lines(table: Table) -> Iterator[str]:
    read = {policy: _by_axis(read_curves(environment), policy) for policy, environment in table.policies.items()}
    curves = {policy: found for policy, found in read.items() if found}
    levels = " / ".join(map(str, table.levels))
    yield f"| {table.title}; levels {levels} | {' | '.join(f'`{policy}`' for policy in curves)} |"
    yield "|---" * (len(curves) + 1) + "|"
    for axis in dict.fromkeys(axis for found in curves.values() for axis in found):
        rows = [found.get(axis, {}) for found in curves.values()]
        cells = [_successes(found, table.levels) for found in rows]
        yield f"| `{axis}` {_magnitudes(rows, table.levels)} | {' | '.join(cells)} |"
    yield ""


def _by_axis(curves: Curves, policy: str) -> dict[str, dict[int, Point]]:
    """Return the points of one policy by axis and level."""
    return {
        axis: {point.level: point for point in policies[policy]}
        for axis, policies in curves.items()
        if policy in policies
    }


def _magnitudes(rows: Sequence[Mapping[int, Point]], levels: Sequence[int]) -> str:
    texts = [next(found[level].magnitude for found in rows if level in found) for level in levels]
    unit = texts[0].partition(" ")[2]
    return f"{' / '.join(text.partition(' ')[0] for text in texts)} {unit}".strip()


def _successes(found: Mapping[int, Point], levels: Sequence[int]) -> str:
    """Return the successes at each level, of how many, and those of the expert if it failed; "" if nothing was run."""
    if not found:
        return ""
    points = [found[level] for level in levels]
    n = points[0].n
    experts = [point.expert for point in points if point.expert is not None]
    expert = f" (expert {' / '.join(map(str, experts))})" if any(each < n for each in experts) else ""
    return f"{' / '.join(str(point.successes) for point in points)} of {n}{expert}"


def with_tables(guide: str, made: str) -> str:
    """Return the text of the guide with the tables `made` between the marks."""
    before, _, rest = guide.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"error: expected the marks {BEGIN.strip()} and {END.strip()} in {GUIDE}")
    return f"{before}{BEGIN}\n{made}{mark}{after}"


def main() -> int:
    """Write the figure and the tables, and return the exit code."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    guide = with_tables(GUIDE.read_text(encoding="utf-8"), tables())
    FIGURE.write_text(figure(read_curves(_FIGURE_ENVIRONMENT)), encoding="utf-8")
    GUIDE.write_text(guide, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
