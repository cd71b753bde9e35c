"""Ends a run as soon as it has seen enough, such that stopping does not flatter what it finds.

Two things go wrong when one looks at a run and stops. Intervals and p-values for a fixed number of episodes are wrong
more often than they say; so the rules here use statistics that hold at every look. And the episodes that happen to have
ended are mostly those that end soon, successes; so the rules look at episodes in the order of the plan only, each when
all before it have ended. The run is then the first so many episodes of its plan, the same for any number of slots
and workers, and what had ended or begun beyond them is dropped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from math import log
from typing import ClassVar

from eval.observers.base import Observer
from eval.paired import log_e_value
from eval.percentage import points_text
from eval.results import EpisodeResult
from eval.statistics import LEVEL, confidence_sequence

MOST_EPISODES = 100_000
"""Where the search for the number of episodes that a width takes ends."""


class InPlanOrder:
    """Hands results on in the order of the plan, each when all before it are there."""

    def __init__(self) -> None:
        self.n = 0
        """How many were handed on."""
        self._early: dict[int, EpisodeResult] = {}

    def add(self, result: EpisodeResult) -> Iterator[EpisodeResult]:
        """Take `result`, of whatever episode, and yield those whose turn has come."""
        self._early[result.episode_index] = result
        while self.n in self._early:
            due = self._early.pop(self.n)
            self.n += 1
            yield due


class StoppingRule(ABC):
    """Counts episodes in the order of the plan until it has seen enough."""

    name: ClassVar[str]
    """As the record has it."""
    threshold: float
    """Width or level that is to be reached, in (0, 1)."""

    @abstractmethod
    def add(self, result: EpisodeResult) -> None:
        """Count the next episode; one that could not be run is no success."""

    @property
    @abstractmethod
    def holds(self) -> bool:
        """Whether what was counted so far is enough."""

    @abstractmethod
    def text(self) -> str:
        """Return until when episodes run, in words."""


class UntilWidth(StoppingRule):
    """Until the success probability is known to within a `threshold`: the width of its confidence sequence."""

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
        """Return until when episodes run, in words."""
        return f"until the {LEVEL:.0%} interval is at most {points_text(self.threshold)} pp wide"

    @cached_property
    def most_episodes(self) -> int | None:
        """How many episodes it takes at worst, for a rate of one half; None if more than `MOST_EPISODES`."""
        n = bisect_left(range(MOST_EPISODES + 1), -self.threshold, key=lambda n: -_width(n // 2, n))
        return n if n <= MOST_EPISODES else None


class UntilDecided(StoppingRule):
    """Until it is decided whether the policy is better or worse than the one of another run, on the same seeds.

    Decided it is when the evidence against "equally good" reaches 1 / `threshold`, so that of policies which are
    equally good, at most a share of `threshold` is ever called better or worse.
    """

    name = "until_decided"

    def __init__(self, successes: Mapping[int, bool], threshold: float = 1 - LEVEL) -> None:
        """Compare with another run.

        Args:
            successes: Seed to whether the other run's episode was a success; for every seed of the plan.
            threshold: Level of the test, in (0, 1).
        """
        self.threshold = threshold
        self._successes = successes
        self._only_other = self._only_this = 0

    def add(self, result: EpisodeResult) -> None:
        """Count the next pair."""
        this, other = result.status == "success", self._successes[result.seed]
        self._only_this += this and not other
        self._only_other += other and not this

    @property
    def holds(self) -> bool:
        """Whether the evidence is enough."""
        return log_e_value(self._only_other, self._only_this) >= log(1 / self.threshold)

    def text(self) -> str:
        """Return until when episodes run, in words."""
        return f"until decided at {self.threshold:.0%}"


class Stopping(Observer):
    """Follows a run and says when its rule has seen enough."""

    def __init__(self, rule: StoppingRule, earlier: Iterable[EpisodeResult] = ()) -> None:
        """Begin with the `earlier` results of a run that is resumed."""
        self._rule, self._in_order = rule, InPlanOrder()
        self.n = 0
        """How many episodes count: the first `n` of the plan."""
        for result in earlier:
            self._follow(result)

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """Count what is due."""
        self._follow(result)

    def keeps(self, result: EpisodeResult) -> bool:
        """Return whether an episode belongs to the run: none was missing before it, nor was it already decided."""
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
