"""Writes the line of each episode when it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from eval.observers.base import Observer
from eval.results import EPISODES_FILE, EpisodeResult, append_result, write_results


class EpisodeLog(Observer):
    """Keeps `episodes.jsonl` of a run folder: appended as episodes end, in order once the run is over."""

    def __init__(
        self,
        folder: Path,
        earlier: Sequence[EpisodeResult] = (),
        keeps: Callable[[EpisodeResult], bool] = lambda result: True,
    ) -> None:
        """Log into `folder`, which exists.

        Args:
            folder: Folder of the run.
            earlier: Results of the same plan that are there already.
            keeps: Asked when the run is over, of each result: whether it belongs to the run.
        """
        self._path, self._earlier, self._keeps = folder / EPISODES_FILE, earlier, keeps
        if self._path.exists():
            write_results(self._path, earlier)  # without the torn line that a killed run may have left

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """Append the episode's line."""
        append_result(self._path, result)

    def on_run_end(self, results: Sequence[EpisodeResult]) -> None:
        """Replace the file by the lines that are kept, in the order of the plan."""
        write_results(self._path, filter(self._keeps, [*self._earlier, *results]))
