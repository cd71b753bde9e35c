"""Results in the order of the plan, although short episodes end first."""

from __future__ import annotations

from collections.abc import Iterator

from eval.episodes.results import EpisodeResult


class InPlanOrder:
    """Passes results on in the order of the plan, each one when all results before it are there.

    Successes end sooner than failures, so the episodes that happen to have ended first would flatter the policy. The
    episodes before the first gap do not.
    """

    def __init__(self) -> None:
        self.n = 0
        """Number of results passed on."""
        self._early: dict[int, EpisodeResult] = {}

    def add(self, result: EpisodeResult) -> Iterator[EpisodeResult]:
        """Take `result` and yield every result that is due now."""
        self._early[result.episode_index] = result
        while self.n in self._early:
            due = self._early.pop(self.n)
            self.n += 1
            yield due
