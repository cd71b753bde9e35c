"""How far a change lowers an error, from the error of each episode before and after: sign test and bootstrap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.statistics.rates import LEVEL, Interval

_RESAMPLES = 2000


@dataclass(frozen=True)
class Reduction:
    """Change of an error over n paired episodes."""

    before: float
    """Mean error before the change."""
    after: float
    """Mean error after the change."""
    lower: int
    """Number of episodes whose error is lower after the change."""
    episodes: int
    """Number of episodes, n."""
    p_value: float
    """One-sided p-value of the sign test: how probable so many lower episodes are if lower and higher are alike."""
    interval: Interval
    """Bootstrap interval of `share`."""

    @property
    def share(self) -> float:
        """Share of the error that the change removes; negative if the error grows."""
        return 1 - self.after / self.before if self.before > 0 else 0.0

    @property
    def drop(self) -> float:
        """Error before minus error after."""
        return self.before - self.after


def reduction(before: ArrayLike, after: ArrayLike, level: float = LEVEL) -> Reduction:
    """Return how far the errors of the same episodes fell.

    Episodes are independent, the steps of one episode are not. So the test and the interval count episodes. An episode
    with equal errors counts as not lower.

    Args:
        before: Error of each episode before the change, (n,), n ≥ 1.
        after: Error of each episode after it, (n,).
        level: Confidence level of the interval, in (0, 1).

    Raises:
        ValueError: If there is no episode, or the numbers of episodes differ.

    Source: Efron 1979, Ann. Stat. 7 (bootstrap, here of percentiles, with a fixed seed).
    """
    old, new = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if old.shape != new.shape or old.ndim != 1 or not len(old):
        raise ValueError(f"expected errors of the same episodes, got shapes {old.shape} and {new.shape}")
    lower, n = int((new < old).sum()), len(old)
    return Reduction(
        before=float(old.mean()),
        after=float(new.mean()),
        lower=lower,
        episodes=n,
        p_value=sign_test(lower, n),
        interval=_interval(old, new, level),
    )


def sign_test(lower: int, n: int) -> float:
    """Return the probability of at least `lower` heads in `n` throws of a fair coin."""
    from scipy.special import bdtrc

    return float(bdtrc(lower - 1, n, 0.5)) if lower > 0 else 1.0


def _interval(before: NDArray[np.float64], after: NDArray[np.float64], level: float) -> Interval:
    """Return the percentile interval of the share of the error that the change removes."""
    chosen = np.random.default_rng(0).integers(len(before), size=(_RESAMPLES, len(before)))
    old, new = before[chosen].mean(1), after[chosen].mean(1)
    shares = 1 - new / np.maximum(old, np.finfo(np.float64).tiny)
    low, high = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level)
