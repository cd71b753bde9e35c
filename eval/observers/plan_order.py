"""Sorts results into the order of the plan while a run goes on."""

from __future__ import annotations

from collections.abc import Iterator

from eval.episodes.plan import WHOLE, Shard
from eval.episodes.results import EpisodeResult


class InPlanOrder:
    """Passes results on in the order of the plan, each as soon as all earlier ones have arrived.

    Successes end sooner than failures, so the success rate of all episodes that have ended is biased upwards. The
    success rate of the episodes before the first gap is not.
    """

    def __init__(self, shard: Shard = WHOLE) -> None:
        """Expect the episodes of `shard`."""
        self._shard = shard
        self.n = 0
        """Number of results passed on."""
        self._early: dict[int, EpisodeResult] = {}
        """Index of an episode to its result, for results that wait for earlier ones."""

    def add(self, result: EpisodeResult) -> Iterator[EpisodeResult]:
        """Add `result`; yield every result that is next in the order of the plan."""
        self._early[result.episode_index] = result
        while (index := self._shard.index(self.n)) in self._early:
            due = self._early.pop(index)
            self.n += 1
            yield due
