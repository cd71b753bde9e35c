"""Ends a run as soon as the data suffices, without bias from stopping early.

Looking at a run and then stopping it is unsafe in two ways. First, the error rates of intervals and p-values for a
fixed number of episodes do not hold under repeated looks, so the rules here use statistics that are valid at every
look. Second, short episodes end first, and most of them are successes, so the rules count episodes in the order of the
plan. A stopped run consists of the first n episodes of its plan, for any number of slots and workers. Later episodes
are dropped, even if they have ended.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from functools import cached_property
from math import log
from typing import ClassVar

from eval.episodes.observer import Observer
from eval.episodes.results import EpisodeResult
from eval.observers.plan_order import InPlanOrder
from eval.statistics.paired import log_e_value
from eval.statistics.percentage import points_text
from eval.statistics.rates import LEVEL
from eval.statistics.sequential import confidence_sequence

MOST_EPISODES = 100_000
"""Upper limit of the search for the number of episodes that an interval width requires."""


class StoppingRule(ABC):
    """Counts episodes in the order of the plan and decides when they suffice."""

    name: ClassVar[str]
    """Name of the rule in the record of a run."""
    threshold: float
    """Interval width or test level to reach, in (0, 1)."""

    @abstractmethod
    def add(self, result: EpisodeResult) -> None:
        """Count the next episode of the plan. An episode with the status `error` counts as not successful."""

    @property
    @abstractmethod
    def holds(self) -> bool:
        """Whether the episodes counted so far suffice."""

    @abstractmethod
    def text(self) -> str:
        """Return the rule in words, starting with "until"."""


class UntilWidth(StoppingRule):
    """Ends a run when the confidence sequence of the success rate is at most `threshold` wide."""

    name = "until_width"

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._successes = self._n = 0

    def add(self, result: EpisodeResult) -> None:
        """Count the next episode."""
        self._n += 1
        self._successes += result.status == "success"

    @property
    def holds(self) -> bool:
        """Whether the interval is narrow enough."""
        return _width(self._successes, self._n) <= self.threshold

    def text(self) -> str:
        """Return the rule in words."""
        return f"until the {LEVEL:.0%} interval is at most {points_text(self.threshold)} pp wide"

    @cached_property
    def most_episodes(self) -> int | None:
        """Number of episodes in the worst case, a success rate of one half; None if above `MOST_EPISODES`."""
        n = bisect_left(range(MOST_EPISODES + 1), -self.threshold, key=lambda n: -_width(n // 2, n))
        return n if n <= MOST_EPISODES else None


class UntilDecided(StoppingRule):
    """Ends a run when its policy is shown to be better or worse than the policy of another run on the same seeds.

    The rule holds when the evidence against "both succeed equally often" reaches 1 / `threshold`. If they do succeed
    equally often, the probability of ever calling one better is at most `threshold` (type-I error).
    """

    name = "until_decided"

    def __init__(self, successes: Mapping[int, bool], threshold: float = 1 - LEVEL) -> None:
        """Compare with the other run.

        Args:
            successes: Seed to whether the episode of the other run was a success, for every seed of the plan.
            threshold: Level of the test, in (0, 1).
        """
        self.threshold = threshold
        self._successes = successes
        self._only_other = self._only_this = 0

    def add(self, result: EpisodeResult) -> None:
        """Count the next pair of episodes."""
        this, other = result.status == "success", self._successes[result.seed]
        self._only_this += this and not other
        self._only_other += other and not this

    @property
    def holds(self) -> bool:
        """Whether the evidence is strong enough."""
        return log_e_value(self._only_other, self._only_this) >= log(1 / self.threshold)

    def text(self) -> str:
        """Return the rule in words."""
        return f"until decided at {self.threshold:.0%}"


class Stopping(Observer):
    """Passes the results of a run to a rule, in the order of the plan, and ends the run when the rule holds."""

    def __init__(self, rule: StoppingRule, earlier: Iterable[EpisodeResult] = ()) -> None:
        """Apply `rule` to a run; `earlier` are results from before the run was resumed."""
        self._rule, self._in_order = rule, InPlanOrder()
        self.n = 0
        """Number of episodes that count: the first `n` of the plan."""
        for result in earlier:
            self._follow(result)

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """Count the episodes that are next in the order of the plan."""
        self._follow(result)

    def keeps(self, result: EpisodeResult) -> bool:
        """Return whether the episode counts: all before it have ended, and the rule did not hold before it."""
        return result.episode_index < self.n

    def _follow(self, result: EpisodeResult) -> None:
        for due in self._in_order.add(result):
            if not self.has_seen_enough:
                self._rule.add(due)
                self.n += 1
                self.has_seen_enough = self._rule.holds


def _width(successes: int, n: int) -> float:
    low, high, _ = confidence_sequence(successes, n)
    return high - low
