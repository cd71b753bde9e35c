"""Finds seeds of a run that the policy was trained on. Episodes with these seeds do not test new scenes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.episodes.plan import EpisodeSpec
from eval.runs.schema.seeds import SeedOverlap, SeedRange
from simscaleai.errors import SimScaleError
from simscaleai.json_data import read_checked


def seed_overlap(training: Mapping[str, Any] | None, plan: Sequence[EpisodeSpec]) -> SeedOverlap | None:
    """Return the seeds of `plan` on which a checkpoint, or one that its training started from, was trained.

    Args:
        training: The training record of the checkpoint; None for a policy without one.
        plan: The episodes of the run.

    Returns:
        The overlap of the checkpoint or, if it has none, of the nearest predecessor that has one; None if no overlap is
        known.
    """
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
    try:
        if "intervals" in recorded:
            intervals = read_checked(_Intervals, {"intervals": recorded["intervals"]}).intervals
            return _overlap_with_intervals(sorted(intervals), plan)
        trained_on = read_checked(SeedRange, {name: recorded.get(name) for name in ("first", "last", "count")})
    except SimScaleError:  # the record does not hold the seeds
        return None
    first, last = trained_on.first, trained_on.last
    seeds = tuple(spec.seed for spec in plan if first <= spec.seed <= last)
    is_certain = trained_on.count == last - first + 1
    return SeedOverlap(seeds=seeds, trained_on=trained_on, is_certain=is_certain) if seeds else None


@dataclass(frozen=True)
class _Intervals:
    """Seeds as checkpoints record them; older checkpoints record a `SeedRange`."""

    intervals: tuple[tuple[int, int], ...]
    """First and last seed of each interval. The intervals are disjoint."""


def _overlap_with_intervals(intervals: Sequence[tuple[int, int]], plan: Sequence[EpisodeSpec]) -> SeedOverlap | None:
    """Return the overlap of `plan` with ascending `intervals`; its range spans the intervals that hold a seed."""
    firsts = [first for first, _ in intervals]
    places = {spec.seed: bisect_right(firsts, spec.seed) - 1 for spec in plan}
    held = {seed: place for seed, place in places.items() if place >= 0 and seed <= intervals[place][1]}
    if not held:
        return None
    hit = [intervals[place] for place in sorted(set(held.values()))]
    count = sum(last - first + 1 for first, last in hit)
    return SeedOverlap(
        seeds=tuple(held), trained_on=SeedRange(first=hit[0][0], last=hit[-1][1], count=count), is_certain=True
    )
