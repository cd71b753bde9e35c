"""Writes the line of each episode when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eval.observers.base import Observer
from eval.results import EPISODES_FILE, EpisodeResult, append_result, write_results


class EpisodeLog(Observer):
    """Keeps `episodes.jsonl` of a run folder: appended as episodes end, in order once all have."""

    def __init__(self, folder: Path) -> None:
        """Log into `folder`, which exists."""
        self._path = folder / EPISODES_FILE

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """Append the episode's line."""
        append_result(self._path, result)

    def on_run_end(self, results: Sequence[EpisodeResult]) -> None:
        """Replace the file by all lines in the order of the plan."""
        write_results(self._path, results)
