"""Whether a policy is scored on scenes that it learned from: such a success rate says little about new ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.plan import EpisodeSpec
from policies.base import Policy


@dataclass(frozen=True, kw_only=True)
class SeedOverlap:
    """Seeds of a run that lie among those that the policy's checkpoint was trained on."""

    seeds: tuple[int, ...]
    """The run's seeds from `first` to `last`, at least one."""
    planned: int
    """Episodes of the run."""
    first: int
    """Lowest seed trained on."""
    last: int
    """Highest seed trained on."""
    count: int
    """How many seeds were trained on; which of those between first and last, if not all, is not recorded."""

    @property
    def is_certain(self) -> bool:
        """Whether every seed between first and last was trained on."""
        return self.count == self.last - self.first + 1

    def text(self) -> str:
        """Return the warning in one line."""
        low, high = min(self.seeds), max(self.seeds)
        seeds = f"seed {low}" if low == high else f"seeds {low} to {high}"
        among = "what" if self.is_certain else f"the range (of which {self.count})"
        return (
            f"{len(self.seeds)} of {self.planned} episodes, {seeds}, lie in {among} the checkpoint was trained on, "
            f"{self.first} to {self.last}: no test of new scenes"
        )

    def to_json(self) -> dict[str, Any]:
        """Return what the record keeps, as plain JSON data."""
        trained = {"first": self.first, "last": self.last, "count": self.count}
        return {"seeds": list(self.seeds), "trained_on": trained, "is_certain": self.is_certain}


@dataclass(frozen=True)
class TrainedOn:
    """Which seeds a checkpoint was trained on, as far as it records that."""

    first: int
    """Lowest seed."""
    last: int
    """Highest seed."""
    count: int
    """How many seeds."""

    def includes(self, seed: int) -> bool:
        """Return whether `seed` may have been trained on."""
        return self.first <= seed <= self.last


def trained_on(policy: Policy) -> TrainedOn | None:
    """Return which seeds the policy's checkpoint records as trained on.

    None for policies without a checkpoint, or with one that does not say.
    """
    checkpoint = getattr(policy, "checkpoint", None)  # only learned policies have one
    recorded = None if checkpoint is None else checkpoint.training.get("seeds")
    if not isinstance(recorded, Mapping):
        return None
    first, last, count = (recorded.get(name) for name in ("first", "last", "count"))
    if not (isinstance(first, int) and isinstance(last, int) and isinstance(count, int)):
        return None
    return TrainedOn(first, last, count)


def seed_overlap(policy: Policy, plan: Sequence[EpisodeSpec]) -> SeedOverlap | None:
    """Return which seeds of `plan` the policy's checkpoint records as trained on; None if there are none."""
    trained = trained_on(policy)
    if trained is None:
        return None
    seeds = tuple(spec.seed for spec in plan if trained.includes(spec.seed))
    return SeedOverlap(seeds=seeds, planned=len(plan), **vars(trained)) if seeds else None
