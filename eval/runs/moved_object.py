"""Counts which object a policy lifted: the target, or another one."""

from __future__ import annotations

from collections.abc import Sequence

from eval.episodes.results import EpisodeResult
from eval.runs.record import MovedObjects
from eval.statistics.sequential import rate_interval

_TARGET_LIFTED = ("lifted", "placed")  # stages
_OTHER_LIFTED = "wrong_object"  # failure class


def moved_objects(results: Sequence[EpisodeResult], *, sequential: bool = False) -> MovedObjects | None:
    """Return how often the target and how often another object was lifted.

    Args:
        results: Finished episodes of a task with objects to lift.
        sequential: Whether a rule may stop the run early, so that the interval must be valid at every look.

    Returns:
        The counts; None if no object was lifted in any episode.
    """
    right = sum(result.stage in _TARGET_LIFTED for result in results)
    wrong = sum(result.failure == _OTHER_LIFTED for result in results)
    if right + wrong == 0:
        return None
    low, high, _ = rate_interval(right, right + wrong, sequential=sequential)
    return MovedObjects(right=right, wrong=wrong, right_share_95=(low, high))
