"""Finds out, at the start of a run, whether an environment of others repeats itself and whether its starts differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from envs.slots import SlotEnv, Start, repeats_itself
from eval.episodes.faults import Fault, attributed_to_environment
from eval.episodes.plan import EpisodeSpec

MOST_STARTS = 6
"""Starts of a plan that are compared with each other."""


@dataclass(frozen=True)
class Repetition:
    """What was found out about an environment."""

    repeats: Literal["exact", "no", "unknown"]
    """Whether the same start and actions give the same bytes; "unknown" if the environment raised."""
    compared: int = 0
    """Number of starts of the plan that were compared with each other; 0 if that was not necessary."""
    distinct: int = 0
    """Number of different starts among them."""

    def warnings(self) -> list[str]:
        """Return what a user should know, one line each."""
        found = []
        if self.repeats != "exact":
            how = "does not repeat itself" if self.repeats == "no" else "could not be checked for repetition"
            found.append(
                f"the environment {how}: the same seed and actions may give another episode; a replay may differ, and "
                "--resume needs --accept-inexact"
            )
        if self.distinct < self.compared:
            alike = "all begin alike" if self.distinct == 1 else f"only {self.distinct} differ"
            found.append(
                f"of the first {self.compared} starts of the plan, {alike}: repeated starts are no new evidence, so "
                "the interval is too narrow"
            )
        return found


def probe_repetition(env: SlotEnv, specs: Sequence[EpisodeSpec]) -> Repetition:
    """Run a few steps of the first episodes of a plan, and return what they show about `env`.

    Nothing is run if the specification says that the environment repeats itself.

    Args:
        env: The environment. It can still be used afterwards.
        specs: The plan, at least one episode.

    Raises:
        SimScaleError: If the environment finds the set-up wrong.
    """
    if env.spec.repeats != "unknown":
        return Repetition(env.spec.repeats)
    starts = [Start(spec.seed, spec.start_options) for spec in specs[:MOST_STARTS]]
    try:
        with attributed_to_environment():
            same = repeats_itself(env, (starts[0], starts[1] if len(starts) > 1 else Start(specs[0].seed + 1)))
            return Repetition("exact" if same else "no", len(starts), _distinct(env, starts))
    except Fault:  # the run itself tries the episodes again, and counts what fails
        return Repetition("unknown")


def _distinct(env: SlotEnv, starts: Sequence[Start]) -> int:
    """Return how many of `starts` give different states or instructions at the beginning."""
    slot, found = np.array([0]), set()
    for start in starts:
        (begun,) = env.reset(slot, [start])
        found.add((begun.instruction, env.state(slot)[0]))
    return len(found)
