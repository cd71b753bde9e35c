"""The outcomes of a battery by arm: one row for each start that every arm has run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eval.episodes.battery import CONTROL, Battery
from eval.episodes.results import EpisodeResult
from eval.statistics.rates import Interval, wilson


@dataclass(frozen=True)
class Cell:
    """The episodes of one arm."""

    arm: str
    """Name of the arm, or `CONTROL`."""
    results: tuple[EpisodeResult, ...]
    """One result for each start, in the order of the starts."""

    @property
    def n(self) -> int:
        """Number of starts."""
        return len(self.results)

    @property
    def successes(self) -> int:
        """Number of starts that succeeded. An episode that could not be run counts as not successful."""
        return sum(result.status == "success" for result in self.results)

    @property
    def errors(self) -> int:
        """Number of episodes that could not be run."""
        return sum(result.status == "error" for result in self.results)

    @property
    def rate(self) -> float:
        """Success rate."""
        return self.successes / self.n

    @property
    def interval(self) -> Interval:
        """Wilson interval of the success probability."""
        return wilson(self.successes, self.n)

    @property
    def failures(self) -> dict[str, int]:
        """Class of failure or error to the number of episodes, the most frequent first."""
        return dict(Counter(result.failure for result in self.results if result.failure).most_common())

    @property
    def example(self) -> EpisodeResult:
        """The first episode that did not succeed, or else the first episode."""
        return next((result for result in self.results if result.status != "success"), self.results[0])


@dataclass(frozen=True)
class Outcomes:
    """The episodes of one policy in a battery, by arm."""

    battery: Battery
    results: tuple[EpisodeResult, ...]
    """Episodes that have ended."""

    @cached_property
    def _by_arm(self) -> dict[str, dict[int, EpisodeResult]]:
        by_arm: dict[str, dict[int, EpisodeResult]] = {
            name: {} for name in (CONTROL, *(arm.name for arm in self.battery.arms))
        }
        for result in self.results:
            by_arm.setdefault(result.arm or CONTROL, {})[result.seed] = result
        return by_arm

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the starts that every arm has run, in the order of the plan."""
        everywhere = set.intersection(*map(set, self._by_arm.values()))
        return tuple(seed for seed in self._by_arm[CONTROL] if seed in everywhere)

    @property
    def errors(self) -> int:
        """Number of episodes that could not be run."""
        return sum(result.status == "error" for result in self.results)

    @property
    def control(self) -> Cell:
        """The unperturbed episodes."""
        return self.cell(CONTROL)

    def cell(self, arm: str, seeds: Sequence[int] | None = None) -> Cell:
        """Return the episodes of the arm with this name, of the starts `seeds`; by default of all starts."""
        results = self._by_arm[arm]
        return Cell(arm, tuple(results[seed] for seed in (self.seeds if seeds is None else seeds)))

    def has(self, arm: str) -> bool:
        """Return whether this run has the arm with this name."""
        return arm in self._by_arm

    def outcomes(
        self, arms: Sequence[str], seeds: Sequence[int] | None = None, *, errors_succeed: bool = False
    ) -> NDArray[np.bool_]:
        """Return whether each start succeeded in each of `arms`, shape (n, k).

        Args:
            arms: Names of k arms.
            seeds: Seeds of n starts; by default all.
            errors_succeed: Count episodes that could not be run as successes.
        """
        good = ("success", "error") if errors_succeed else ("success",)
        return np.array([[result.status in good for result in self.cell(arm, seeds).results] for arm in arms]).T
