"""Pairs the episodes of two runs, or says why the runs cannot be compared.

If a rule may have stopped a run early (`RunRecord.sequential`), its length depends on its outcomes. Then only the
episodes that both runs have are compared, and only if one plan begins with the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from eval.comparison.outcome import Comparison, Pair
from eval.runs.run import Run
from simscaleai.errors import SimScaleError


class NotComparableError(SimScaleError):
    """The runs have different episodes or conditions, or are not complete, so they cannot be compared."""

    def __init__(self, differences: list[str]) -> None:
        super().__init__("; ".join(differences))
        self.differences = differences
        """What differs, one line each."""


def compare(a: Run, b: Run, margin: float | None = None) -> Comparison:
    """Compare two runs of the same episodes, paired by seed.

    Args:
        a: The run to compare with.
        b: The run to judge.
        margin: Non-inferiority margin: how much lower the success probability of B may be, in (0, 1).

    Raises:
        NotComparableError: If a run is not complete, or the episodes or their conditions differ.
    """
    differences = list(_differences(a, b))
    if differences:
        raise NotComparableError(differences)
    b_by_seed = {result.seed: result for result in b.results}
    pairs = [Pair(result, b_by_seed[result.seed]) for result in a.results if result.seed in b_by_seed]
    return Comparison(a=a, b=b, pairs=tuple(pairs), margin=margin, warnings=tuple(_warnings(a, b)))


def _differences(a: Run, b: Run) -> Iterator[str]:
    """Yield one line for each reason why the runs cannot be compared."""
    yield from a.conditions.differences(b.conditions)
    for name, run in (("A", a), ("B", b)):
        if not run.is_complete:
            yield f"complete: {name} ({run.folder}) has {len(run.results)} of {run.planned} episodes; finish it first"
        if len(set(run.seeds)) < len(run.seeds):
            yield f"seeds: {name} has repeated seeds, so episodes cannot be paired by seed"
    if a.results and b.results:
        yield from _differences_of_episodes(a, b)


def _differences_of_episodes(a: Run, b: Run) -> Iterator[str]:
    of_a = {result.seed: result.target for result in a.results}
    of_b = {result.seed: result.target for result in b.results}
    common = of_a.keys() & of_b.keys()
    if a.record.sequential or b.record.sequential:
        if any(seed_a != seed_b for seed_a, seed_b in zip(a.seeds, b.seeds, strict=False)):
            yield f"seeds: A has {a.seeds_text}; B has {b.seeds_text}; one plan must begin with the other"
    elif not len(common) == len(of_a) == len(of_b):
        yield f"seeds: A has {a.seeds_text}; B has {b.seeds_text}; {len(common)} in common"
    other = sorted(seed for seed in common if of_a[seed] != of_b[seed])
    if other and not any(_chooses_targets(run) for run in (a, b)):
        seed = other[0]
        yield f"target: A has {of_a[seed]} with seed {seed}, B has {of_b[seed]}; {len(other)} seeds differ"


def _chooses_targets(run: Run) -> bool:
    """Return whether an intervention sets the target of every episode, so that different targets are intended."""
    return any(text.startswith("target=") for text in run.interventions)


def _warnings(a: Run, b: Run) -> Iterator[str]:
    yield from _fingerprint_warnings(a.record.fingerprint, b.record.fingerprint)
    repeats = [run.record.environment.repeats for run in (a, b)]
    if repeats != ["exact", "exact"]:
        yield (
            f"the environment is not known to repeat itself exactly (A: {repeats[0]}, B: {repeats[1]}): the same seed "
            "may give another episode, so pairing by seed removes less variance; test and interval stay valid, "
            "but have less power"
        )


def _fingerprint_warnings(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key in sorted(a.keys() | b.keys()):
        of_a, of_b = a.get(key), b.get(key)
        if isinstance(of_a, Mapping) and isinstance(of_b, Mapping):
            yield from _fingerprint_warnings(of_a, of_b, f"{prefix}{key}.")
        elif of_a != of_b and not (key == "gl_renderer" and None in (of_a, of_b)):  # None: a policy without images
            yield f"fingerprint {prefix}{key} differs: A has {of_a}, B has {of_b}; this alone may change episodes"
