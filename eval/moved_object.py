"""Which object a policy lifted: the one it was to move, or another. By chance it is the right one of k in 1/k."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eval.percentage import rate_text
from eval.results import EpisodeResult
from eval.statistics import Interval, rate_interval

_TARGET_LIFTED = ("lifted", "placed")
_OTHER_LIFTED = "wrong_object"


@dataclass(frozen=True, kw_only=True)
class MovedObjects:
    """Episodes in which an object was lifted."""

    right: int
    """Those in which it was the target, also if another one was lifted, too."""
    wrong: int
    """Those in which it was others only."""
    sequential: bool
    """Whether the run ends when it has seen enough: then the interval holds at every look."""

    @property
    def n(self) -> int:
        """Episodes in which any was lifted."""
        return self.right + self.wrong

    @property
    def interval(self) -> Interval:
        """Of the probability that what is lifted is the target, at 95 %."""
        return rate_interval(self.right, self.n, sequential=self.sequential)

    def to_json(self) -> dict[str, Any]:
        """Return counts and interval as plain JSON data."""
        return {"right": self.right, "wrong": self.wrong, "right_share_95": list(self.interval[:2])}

    def text(self) -> str:
        """Return the share in one line for people."""
        if not self.n:
            return "no episode in which any object was lifted"
        method = "confidence sequence" if self.sequential else "Wilson"
        return f"{rate_text(self.right, self.n, self.interval)} ({method}, of what was lifted)"


def moved_objects(results: Sequence[EpisodeResult], *, sequential: bool = False) -> MovedObjects:
    """Return how often the right and the wrong object was lifted, from how far each episode came and why it failed.

    Args:
        results: Finished episodes of a task with objects to lift.
        sequential: Whether the run ends when it has seen enough.
    """
    right = sum(result.stage in _TARGET_LIFTED for result in results)
    wrong = sum(result.failure == _OTHER_LIFTED for result in results)
    return MovedObjects(right=right, wrong=wrong, sequential=sequential)
