"""Several tests at once: p-values adjusted for the size of the family."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values of a family of tests, adjusted by Holm's step-down method.

    Reject every test whose adjusted p-value is at most alpha. Then the probability of any type-I error in the family is
    at most alpha. A family is, for example, the comparisons over the tasks of a suite.

    Args:
        p_values: One for each test, in [0, 1].

    Returns:
        Adjusted p-values in the order of `p_values`.

    Raises:
        ValueError: If a p-value is not in [0, 1].

    Source: Holm 1979, Scand. J. Stat. 6.
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"expected p-values in [0, 1], got {list(p_values)}")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
