"""Finds out, at the start of a run, whether an environment of others repeats itself and whether its starts differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from envs.slots import SlotEnv, Start, repeats_itself
from eval.episodes.faults import Fault, attributed_to_environment
from eval.episodes.plan import EpisodeSpec
from simscaleai.contract import EnvSpec

MOST_STARTS = 6
"""Starts of a plan that are compared with each other; in a suite, at least two of each task."""

Repeats = Literal["exact", "no", "unknown"]


@dataclass(frozen=True)
class Repetition:
    """What was found out about an environment."""

    repeats: Repeats
    """Whether the same start and actions give the same bytes in every task; "unknown" if the environment raised."""
    compared: int = 0
    """Number of starts of the plan that were compared with each other; 0 if that was not necessary."""
    distinct: int = 0
    """Number of different starts among them."""
    surplus: int = 0
    """Number of episodes of the plan, in each task, beyond the number of different starts that the environment has."""

    def warnings(self) -> list[str]:
        """Return what a user should know, one line each."""
        found = []
        if self.repeats != "exact":
            how = "does not repeat itself" if self.repeats == "no" else "could not be checked for repetition"
            found.append(
                f"the environment {how}: the same seed and actions may give another episode, so replayed and resumed "
                "episodes may differ"
            )
        if self.distinct < self.compared:
            alike = "all begin alike" if self.distinct == 1 else f"only {self.distinct} differ"
            found.append(
                f"of the first {self.compared} starts of the plan, {alike}: repeated starts are no new evidence, so "
                "the interval is too narrow"
            )
        if self.surplus:
            found.append(
                f"the plan has {self.surplus} more episodes than the environment has different starts: they repeat "
                "others, so the interval is too narrow"
            )
        return found


def probe_repetition(env: SlotEnv, specs: Sequence[EpisodeSpec]) -> Repetition:
    """Run a few steps of the first episodes of a plan, in each task of a suite, and return what they show about `env`.

    Nothing is run if the specification says that the environment repeats itself.

    Args:
        env: The environment. It can still be used afterwards.
        specs: The plan, at least one episode.

    Raises:
        SimScaleError: If the environment finds the set-up wrong.
    """
    surplus = _surplus(env.spec, specs)
    if env.spec.repeats != "unknown":
        return Repetition(env.spec.repeats, surplus=surplus)
    found = [_probe_task(env, starts) for starts in _first_starts(specs)]
    answers: tuple[Repeats, ...] = ("no", "unknown", "exact")  # the worst first
    repeats = next(answer for answer in answers if any(each.repeats == answer for each in found))
    return Repetition(repeats, sum(each.compared for each in found), sum(each.distinct for each in found), surplus)


class _Found(NamedTuple):
    """What was found out about one task."""

    repeats: Repeats
    compared: int
    distinct: int


def _probe_task(env: SlotEnv, starts: Sequence[Start]) -> _Found:
    for first, other in pairwise([*starts, replace(starts[0], seed=starts[0].seed + 1)]):
        try:
            with attributed_to_environment():
                same = repeats_itself(env, (first, other))
                return _Found("exact" if same else "no", len(starts), _distinct(env, starts))
        except Fault:  # the run itself tries these episodes again, and counts what fails
            continue
    return _Found("unknown", 0, 0)


def _first_starts(specs: Sequence[EpisodeSpec]) -> list[list[Start]]:
    """Return the first few starts of each task."""
    by_task: dict[str | None, list[Start]] = {}
    for spec in specs:
        by_task.setdefault(spec.task, []).append(Start(spec.seed, spec.start_options))
    most = max(2, MOST_STARTS // len(by_task))
    return [starts[:most] for starts in by_task.values()]


def _surplus(spec: EnvSpec, specs: Sequence[EpisodeSpec]) -> int:
    tasks = len({each.task for each in specs})
    return 0 if spec.distinct_starts is None else max(0, len(specs) // tasks - spec.distinct_starts)


def _distinct(env: SlotEnv, starts: Sequence[Start]) -> int:
    """Return how many of `starts` give different states or instructions at the beginning."""
    slot, found = np.array([0]), set()
    for start in starts:
        (begun,) = env.reset(slot, [start])
        found.add((begun.instruction, env.state(slot)[0]))
    return len(found)
