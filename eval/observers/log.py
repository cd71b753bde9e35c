"""Writes the line of each episode into `episodes.jsonl` when the episode ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from eval.episodes.observer import Observer
from eval.episodes.plan import WHOLE, Shard
from eval.episodes.results import EpisodeResult
from eval.observers.plan_order import InPlanOrder
from eval.runs.log_file import EPISODES_FILE, append_result, write_results


class EpisodeLog(Observer):
    """Keeps `episodes.jsonl` of a run folder: lines are appended as episodes end, and sorted at the end of the run."""

    def __init__(
        self,
        folder: Path,
        earlier: Sequence[EpisodeResult] = (),
        keeps: Callable[[EpisodeResult], bool] = lambda result: True,
        shard: Shard = WHOLE,
    ) -> None:
        """Log into `folder`, which exists.

        Args:
            folder: Folder of the run.
            earlier: Results of the same plan, from before the run was resumed.
            keeps: Returns whether a result counts. Results that do not count are removed at the end of the run.
            shard: Part of the plan that runs.
        """
        self._path, self._keeps, self._shard = folder / EPISODES_FILE, keeps, shard
        self._results = list(earlier)
        if self._path.exists():
            write_results(self._path, earlier)  # drops the incomplete line that a killed run may have left

    @property
    def results(self) -> list[EpisodeResult]:
        """The results that count, in the order of the plan: earlier ones and new ones, up to the first gap.

        An interrupted run may have a gap. The episodes after the gap ended early, so most of them are successes.
        """
        in_order = InPlanOrder(self._shard)
        due = [result for ended in self._results for result in in_order.add(ended)]
        return list(filter(self._keeps, due))

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """Append the line of the episode."""
        append_result(self._path, result)
        self._results.append(result)

    def on_run_end(self, results: Sequence[EpisodeResult]) -> None:
        """Rewrite the file with the results that count, in the order of the plan."""
        write_results(self._path, filter(self._keeps, self._results))
