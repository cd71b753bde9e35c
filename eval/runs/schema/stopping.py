"""The stopping rule of a run, and what it has found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The run of `--vs`, with which a run is compared."""

    folder: str
    """Folder of the run, as the user gave it."""
    episodes_sha256: str
    """SHA-256 of its `episodes.jsonl`."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Comparison of the policy of a run (B) with that of its reference (A), for the rule `until_decided`."""

    verdict: str
    """Value of an `eval.comparison.verdict.Verdict`."""
    pairs: Mapping[str, int]
    """Number of pairs by outcome: `both`, `only_a`, `only_b`, `neither`."""
    difference: float
    """Success rate of B minus success rate of A."""
    difference_sequence_95: tuple[float, float]
    """Interval of the difference, valid at every look."""
    inverse_e_value: float
    """1 / e, where e is the e-value against "A and B succeed equally often"."""


@dataclass(frozen=True, kw_only=True)
class SequentialRecord:
    """The stopping rule of a run and how far the run came."""

    rule: str
    """Name of the rule: `until_width` or `until_decided`."""
    threshold: float
    """Interval width or test level to reach."""
    vs: Reference | None = None
    """The run to compare with; None for `until_width`."""
    limit: int
    """Largest number of episodes that the run may have."""
    episodes: int
    """Number of episodes that count, from the start of the plan."""
    decided: bool
    """Whether the rule held after these episodes."""
    saved: int
    """Number of episodes that the rule made unnecessary."""
    findings: Findings | None = None
    """Comparison with the reference; None before the run is complete, and without a reference."""
