"""How many pairs of episodes it takes to see a difference, and how small a difference so many can see.

"To see" means that the exact McNemar test (`eval.paired.mcnemar_exact`) rejects and the better policy is ahead. Besides
the difference it depends on the *discordance*: the probability that exactly one of the two policies succeeds. A
difference needs at least as much of it, so a smaller one that is given counts as the difference.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from eval.statistics import LEVEL, boundary, check_level

POWER = 0.8
"""Probability of seeing a difference that is there, which is taken for enough."""

MOST_PAIRS = 20_000
"""Where the search for a number of pairs ends."""


def mcnemar_power(n: int, difference: float, discordance: float, level: float = LEVEL) -> float:
    """Return the probability that `n` pairs show a difference of two success probabilities. Exact.

    Args:
        n: Number of pairs, >= 0.
        difference: Difference of the success probabilities, in [0, 1].
        discordance: Probability that exactly one policy succeeds, in [0, 1].
        level: 1 less the level of the two-sided test, in (0, 1).

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
    seen = np.where(most_for_worse < 0, 0.0, bdtr(np.maximum(most_for_worse, 0), discordant, share_of_worse))
    return float(_binomial(n, discordance) @ seen)


def smallest_difference(n: int, discordance: float, power: float = POWER, level: float = LEVEL) -> float | None:
    """Return the smallest difference of success probabilities that `n` pairs see with probability `power`.

    Args:
        n: Number of pairs, >= 0.
        discordance: Probability that exactly one policy succeeds, in [0, 1].
        power: In (0, 1).
        level: 1 less the level of the two-sided test, in (0, 1).

    Returns:
        A difference in (0, 1]; None if there are too few pairs to see any.

    Raises:
        ValueError: If an argument is out of range.
    """

    def seen(difference: float) -> bool:
        return mcnemar_power(n, difference, discordance, level) >= power

    return boundary(seen, 0.0, 1.0) if seen(1.0) else None


def pairs_needed(difference: float, discordance: float, power: float = POWER, level: float = LEVEL) -> int | None:
    """Return how many pairs see a difference of success probabilities with probability `power`.

    One pair less does not suffice. (A few pairs more may fall short of `power` by a hair again, because counts are
    whole.)

    Args:
        difference: Difference of the success probabilities, in [0, 1].
        discordance: Probability that exactly one policy succeeds, in [0, 1].
        power: In (0, 1).
        level: 1 less the level of the two-sided test, in (0, 1).

    Returns:
        Number of pairs; None if `MOST_PAIRS` do not suffice.

    Raises:
        ValueError: If an argument is out of range.
    """
    n = bisect_left(range(MOST_PAIRS + 1), power, key=lambda n: mcnemar_power(n, difference, discordance, level))
    return n if n <= MOST_PAIRS else None


def independent_discordance(rate_a: float, rate_b: float) -> float:
    """Return how often exactly one of two policies succeeds if neither's outcome says anything of the other's.

    For planning, with nothing measured yet. Policies that find the same scenes hard differ less often, and then fewer
    pairs suffice.

    Args:
        rate_a: Success probability of A, in [0, 1].
        rate_b: Success probability of B, in [0, 1].
    """
    return rate_a * (1 - rate_b) + rate_b * (1 - rate_a)


def _check(difference: float, discordance: float, level: float) -> None:
    check_level(level)
    if not (0 <= difference <= 1 and 0 <= discordance <= 1):
        raise ValueError(f"expected difference and discordance in [0, 1], got {difference} and {discordance}")


def _critical_counts(n: int, level: float) -> NDArray[np.int64]:
    """Return how many of 0 … `n` discordant pairs the worse policy may win at most for the test to reject.

    Shape (n+1,); -1 where no outcome rejects.
    """
    from scipy.special import bdtr, ndtri

    discordant = np.arange(n + 1)
    tail = (1 - level) / 2
    counts = np.floor(discordant / 2 + ndtri(tail) * np.sqrt(discordant) / 2).astype(np.int64)
    counts = np.clip(counts, -1, discordant)

    def too_many(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
        return (counts >= 0) & (bdtr(np.maximum(counts, 0), discordant, 0.5) > tail)

    # The normal approximation is off by one or two; walk to the exact count.
    while (wrong := too_many(counts)).any():
        counts -= wrong
    while (fits := ~too_many(counts + 1) & (counts < discordant)).any():
        counts += fits
    return counts


def _binomial(n: int, p: float) -> NDArray[np.float64]:
    """Return the probabilities of 0 … `n` successes in `n` trials, shape (n+1,)."""
    from scipy.special import gammaln, xlog1py, xlogy

    k = np.arange(n + 1)
    ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return np.asarray(np.exp(ways + xlogy(k, p) + xlog1py(n - k, -p)))
