"""What a release check of an exchange of datasets concludes: a table, a line for each comparison, and an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.tables import write_csv

Row = tuple[str, int, int]
"""What was compared, how many values, steps, frames or files, and how many of them are equal."""


def same_files(source: Path, restored: Path) -> Row:
    """Compare the files of a dataset with those of the dataset that an import of its export has written."""
    files = [file for file in source.rglob("*") if file.is_file()]
    same = sum((restored / file.relative_to(source)).read_bytes() == file.read_bytes() for file in files)
    return "round trip: files with the same bytes", len(files), same


def conclude(table: Path, rows: Sequence[Row]) -> int:
    """Write the table, print a line for each row, and return 1 if anything differs."""
    write_csv(table, [dict(zip(("compared", "count", "equal"), row, strict=True)) for row in rows])
    for what, count, equal in rows:
        print(f"{'equal' if count == equal else 'DIFFERENT'}: {what}: {equal} of {count}")
    return int(any(count != equal for _, count, equal in rows))
