"""Power of the exact McNemar test: pairs needed for a difference, and smallest detectable difference.

A difference is *detected* if the test (`eval.statistics.paired.mcnemar_exact`) rejects and the better policy is ahead.
The power also depends on the *discordance*: the probability that exactly one of the two policies succeeds. The
discordance is at least the difference, so the functions here raise a smaller value to the difference.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from eval.statistics.numerics import binomial_probabilities, boundary
from eval.statistics.rates import LEVEL, check_level

POWER = 0.8
"""Default power: probability of detecting an existing difference."""

MOST_PAIRS = 20_000
"""Upper limit of the search for a number of pairs."""


def mcnemar_power(n: int, difference: float, discordance: float, level: float = LEVEL) -> float:
    """Return the exact probability that `n` pairs detect a difference of two success probabilities.

    Args:
        n: Number of pairs, >= 0.
        difference: Difference of the success probabilities, in [0, 1].
        discordance: Probability that exactly one policy succeeds, in [0, 1].
        level: 1 minus the level of the two-sided test, in (0, 1).

    Raises:
        ValueError: If an argument is out of range.
    """
    from scipy.special import bdtr

    _check(difference, discordance, level)
    if n < 0:
        raise ValueError(f"expected at least 0 pairs, got {n}")
    discordance = max(discordance, difference)
    discordant = np.arange(n + 1)
    most_for_worse = _critical_counts(n, level)
    share_of_worse = (1 - difference / discordance) / 2 if discordance > 0 else 0.5
    probabilities = binomial_probabilities(n, discordance)
    matters = (most_for_worse >= 0) & (probabilities > 0)  # far from the mean, probabilities underflow to 0
    detected = np.zeros(n + 1)
    detected[matters] = bdtr(most_for_worse[matters], discordant[matters], share_of_worse)
    return float(probabilities @ detected)


def smallest_difference(n: int, discordance: float, power: float = POWER, level: float = LEVEL) -> float | None:
    """Return the smallest detectable difference of success probabilities: `n` pairs detect it with probability `power`.

    Args:
        n: Number of pairs, >= 0.
        discordance: Probability that exactly one policy succeeds, in [0, 1].
        power: Probability of detecting the difference, in (0, 1).
        level: 1 minus the level of the two-sided test, in (0, 1).

    Returns:
        A difference in (0, 1]; None if there are too few pairs to detect any.

    Raises:
        ValueError: If an argument is out of range.
    """

    def detectable(difference: float) -> bool:
        return mcnemar_power(n, difference, discordance, level) >= power

    return boundary(detectable, 0.0, 1.0) if detectable(1.0) else None


def pairs_needed(difference: float, discordance: float, power: float = POWER, level: float = LEVEL) -> int | None:
    """Return how many pairs detect a difference of success probabilities with probability `power`.

    With one pair less, the power is below `power`. With a few more pairs it may fall slightly below `power` again,
    because counts are integers.

    Args:
        difference: Difference of the success probabilities, in [0, 1].
        discordance: Probability that exactly one policy succeeds, in [0, 1].
        power: Probability of detecting the difference, in (0, 1).
        level: 1 minus the level of the two-sided test, in (0, 1).

    Returns:
        Number of pairs; None if `MOST_PAIRS` do not suffice.

    Raises:
        ValueError: If an argument is out of range.
    """
    n = bisect_left(range(MOST_PAIRS + 1), power, key=lambda n: mcnemar_power(n, difference, discordance, level))
    return n if n <= MOST_PAIRS else None


def independent_discordance(rate_a: float, rate_b: float) -> float:
    """Return the discordance of two policies whose outcomes are independent.

    Use it to plan a comparison before the discordance is measured. Policies that fail in the same scenes have a smaller
    discordance and need fewer pairs.

    Args:
        rate_a: Success probability of A, in [0, 1].
        rate_b: Success probability of B, in [0, 1].
    """
    return rate_a * (1 - rate_b) + rate_b * (1 - rate_a)


def _check(difference: float, discordance: float, level: float) -> None:
    check_level(level)
    if not (0 <= difference <= 1 and 0 <= discordance <= 1):
        raise ValueError(f"expected difference and discordance in [0, 1], got {difference} and {discordance}")


@lru_cache(maxsize=1)  # a search for a difference asks for the same counts at each of its steps
def _critical_counts(n: int, level: float) -> NDArray[np.int64]:
    """Return the critical counts of the test for 0 … `n` discordant pairs, shape (n+1,).

    The critical count is the largest number of pairs won by the worse policy at which the test still rejects; -1 if
    the test never rejects.
    """
    from scipy.special import bdtr, ndtri

    discordant = np.arange(n + 1)
    tail = (1 - level) / 2
    counts = np.floor(discordant / 2 + ndtri(tail) * np.sqrt(discordant) / 2).astype(np.int64)
    counts = np.clip(counts, -1, discordant)

    def too_many(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
        return (counts >= 0) & (bdtr(np.maximum(counts, 0), discordant, 0.5) > tail)

    # The normal approximation is off by one or two; step to the exact count.
    while (wrong := too_many(counts)).any():
        counts -= wrong
    while (fits := ~too_many(counts + 1) & (counts < discordant)).any():
        counts += fits
    counts.flags.writeable = False
    return counts
