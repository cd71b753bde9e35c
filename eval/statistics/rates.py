"""Confidence intervals of one success rate, for a number of episodes that was fixed in advance."""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

LEVEL = 0.95
"""Confidence level of all reported intervals. Tests reject at 1 - `LEVEL`."""


class Interval(NamedTuple):
    """A confidence interval of a success probability, or of the difference of two."""

    low: float
    """Lower end, in [0, 1]; in [-1, 1] for a difference."""
    high: float
    """Upper end, in the same range."""
    level: float
    """Confidence level, in (0, 1)."""


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Return the Wilson score interval of a success probability.

    This is the default for reports: its coverage is close to `level` on average. The lower end is exactly 0 without a
    success, the upper end exactly 1 without a failure.

    Args:
        successes: Number of successes, 0 … `n`.
        n: Number of trials. The interval of 0 trials is [0, 1].
        level: Confidence level, in (0, 1).

    Raises:
        ValueError: If a count or the level is out of range.

    Source: Wilson 1927, J. Am. Stat. Assoc. 22; recommended by Brown, Cai, DasGupta 2001, Stat. Sci. 16.
    """
    check_counts(successes, n, level)
    if n == 0:
        return Interval(0.0, 1.0, level)
    return wilson_of_rate(successes / n, n, level)


def wilson_of_rate(rate: float, n: float, level: float = LEVEL) -> Interval:
    """Return the Wilson score interval of a `rate` in `n` trials, for example an effective number that is not whole.

    Args:
        rate: Share of successes, in [0, 1].
        n: Number of trials, > 0.
        level: Confidence level, in (0, 1).
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = rate + z**2 / (2 * n)
    half_width = z * (rate * (1 - rate) / n + z**2 / (4 * n**2)) ** 0.5
    scale = 1 + z**2 / n
    low = 0.0 if rate == 0 else (centre - half_width) / scale
    high = 1.0 if rate == 1 else (centre + half_width) / scale
    return Interval(low, high, level)


def clopper_pearson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Return the exact (Clopper-Pearson) interval of a success probability.

    Use it for guarantees ("at least …"): its coverage is never below `level`, so it is wider than Wilson's.

    Args:
        successes: Number of successes, 0 … `n`.
        n: Number of trials. The interval of 0 trials is [0, 1].
        level: Confidence level, in (0, 1).

    Raises:
        ValueError: If a count or the level is out of range.

    Source: Clopper, Pearson 1934, Biometrika 26.
    """
    from scipy.special import betaincinv

    check_counts(successes, n, level)
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, n - successes + 1, tail))
    high = 1.0 if successes == n else float(betaincinv(successes + 1, n - successes, 1 - tail))
    return Interval(low, high, level)


def check_level(level: float) -> None:
    """Raise `ValueError` unless `level` is in (0, 1)."""
    if not 0 < level < 1:
        raise ValueError(f"expected a confidence level between 0 and 1, got {level}")


def check_counts(successes: int, n: int, level: float) -> None:
    """Raise `ValueError` unless `successes` is in 0 … `n` and `level` is in (0, 1)."""
    if not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n, got {successes} of {n}")
    check_level(level)
