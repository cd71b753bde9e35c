"""Writes the line of each episode when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eval.observers.base import Observer
from eval.results import EPISODES_FILE, EpisodeResult, append_result, write_results


class EpisodeLog(Observer):
    """Keeps `episodes.jsonl` of a run folder: appended as episodes end, in order once all have."""

    def __init__(self, folder: Path, earlier: Sequence[EpisodeResult] = ()) -> None:
        """Log into `folder`, which exists, after the `earlier` results of the same plan."""
        self._path, self._earlier = folder / EPISODES_FILE, earlier
        if self._path.exists():
            write_results(self._path, earlier)  # without the torn line that a killed run may have left

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """Append the episode's line."""
        append_result(self._path, result)

    def on_run_end(self, results: Sequence[EpisodeResult]) -> None:
        """Replace the file by all lines in the order of the plan."""
        write_results(self._path, [*self._earlier, *results])
