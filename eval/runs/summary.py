"""Computes the summary of a run from the results of its episodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from eval.episodes.results import EpisodeResult
from eval.runs.record import MovedObjects, Summary, TaskFigures, Timing
from eval.statistics.power import independent_discordance, smallest_difference
from eval.statistics.rates import clopper_pearson, wilson
from eval.statistics.sequential import rate_interval
from eval.statistics.stratified import average_rate
from simscaleai.json_data import finite

_TARGET_LIFTED = ("lifted", "placed")  # stages
_OTHER_LIFTED = "wrong_object"  # failure class


def summarise(results: Sequence[EpisodeResult], planned: int, *, sequential: bool = False) -> Summary:
    """Return the figures of the episodes in `results`.

    Args:
        results: Finished episodes.
        planned: Number of planned episodes, at least the number of `results`.
        sequential: Whether a stopping rule may end the run. The summary then holds only figures that are valid at every
            look.
    """
    n = len(results)
    successes = sum(result.status == "success" for result in results)
    errors = sum(result.status == "error" for result in results)
    held = [result.success_held for result in results]
    low, high, _ = rate_interval(successes, n, sequential=sequential)
    tasks = _tasks(results)
    average, stratified = average_rate([(task.successes, task.episodes) for task in tasks.values()])
    rate = average if tasks else successes / max(n, 1)
    return Summary(
        planned=planned,
        episodes=n,
        successes=successes,
        errors=errors,
        success_rate=rate,
        wilson_95=None if sequential else (low, high),
        confidence_sequence_95=(low, high) if sequential else None,
        at_least_95=None if sequential else clopper_pearson(successes, n).low,
        rate_if_errors_succeeded=(successes + errors) / max(n, 1),
        success_once=sum(result.success_once for result in results),
        success_held=None if not held or None in held else sum(map(bool, held)),
        mean_steps=sum(result.steps for result in results) / max(n, 1),
        smallest_difference=None if sequential else smallest_difference(n, independent_discordance(rate, rate)),
        failures=dict(Counter(result.failure for result in results if result.failure).most_common()),
        moved_object=moved_objects(results, sequential=sequential),
        tasks=tasks,
        stratified_95=stratified[:2] if tasks else None,
    )


def timed(before: Timing, results: Sequence[EpisodeResult], seconds: float) -> Timing:
    """Return the timing of a run in several pieces: invocations, or shards.

    Args:
        before: Timing of the earlier pieces.
        results: Episodes of all pieces.
        seconds: Time that the last piece took [s].
    """
    total = (before.seconds or 0.0) + seconds
    if not results or not total:
        return before
    steps = sum(result.steps for result in results)
    total, episodes_per_second, steps_per_second = finite([total, len(results) / total, steps / total])
    return replace(before, seconds=total, episodes_per_second=episodes_per_second, steps_per_second=steps_per_second)


def _tasks(results: Sequence[EpisodeResult]) -> dict[str, TaskFigures]:
    """Return the figures of each task in the order of the plan; nothing for a single task."""
    by_task: dict[str, list[EpisodeResult]] = {}
    for result in sorted(results, key=lambda result: result.episode_index):
        if result.task is not None:
            by_task.setdefault(result.task, []).append(result)
    return {task: _figures(of_task) for task, of_task in by_task.items()}


def _figures(results: Sequence[EpisodeResult]) -> TaskFigures:
    n, successes = len(results), sum(result.status == "success" for result in results)
    return TaskFigures(
        episodes=n,
        successes=successes,
        errors=sum(result.status == "error" for result in results),
        success_rate=successes / n,
        wilson_95=wilson(successes, n)[:2],
        mean_steps=sum(result.steps for result in results) / n,
    )


def moved_objects(results: Sequence[EpisodeResult], *, sequential: bool = False) -> MovedObjects | None:
    """Return how often the target and how often another object was lifted.

    Args:
        results: Finished episodes of a task with objects to lift.
        sequential: Whether a stopping rule may end the run, so that the interval must be valid at every look.

    Returns:
        The counts; None if no object was lifted in any episode.
    """
    right = sum(result.stage in _TARGET_LIFTED and result.status != "error" for result in results)
    wrong = sum(result.failure == _OTHER_LIFTED for result in results)
    if right + wrong == 0:
        return None
    low, high, _ = rate_interval(right, right + wrong, sequential=sequential)
    return MovedObjects(right=right, wrong=wrong, right_share_95=(low, high))
