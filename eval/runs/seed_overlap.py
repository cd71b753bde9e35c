"""Finds seeds of a run that the policy was trained on. Episodes with these seeds do not test new scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.episodes.plan import EpisodeSpec
from eval.runs.record import SeedOverlap, SeedRange
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
        trained_on = read_checked(SeedRange, {name: recorded.get(name) for name in ("first", "last", "count")})
    except SimScaleError:  # the record does not hold the seeds
        return None
    first, last = trained_on.first, trained_on.last
    seeds = tuple(spec.seed for spec in plan if first <= spec.seed <= last)
    is_certain = trained_on.count == last - first + 1
    return SeedOverlap(seeds=seeds, trained_on=trained_on, is_certain=is_certain) if seeds else None
