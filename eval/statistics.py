"""Statistics of success rates. Pure functions of counts; they know nothing of episodes."""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple


class Interval(NamedTuple):
    """A confidence interval for a proportion."""

    low: float
    """Lower end, in [0, 1]."""
    high: float
    """Upper end, in [0, 1]."""
    level: float
    """Confidence level, in (0, 1)."""


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
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


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> Interval:
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


def _check(successes: int, n: int, level: float) -> None:
    if not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n, got {successes} of {n}")
    if not 0 < level < 1:
        raise ValueError(f"expected a confidence level between 0 and 1, got {level}")
