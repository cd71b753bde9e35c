"""Tables of results: where they lie, how they are written, and how they are read."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
"""Folder of the tables that git tracks."""


def write_csv(path: Path, lines: Sequence[Mapping[str, object]]) -> None:
    """Write `lines`, at least one and all with the same keys, as a CSV file with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the lines of a table that `write_csv` has written."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
