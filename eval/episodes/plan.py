"""The plan of a run: its episodes and their seeds, fixed before the run starts.

The seed of an episode depends on the base seed and its index only, never on the number of slots or on when other
episodes end. Evaluation, training and the choice of a checkpoint use disjoint ranges of seeds, so that no policy is
evaluated on scenes that it was trained or chosen on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from simscaleai.contract import TASK
from simscaleai.errors import SimScaleError
from simscaleai.perturbation import Magnitude

TEST_SEEDS = range(1_000_000)
"""Evaluation runs of users."""

PUBLISHED_SEEDS = range(900_000, 901_000)
"""Part of `TEST_SEEDS` for the numbers in the documentation, which are measured once per frozen checkpoint."""

DEMONSTRATION_SEEDS = range(1_000_000_000, 2_000_000_000)
"""Demonstrations to learn from."""

VALIDATION_SEEDS = range(2_000_000_000, 3_000_000_000)
"""Validation: the choice between checkpoints."""

DEVELOPMENT_SEEDS = range(3_000_000_000, 4_000_000_000)
"""Development of experts and environments, and tests of the code."""

SEEDS = range(2**63)
"""All seeds."""

MOST_EPISODES = len(TEST_SEEDS)
"""Largest number of episodes in a plan, which is kept in memory."""


class PlanError(SimScaleError):
    """A plan that cannot be run, or whose result would be meaningless."""


@dataclass(frozen=True)
class EpisodeSpec:
    """One planned episode."""

    episode_index: int
    """Position in the plan, from 0. It identifies the episode; seeds may repeat."""
    seed: int
    """The only source of randomness of environment and policy."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Values that replace draws from the seed, passed on as `Start.options`: `target`, `instruction`, …"""
    task: str | None = None
    """Id of the task within a suite; None outside a suite."""
    arm: str | None = None
    """Name of the experimental arm; None for the nominal one."""
    perturbation: Mapping[str, Magnitude] | None = None
    """Name of each perturbed axis to its magnitude, not 0, in the unit of the axis. Each axis is one of the environment
    or of a probe. None if nothing is perturbed."""

    @property
    def start_options(self) -> Mapping[str, Any]:
        """Options of the start of the episode: `options`, and the task if it is one of a suite."""
        return self.options if self.task is None else {**self.options, TASK: self.task}


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One of several parts of a plan that run independently, for example on several machines.

    Blocks of consecutive episodes are dealt out in turn: the episode with index i belongs to shard
    i // `block` % `of` + 1. So the shards differ by at most one block, and each of them has episodes of all tasks of a
    suite.
    """

    number: int
    """Which part, from 1 to `of`."""
    of: int
    """Number of parts."""
    block: int = 1
    """Number of consecutive episodes that belong to the same part: in a battery, those of one start; otherwise 1."""

    def __post_init__(self) -> None:
        """Raise if there is no such part."""
        if not 1 <= self.number <= self.of:
            raise PlanError(f"expected a shard from 1 to the number of shards, got {self}")
        if self.block < 1:
            raise PlanError(f"expected blocks of at least 1 episode in a shard, got {self.block}")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read a shard that is written like `3/16`.

        Raises:
            PlanError: If `text` is no shard.
        """
        numbers = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if numbers is None:
            raise PlanError(f"expected --shard NUMBER/OF, for example 3/16, got {text!r}")
        return cls(number=int(numbers[1]), of=int(numbers[2]))

    def part_of(self, plan: Sequence[EpisodeSpec]) -> tuple[EpisodeSpec, ...]:
        """Return the episodes of `plan` that belong to this shard."""
        return tuple(spec for index, spec in enumerate(plan) if self.has(index))

    def has(self, episode_index: int) -> bool:
        """Return whether an episode belongs to this shard."""
        return episode_index // self.block % self.of == self.number - 1

    def index(self, position: int) -> int:
        """Return the `episode_index` of the episode at `position`, from 0, of this shard."""
        block, place = divmod(position, self.block)
        return (self.number - 1 + block * self.of) * self.block + place

    def size(self, episodes: int) -> int:
        """Return how many of `episodes` planned episodes belong to this shard."""
        rounds, left = divmod(episodes, self.of * self.block)
        return rounds * self.block + min(max(left - (self.number - 1) * self.block, 0), self.block)


WHOLE = Shard(number=1, of=1)
"""The only part of a plan that is not divided."""


def plan_episodes(episodes: int, seed: int = 0) -> tuple[EpisodeSpec, ...]:
    """Plan `episodes` episodes with the seeds `seed`, `seed + 1` and so on.

    Raises:
        PlanError: If there is no episode, there are more than `MOST_EPISODES`, or a seed is out of range.
    """
    if episodes < 1:
        raise PlanError(f"expected at least 1 episode, got {episodes}")
    if episodes > MOST_EPISODES:
        raise PlanError(f"expected at most {MOST_EPISODES} episodes, as many as there are test seeds; got {episodes}")
    return plan_seeds(range(seed, seed + episodes))


def plan_seeds(seeds: Sequence[int]) -> tuple[EpisodeSpec, ...]:
    """Plan one episode for each of `seeds`, in that order.

    Raises:
        PlanError: If there is no seed, a seed is out of range, or a seed occurs twice: a repeat is no new evidence.
    """
    if not seeds:
        raise PlanError("expected at least 1 seed, got none")
    if min(seeds) < 0:
        raise PlanError(f"expected seeds of at least 0, got {min(seeds)}")
    if max(seeds) not in SEEDS:
        raise PlanError(f"expected seeds of at most {SEEDS[-1]}, got {max(seeds)}")
    repeated = sorted(seed for seed, times in Counter(seeds).items() if times > 1)
    if repeated:
        raise PlanError(f"expected each seed once, got {repeated[:10]} more than once; give other seeds")
    return tuple(EpisodeSpec(index, seed) for index, seed in enumerate(seeds))


def over_tasks(plan: Sequence[EpisodeSpec], tasks: Sequence[str]) -> tuple[EpisodeSpec, ...]:
    """Return a plan that runs each episode of `plan` in each of `tasks`, the tasks in turn; `plan` without tasks.

    Raises:
        PlanError: If there are more than `MOST_EPISODES` then.
    """
    if not tasks:
        return tuple(plan)
    if len(plan) * len(tasks) > MOST_EPISODES:
        raise PlanError(f"expected at most {MOST_EPISODES // len(tasks)} episodes for each task, got {len(plan)}")
    each = [(spec, task) for spec in plan for task in tasks]
    return tuple(replace(spec, episode_index=index, task=task) for index, (spec, task) in enumerate(each))


def plan_text(plan: Sequence[EpisodeSpec]) -> str:
    """Return how many episodes `plan` has and their seeds, in a few words."""
    tasks = dict.fromkeys(spec.task for spec in plan)
    if len(tasks) > 1:
        of_first = [spec for spec in plan if spec.task == plan[0].task]
        return f"{len(tasks)} tasks, each with {plan_text(of_first)}"
    seeds = [spec.seed for spec in plan]
    if len(seeds) == 1:
        return f"1 episode, seed {seeds[0]}"
    if seeds == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{len(seeds)} episodes, seeds {seeds[0]} to {seeds[-1]}"
    return f"{len(seeds)} episodes, seeds {' '.join(map(str, seeds[:10]))}{' …' if len(seeds) > 10 else ''}"
