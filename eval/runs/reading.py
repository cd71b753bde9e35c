"""Reads run folders, which may be damaged or of unknown origin.

Every value is checked against the type annotations of the dataclasses. An error names the file and its fault in one
line.
"""

from __future__ import annotations

from pathlib import Path

from eval.runs.log_file import EPISODES_FILE, read_results
from eval.runs.record import RunRecord
from eval.runs.run import EpisodeConditions, Run

__all__ = ["EpisodeConditions", "Run", "read_run"]


def read_run(folder: Path) -> Run:
    """Read the run in `folder`.

    Raises:
        ResultsError: If `folder` holds no run, or a damaged one.
    """
    record = RunRecord.read(folder)
    results = read_results(folder / EPISODES_FILE)
    return Run(folder, record, tuple(results))
