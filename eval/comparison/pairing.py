"""Pairs the episodes of two runs, or says why the runs cannot be compared.

If a rule may have stopped a run early (`RunRecord.sequential`), its length depends on its outcomes. Then only the
episodes that both runs have are compared, and only if one plan begins with the other.
"""

from __future__ import annotations

from collections.abc import Iterator

from eval.comparison.conditions import NotComparableError, warnings_about
from eval.comparison.outcome import Comparison, Pair
from eval.runs.run import Run


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
    of_b = {result.start: result for result in b.results}
    pairs = [Pair(result, of_b[result.start]) for result in a.results if result.start in of_b]
    return Comparison(a=a, b=b, pairs=tuple(pairs), margin=margin, warnings=tuple(warnings_about(a, b)))


def _differences(a: Run, b: Run) -> Iterator[str]:
    """Yield one line for each reason why the runs cannot be compared."""
    yield from a.conditions.differences(b.conditions)
    for name, run in (("A", a), ("B", b)):
        if run.record.battery is not None:
            yield f"battery: {name} ({run.folder}) is a robustness battery; compare it with another one"
            return
        if not run.is_complete:
            yield f"complete: {name} ({run.folder}) has {len(run.results)} of {run.planned} episodes; finish it first"
        if len(set(run.starts)) < len(run.starts):
            yield f"seeds: {name} has repeated seeds, so episodes cannot be paired by seed"
    if a.results and b.results:
        yield from _differences_of_episodes(a, b)


def _differences_of_episodes(a: Run, b: Run) -> Iterator[str]:
    of_a = {result.start: result.target for result in a.results}
    of_b = {result.start: result.target for result in b.results}
    common = of_a.keys() & of_b.keys()
    if a.record.sequential or b.record.sequential:
        if any(start_a != start_b for start_a, start_b in zip(a.starts, b.starts, strict=False)):
            yield f"seeds: A has {a.seeds_text}; B has {b.seeds_text}; one plan must begin with the other"
    elif not len(common) == len(of_a) == len(of_b):
        yield f"seeds: A has {a.seeds_text}; B has {b.seeds_text}; {len(common)} in common"
    other = sorted(start for start in common if of_a[start] != of_b[start])
    if other and not any(_chooses_targets(run) for run in (a, b)):
        start = other[0]
        yield f"target: A has {of_a[start]} with seed {start[1]}, B has {of_b[start]}; {len(other)} seeds differ"


def _chooses_targets(run: Run) -> bool:
    """Return whether an intervention sets the target of every episode, so that different targets are intended."""
    return any(text.startswith("target=") for text in run.interventions)
