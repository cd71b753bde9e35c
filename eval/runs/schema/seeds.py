"""Seeds of a run that the checkpoint was trained on."""

from __future__ import annotations

from dataclasses import dataclass

from simscaleai.errors import SimScaleError


@dataclass(frozen=True, kw_only=True)
class SeedRange:
    """Range of the seeds that a checkpoint was trained on."""

    first: int
    """Lowest seed."""
    last: int
    """Highest seed."""
    count: int
    """Number of seeds. If it is smaller than the range, some seeds of the range were not used."""


@dataclass(frozen=True, kw_only=True)
class SeedOverlap:
    """Seeds of the run that lie in the range of seeds that the checkpoint was trained on."""

    seeds: tuple[int, ...]
    """Seeds of the run in the range, at least one."""
    trained_on: SeedRange
    """Range of the seeds that the checkpoint was trained on; of its intervals, those that hold seeds of the run."""
    is_certain: bool
    """Whether the checkpoint was trained on all of `seeds`. Older checkpoints record a range only, without its gaps."""

    def __post_init__(self) -> None:
        """Raise if there are no seeds."""
        if not self.seeds:
            raise SimScaleError("expected at least 1 seed in seed_overlap, got none")
