"""The average success rate over several tasks (strata), with its interval. Every task has the same weight."""

from __future__ import annotations

from collections.abc import Sequence

from eval.statistics.rates import LEVEL, Interval, check_counts, wilson_of_rate


def average_rate(counts: Sequence[tuple[int, int]], level: float = LEVEL) -> tuple[float, Interval]:
    """Return the average success rate of several tasks, and its stratified interval.

    It is the Wilson interval for the effective number of episodes: as many as would estimate a single rate, equal to
    the average, with the variance of the stratified average. Tasks of different difficulty have a smaller variance
    than one task with their average rate, so the effective number is larger than the number of episodes. Variances use
    (successes + 0.5) / (episodes + 1), so that a task without failures does not count as certain.

    Episodes must be independent, and their number fixed in advance for each task. Tasks without episodes are left out.

    Args:
        counts: Successes and episodes of each task.
        level: Confidence level, in (0, 1).

    Returns:
        The average, 0 without episodes, and the interval, [0, 1] without episodes.

    Raises:
        ValueError: If a count or the level is out of range.

    Source: Korn, Graubard 1998, Survey Methodology 24 (effective sample size); Franco, Little, Louis, Slud 2019, J.
    Survey Stat. Methodol. 7(3) (with the Wilson interval). The half successes are ours, checked by simulation.
    """
    for successes, n in counts:
        check_counts(successes, n, level)
    tasks = [(successes, n) for successes, n in counts if n]
    if not tasks:
        return 0.0, Interval(0.0, 1.0, level)
    average = sum(successes / n for successes, n in tasks) / len(tasks)
    shrunk = [((successes + 0.5) / (n + 1), n) for successes, n in tasks]
    variance = sum(rate * (1 - rate) / n for rate, n in shrunk) / len(tasks) ** 2
    rate = sum(rate for rate, _ in shrunk) / len(tasks)
    return average, wilson_of_rate(average, rate * (1 - rate) / variance, level)
