"""Reads run folders that may be damaged, or that somebody else has made.

What is read has the types that the dataclasses say. Otherwise one line says what is wrong with which file.
"""

from __future__ import annotations

from pathlib import Path

from eval.runs.episode_lines import EPISODES_FILE, read_results
from eval.runs.record import RunRecord
from eval.runs.run import EpisodeConditions, Run

__all__ = ["EpisodeConditions", "Run", "read_run"]


def read_run(folder: Path) -> Run:
    """Read the run in `folder`.

    Raises:
        ResultsError: If it holds no run, or a damaged one.
    """
    record = RunRecord.read(folder)
    results = read_results(folder / EPISODES_FILE)
    return Run(folder, record, tuple(results))
