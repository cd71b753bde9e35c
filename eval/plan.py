"""The plan of a run: which episodes, with which seeds, fixed before anything moves.

The seed of an episode depends on the base seed and its index only, never on the number of slots or on when other
episodes end. Purposes have disjoint ranges, so that no policy is scored on scenes that it was trained or chosen on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simscaleai.errors import SimScaleError

TEST_SEEDS = range(1_000_000)
"""Users' evaluation runs."""

PUBLISHED_SEEDS = range(900_000, 901_000)
"""Numbers in the documentation, run once per frozen checkpoint."""

DEMONSTRATION_SEEDS = range(1_000_000_000, 2_000_000_000)
"""Demonstrations to learn from."""

VALIDATION_SEEDS = range(2_000_000_000, 3_000_000_000)
"""Choosing between checkpoints."""

DEVELOPMENT_SEEDS = range(3_000_000_000, 4_000_000_000)
"""Tuning experts and environments; tests."""


class PlanError(SimScaleError):
    """A plan that cannot be run or would not mean anything."""


@dataclass(frozen=True)
class EpisodeSpec:
    """One planned episode."""

    episode_index: int
    """Place in the plan, from 0."""
    seed: int
    """The only source of randomness of environment and policy."""
    target: str | None = None
    """Object to move, where the task has several; None leaves it to the seed."""
    instruction: str | None = None
    """Words given to the policy; None leaves them to the task."""


def plan_episodes(episodes: int, seed: int = 0) -> tuple[EpisodeSpec, ...]:
    """Plan `episodes` episodes with the seeds `seed`, `seed + 1` and so on.

    Raises:
        PlanError: If there is no episode or a seed is negative.
    """
    if episodes < 1:
        raise PlanError(f"expected at least 1 episode, got {episodes}")
    return plan_seeds(range(seed, seed + episodes))


def plan_seeds(seeds: Sequence[int]) -> tuple[EpisodeSpec, ...]:
    """Plan one episode for each of `seeds`, in that order.

    Raises:
        PlanError: If there is none, one is negative, or one comes twice: the same episode again is no new evidence.
    """
    if not seeds:
        raise PlanError("expected at least 1 seed, got none")
    if min(seeds) < 0:
        raise PlanError(f"expected seeds of at least 0, got {min(seeds)}")
    if len(set(seeds)) < len(seeds):
        repeated = sorted({seed for seed in seeds if seeds.count(seed) > 1})
        raise PlanError(f"expected each seed once, got {repeated} more than once; give other seeds")
    return tuple(EpisodeSpec(index, seed) for index, seed in enumerate(seeds))
