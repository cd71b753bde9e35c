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


def seed_overlap(policy: Policy, plan: Sequence[EpisodeSpec]) -> SeedOverlap | None:
    """Return which seeds of `plan` the policy's checkpoint, or one that it was started from, records as trained on.

    None if there are none, and for policies without a checkpoint or one that does not say.
    """
    checkpoint = getattr(policy, "checkpoint", None)  # only learned policies have one
    training = None if checkpoint is None else checkpoint.training
    while isinstance(training, Mapping):
        overlap = _overlap_with(training.get("seeds"), plan)
        if overlap is not None:
            return overlap
        initial = training.get("initial")
        training = initial.get("training") if isinstance(initial, Mapping) else None
    return None


def _overlap_with(recorded: object, plan: Sequence[EpisodeSpec]) -> SeedOverlap | None:
    if not isinstance(recorded, Mapping):
        return None
    first, last, count = (recorded.get(name) for name in ("first", "last", "count"))
    if not (isinstance(first, int) and isinstance(last, int) and isinstance(count, int)):
        return None
    seeds = tuple(spec.seed for spec in plan if first <= spec.seed <= last)
    return SeedOverlap(seeds=seeds, planned=len(plan), first=first, last=last, count=count) if seeds else None
