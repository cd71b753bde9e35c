"""Statistics of two policies on the same episodes. Pure functions of four counts; they know nothing of episodes.

Both policies meet the same scenes, so what one does in an episode says something about the other. Only *discordant*
pairs, in which exactly one succeeds, tell the two apart.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log, sqrt
from typing import NamedTuple

import numpy as np

from eval.statistics import LEVEL, Interval, boundary, check_level, log_beta, wilson


class PairedCounts(NamedTuple):
    """How many episodes ended how, of two policies A and B that ran the same ones."""

    both: int
    """Episodes in which A and B succeeded."""
    only_a: int
    """Episodes in which only A succeeded."""
    only_b: int
    """Episodes in which only B succeeded."""
    neither: int
    """Episodes in which none succeeded."""

    @property
    def n(self) -> int:
        """Number of pairs."""
        return sum(self)

    @property
    def successes_a(self) -> int:
        """Episodes in which A succeeded."""
        return self.both + self.only_a

    @property
    def successes_b(self) -> int:
        """Episodes in which B succeeded."""
        return self.both + self.only_b

    @property
    def discordant(self) -> int:
        """Episodes in which exactly one succeeded."""
        return self.only_a + self.only_b

    @property
    def difference(self) -> float:
        """Success rate of B less that of A, in [-1, 1]; 0 without pairs."""
        return (self.only_b - self.only_a) / max(self.n, 1)


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value of "A and B succeed equally often", exact, for a number of pairs fixed beforehand.

    Under that hypothesis each discordant pair is a fair coin. Never look at it while deciding whether to go on: then
    it is wrong far more often than it says; see `log_e_value`.

    Args:
        only_a: Pairs in which only A succeeded, >= 0.
        only_b: Pairs in which only B succeeded, >= 0.

    Raises:
        ValueError: If a count is negative.

    Source: McNemar 1947, Psychometrika 12; the exact form is a sign test.
    """
    from scipy.special import bdtr

    _check(only_a, only_b)
    if only_a == only_b:
        return 1.0
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def log_e_value(only_a: int, only_b: int) -> float:
    """Return the logarithm of the evidence against "A and B succeed equally often", valid at every look.

    The wealth of a gambler who bets on the discordant pairs with a uniform prior over how they fall; in a fair game it
    ever reaches w with a probability of at most 1 / w. So whoever looks after every pair and stops when this reaches
    log(1 / alpha) is wrong with a probability of at most alpha. Which of the two is better, the larger count says.

    Args:
        only_a: Pairs so far in which only A succeeded, >= 0.
        only_b: Pairs so far in which only B succeeded, >= 0.

    Raises:
        ValueError: If a count is negative.

    Source: Ville 1939; Ramdas et al. 2023, Stat. Sci. 38(4), "Game-theoretic statistics and safe anytime-valid
    inference".
    """
    _check(only_a, only_b)
    return log_beta(1 + only_a, 1 + only_b) + (only_a + only_b) * log(2)


def newcombe(counts: PairedCounts, level: float = LEVEL) -> Interval:
    """Return the interval for the success probability of B less that of A, from pairs (Newcombe's method 10).

    Joins the Wilson intervals of both rates, taking their correlation into account; behaves also at 0 and 100 %.

    Args:
        counts: Outcomes. With 0 pairs nothing is known and the interval is [-1, 1].
        level: Confidence level, in (0, 1).

    Raises:
        ValueError: If a count is negative or the level out of range.

    Source: Newcombe 1998, Stat. Med. 17, 2635-2650, method 10.
    """
    check_level(level)
    _check(*counts)
    n = counts.n
    if n == 0:
        return Interval(-1.0, 1.0, level)
    below_a, above_a = _arms(counts.successes_a, n, level)
    below_b, above_b = _arms(counts.successes_b, n, level)
    phi = _correlation(counts)
    # Rounding may leave the square of an arm a hair below zero where it vanishes.
    below = sqrt(max(0.0, below_b**2 - 2 * phi * below_b * above_a + above_a**2))
    above = sqrt(max(0.0, above_b**2 - 2 * phi * above_b * below_a + below_a**2))
    return Interval(max(-1.0, counts.difference - below), min(1.0, counts.difference + above), level)


