"""Statistics of two policies A and B on the same episodes, from four counts.

Both policies start from the same scenes, so their outcomes in one episode are correlated. Only *discordant* pairs, in
which exactly one policy succeeds, tell the two apart.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log, sqrt
from typing import NamedTuple

import numpy as np

from eval.statistics.numerics import boundary, log_beta
from eval.statistics.rates import LEVEL, Interval, check_level, wilson


class PairedCounts(NamedTuple):
    """Outcomes of the episodes that both A and B ran."""

    both: int
    """Episodes in which A and B succeeded."""
    only_a: int
    """Episodes in which only A succeeded."""
    only_b: int
    """Episodes in which only B succeeded."""
    neither: int
    """Episodes in which neither succeeded."""

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
        """Success rate of B minus success rate of A, in [-1, 1]; 0 without pairs."""
        return (self.only_b - self.only_a) / max(self.n, 1)


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value of the exact McNemar test of "A and B succeed equally often".

    Under that hypothesis each discordant pair is a fair coin toss. The number of pairs must be fixed in advance: if
    the p-value decides whether a run goes on, the type-I error exceeds the level. In that case use `log_e_value`.

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
    """Return the logarithm of the e-value against "A and B succeed equally often". It is valid at every look.

    The e-value is the gain of a bet on the discordant pairs, with a uniform prior over the share that B wins. If A and
    B succeed equally often, the probability that the e-value ever reaches w is at most 1 / w (Ville's inequality). So a
    run that stops when this function reaches log(1 / alpha) has a type-I error of at most alpha, however often it
    looks. The larger count says which policy is better.

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
    """Return the interval of the difference of the success probabilities, B minus A (Newcombe's method 10).

    It combines the Wilson intervals of both rates and their correlation. It is also sound at rates of 0 and 100 %.

    Args:
        counts: Outcomes. The interval of 0 pairs is [-1, 1].
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
    below_a, above_a = _wilson_distances(counts.successes_a, n, level)
    below_b, above_b = _wilson_distances(counts.successes_b, n, level)
    phi = _correlation(counts)
    # Rounding may make a square that is zero slightly negative.
    below = sqrt(max(0.0, below_b**2 - 2 * phi * below_b * above_a + above_a**2))
    above = sqrt(max(0.0, above_b**2 - 2 * phi * above_b * below_a + below_a**2))
    return Interval(max(-1.0, counts.difference - below), min(1.0, counts.difference + above), level)


def difference_sequence(counts: PairedCounts, level: float = LEVEL) -> Interval:
    """Return an interval of the difference of the success probabilities, B minus A, that is valid at every look.

    Use it for runs that stop early: with probability of at least `level`, the intervals after all pairs contain the
    true difference. It agrees with `log_e_value`: the interval excludes 0 exactly when `log_e_value` has reached
    log(1 / (1 - `level`)). It is narrower than an interval computed from two confidence sequences, one per policy,
    unless one policy wins nearly every pair; then it is wider by at most 0.03.

    The method bets against each candidate difference. The outcome of a pair is x = 1 (only B succeeds), -1 (only A) or
    0. Let r = (1 + difference) / 2. A bet with the shares w on B and 1 - w on A multiplies the capital by
    w (1 + x) / 2r + (1 - w) (1 - x) / 2(1 - r), which is 1 on average if the difference is true. The shares are spread
    evenly over all w in [0, 1]. The interval contains the differences against which the bet has not gained a factor of
    1 / (1 - `level`).

    Args:
        counts: Outcomes so far. The interval of 0 pairs is [-1, 1].
        level: Confidence level, in (0, 1).

    Raises:
        ValueError: If a count is negative or the level out of range.

    Source: Waudby-Smith, Ramdas 2024, J. R. Stat. Soc. B 86(1), "Estimating means of bounded random variables by
    betting"; the even spread is Cover's universal portfolio, as in Orabona, Jun 2024, IEEE Trans. Inf. Theory 70(1).
    """
    check_level(level)
    _check(*counts)
    log_gain = _log_gain(counts)

    def contains(difference: float) -> bool:
        return log_gain(difference) < log(1 / (1 - level))

    # The gain is convex in the difference, and smallest near the observed difference, where it is at most 1.
    low, high = (boundary(contains, end, counts.difference) for end in (-1.0, 1.0))
    return Interval(low, high, level)


def _log_gain(counts: PairedCounts) -> Callable[[float], float]:
    """Return the logarithm of the gain of the bet in `difference_sequence`, as a function of the difference.

    A tied pair (both or neither succeed) counts as the mean of a pair won by A and a pair won by B. So the gain is a
    sum over the number of ties that are given to B. Each term is a power of r times a power of 1 - r.
    """
    from scipy.special import betaln, gammaln, logsumexp, xlog1py, xlogy

    ties = counts.both + counts.neither
    to_b = np.arange(ties + 1)
    for_b, for_a = counts.only_b + to_b, counts.only_a + ties - to_b
    ways = gammaln(ties + 1) - gammaln(to_b + 1) - gammaln(ties - to_b + 1) - ties * log(2)
    weights = ways + betaln(1 + for_b, 1 + for_a)

    def log_gain(difference: float) -> float:
        r = (1 + difference) / 2
        return float(logsumexp(weights - xlogy(for_b, r) - xlog1py(for_a, -r)))

    return log_gain


def _wilson_distances(successes: int, n: int, level: float) -> tuple[float, float]:
    """Return the distances from a success rate to the lower and to the upper end of its Wilson interval."""
    low, high, _ = wilson(successes, n, level)
    return successes / n - low, high - successes / n


def _correlation(counts: PairedCounts) -> float:
    """Return the phi coefficient of the two outcomes, with a continuity correction if it is positive."""
    n, a, b = counts.n, counts.successes_a, counts.successes_b
    scale = sqrt(a * (n - a) * b * (n - b))
    if scale == 0:
        return 0.0
    excess = counts.both * counts.neither - counts.only_a * counts.only_b
    return (excess if excess < 0 else max(0.0, excess - n / 2)) / scale


def _check(*counts: int) -> None:
    if min(counts) < 0:
        raise ValueError(f"expected counts of at least 0, got {counts}")
