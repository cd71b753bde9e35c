"""Statistics of one success rate, and of several tests at once. Pure functions; they know nothing of episodes.

Two policies on the same episodes: `eval.paired`. How many episodes it takes: `eval.power`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, lgamma, log
from statistics import NormalDist
from typing import NamedTuple

LEVEL = 0.95
"""Confidence level of everything that is reported; a test rejects at 1 - `LEVEL`."""


class Interval(NamedTuple):
    """A confidence interval for a success probability, or for the difference of two."""

    low: float
    """Lower end, in [0, 1]; for a difference in [-1, 1]."""
    high: float
    """Upper end, in the same range."""
    level: float
    """Confidence level, in (0, 1)."""


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Return the Wilson score interval for a success probability.

    The default for reporting: its coverage is close to `level` on average. The ends are exact: 0 when nothing
    succeeded, 1 when everything did.

    Args:
        successes: Number of successes, 0 … `n`.
        n: Number of trials. With 0 trials nothing is known and the interval is [0, 1].
        level: Confidence level, in (0, 1).

    Raises:
        ValueError: If a count or the level is out of range.

    Source: Wilson 1927, J. Am. Stat. Assoc. 22; recommended by Brown, Cai, DasGupta 2001, Stat. Sci. 16.
    """
    _check(successes, n, level)
    if n == 0:
        return Interval(0.0, 1.0, level)
    z = NormalDist().inv_cdf((1 + level) / 2)
    p = successes / n
    centre = p + z**2 / (2 * n)
    half_width = z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    scale = 1 + z**2 / n
    low = 0.0 if successes == 0 else (centre - half_width) / scale
    high = 1.0 if successes == n else (centre + half_width) / scale
    return Interval(low, high, level)


def clopper_pearson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Return the exact (Clopper-Pearson) interval for a success probability.

    For guarantees ("at least …"): its coverage is never below `level`, so it is wider than Wilson's.

    Args:
        successes: Number of successes, 0 … `n`.
        n: Number of trials. With 0 trials nothing is known and the interval is [0, 1].
        level: Confidence level, in (0, 1).

    Raises:
        ValueError: If a count or the level is out of range.

    Source: Clopper, Pearson 1934, Biometrika 26.
    """
    from scipy.special import betaincinv

    _check(successes, n, level)
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, n - successes + 1, tail))
    high = 1.0 if successes == n else float(betaincinv(successes + 1, n - successes, 1 - tail))
    return Interval(low, high, level)


def confidence_sequence(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Return an interval for a success probability that holds at every `n` at once.

    For looking while a run goes on, and for stopping when the interval is narrow enough: with probability at least
    `level` it contains the true value at all times. The price is a width 1.5 times Wilson's at n = 50. It keeps every
    value against which a bet, spread over all alternatives by a Beta(1/2, 1/2) prior, has not won 1 / (1 - `level`).

    Args:
        successes: Number of successes so far, 0 … `n`.
        n: Number of trials so far. With 0 trials nothing is known and the interval is [0, 1].
        level: Confidence level, in (0, 1).

    Raises:
        ValueError: If a count or the level is out of range.

    Source: Robbins 1970, Ann. Math. Stat. 41; Howard et al. 2021, Ann. Stat. 49(2).
    """
    _check(successes, n, level)
    if n == 0:
        return Interval(0.0, 1.0, level)
    failures = n - successes
    mixture = log_beta(0.5 + successes, 0.5 + failures) - log_beta(0.5, 0.5)
    threshold = mixture + log(1 - level)

    def kept(p: float) -> bool:
        return _times_log(successes, p) + _times_log(failures, 1 - p) >= threshold

    peak = successes / n
    return Interval(boundary(kept, 0.0, peak), boundary(kept, 1.0, peak), level)


def rate_interval(successes: int, n: int, *, sequential: bool) -> Interval:
    """Return the interval to report: Wilson's, or, of a run that ends when it has seen enough, one for every look."""
    return (confidence_sequence if sequential else wilson)(successes, n)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values of a family of tests, adjusted so that any one false alarm among all of them is as rare.

    Reject what is at most the level that one test alone would have, for example over the tasks of a suite.

    Args:
        p_values: One for each test, in [0, 1].

    Returns:
        Adjusted p-values in the order of `p_values`.

    Raises:
        ValueError: If one is not in [0, 1].

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


def boundary(kept: Callable[[float], bool], outside: float, inside: float) -> float:
    """Return where `kept` changes between `outside` and `inside`, by bisection down to neighbouring floats.

    Args:
        kept: Holds from some point between the two up to `inside`, and not before.
        outside: Returned itself if it is kept.
        inside: Kept.

    Returns:
        Of the two neighbours the one that is not kept, so that rounding never narrows an interval.
    """
    if kept(outside):
        return outside
    while True:
        middle = (outside + inside) / 2
        if middle in (outside, inside):
            return outside
        outside, inside = (outside, middle) if kept(middle) else (middle, inside)


def log_beta(a: float, b: float) -> float:
    """Return the logarithm of the beta function B(a, b)."""
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def check_level(level: float) -> None:
    """Raise `ValueError` unless `level` is a confidence level."""
    if not 0 < level < 1:
        raise ValueError(f"expected a confidence level between 0 and 1, got {level}")


def _check(successes: int, n: int, level: float) -> None:
    if not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n, got {successes} of {n}")
    check_level(level)


def _times_log(count: int, p: float) -> float:
    """Return count · log(p), which is 0 for no count whatever p is."""
    if count == 0:
        return 0.0
    return count * log(p) if p > 0 else -inf