def difference_sequence(counts: PairedCounts, level: float = LEVEL) -> Interval:
    """Return an interval for the success probability of B less that of A that holds after every pair at once.

    For runs that stop when they have seen enough: with probability at least `level` it contains the true difference at
    all times. It belongs to `log_e_value`: it leaves out 0 just when that has reached log(1 / (1 - `level`)). So it
    agrees with the verdict, which an interval joined from confidence sequences for two shares would not, and it is
    narrower than that, unless nearly every pair is won by the same one (then wider by at most 0.03).

    It keeps every difference against which a gambler has not won 1 / (1 - `level`), who bets on the outcome x = 1 (only
    B), -1 (only A) or 0 of each pair. A bet on a probability r = (1 + difference) / 2 with stakes w on B and 1 - w on
    A multiplies the wealth by w (1 + x) / 2r + (1 - w) (1 - x) / 2(1 - r), which is 1 on average; the stakes are spread
    evenly over all w in [0, 1].

    Args:
        counts: Outcomes so far. With 0 pairs nothing is known and the interval is [-1, 1].
        level: Confidence level, in (0, 1).

    Raises:
        ValueError: If a count is negative or the level out of range.

    Source: Waudby-Smith, Ramdas 2024, J. R. Stat. Soc. B 86(1), "Estimating means of bounded random variables by
    betting"; the even spread is Cover's universal portfolio, as in Orabona, Jun 2024, IEEE Trans. Inf. Theory 70(1).
    """
    check_level(level)
    _check(*counts)
    log_wealth = _log_wealth(counts)

    def kept(difference: float) -> bool:
        return log_wealth(difference) < log(1 / (1 - level))

    # The wealth is convex in the difference, least near the one that was seen, where it is at most 1.
    low, high = (boundary(kept, end, counts.difference) for end in (-1.0, 1.0))
    return Interval(low, high, level)


def _log_wealth(counts: PairedCounts) -> Callable[[float], float]:
    """Return the logarithm of what the gambler of `difference_sequence` has, as a function of the difference.

    Multiplied out, a pair in which A and B did the same is the mean of one that A and one that B won. So the wealth is
    a sum over the number of them that go to B, each term a power of r times one of 1 - r.
    """
    from scipy.special import betaln, gammaln, logsumexp, xlog1py, xlogy

    ties = counts.both + counts.neither
    to_b = np.arange(ties + 1)
    for_b, for_a = counts.only_b + to_b, counts.only_a + ties - to_b
    ways = gammaln(ties + 1) - gammaln(to_b + 1) - gammaln(ties - to_b + 1) - ties * log(2)
    weights = ways + betaln(1 + for_b, 1 + for_a)

    def log_wealth(difference: float) -> float:
        r = (1 + difference) / 2
        return float(logsumexp(weights - xlogy(for_b, r) - xlog1py(for_a, -r)))

    return log_wealth


def _arms(successes: int, n: int, level: float) -> tuple[float, float]:
    """Return how far the Wilson interval reaches below and above the rate."""
    low, high, _ = wilson(successes, n, level)
    return successes / n - low, high - successes / n


def _correlation(counts: PairedCounts) -> float:
    """Return the phi coefficient of the two outcomes, a positive one corrected for continuity."""
    n, a, b = counts.n, counts.successes_a, counts.successes_b
    scale = sqrt(a * (n - a) * b * (n - b))
    if scale == 0:
        return 0.0
    excess = counts.both * counts.neither - counts.only_a * counts.only_b
    return (excess if excess < 0 else max(0.0, excess - n / 2)) / scale


def _check(*counts: int) -> None:
    if min(counts) < 0:
        raise ValueError(f"expected counts of at least 0, got {counts}")
