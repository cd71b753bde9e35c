"""Statistics of one policy on the same starts under several conditions ("cells"), for example levels of a perturbation.

Every start is run in every cell, so the outcomes of a start are correlated between cells. All figures here are linear
combinations of the success rates of cells: a drop, an area under a curve, an interaction. `Cells.combination` gives
the interval of any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval.statistics.numerics import binomial_probabilities
from eval.statistics.rates import LEVEL, check_level, wilson_of_rate

Floats = NDArray[np.float64]

_GRID = 20
"""Points between two neighbouring levels at which the interval of the halving level is searched."""

_NO_SPREAD = 1e-15
"""Variances up to this are those of equal values, with rounding."""

_PRIOR_SPREAD = 0.5
"""Largest sum of squares that two outcomes can have around their mean. With it, intervals of areas and drops cover in
94 to 98 of 100 simulated batteries, also near 100 %; without it, in as few as 88."""


class Estimate(NamedTuple):
    """A figure with its interval."""

    value: float
    low: float
    high: float
    level: float
    """Confidence level, in (0, 1)."""


class Cells:
    """Success rates of k cells on the same n starts, and intervals of their linear combinations.

    A combination is split into a weighted mean of the cells with positive weights, and one of those with negative
    weights. Each mean is a number in [0, 1] for every start. Its interval is Wilson's with the effective sample size:
    the number of independent episodes whose success rate would have the same variance as the mean. The two intervals
    are joined as in Newcombe's interval of a paired difference. So with one cell, a combination has Wilson's interval,
    and with the weights (-1, 1) it has Newcombe's. The intervals are also sound at rates of 0 and 100 %.

    Sources: Franco, Little, Louis, Slud 2019, J. Surv. Stat. Methodol. 7(3), 334-364, for Wilson's interval with an
    effective sample size, after Korn, Graubard 1998, Surv. Methodol. 24; Newcombe 1998, Stat. Med. 17, 2635-2650,
    method 10; Zou, Donner 2008, Stat. Med. 27, 1693-1702, for joining intervals of other means in the same way (MOVER).
    """

    def __init__(self, outcomes: NDArray[np.bool_], level: float = LEVEL) -> None:
        """Compute the rates.

        Args:
            outcomes: Whether each start succeeded in each cell, shape (n, k), n >= 1.
            level: Confidence level, in (0, 1).

        Raises:
            ValueError: If there is no start, or the level is out of range.
        """
        check_level(level)
        if not len(outcomes):
            raise ValueError("expected at least 1 start, got none")
        self.n, self.level = len(outcomes), level
        self._outcomes: Floats = outcomes.astype(np.float64)
        self.rates: Floats = self._outcomes.mean(axis=0)
        """Success rate of each cell, shape (k,)."""

    def combination(self, weights: Sequence[float] | Floats) -> Estimate:
        """Return the sum of `weights` times the success rates, with its interval.

        Args:
            weights: One for each cell, shape (k,).
        """
        given = np.asarray(weights, np.float64)
        added, taken = self._mean(np.maximum(given, 0)), self._mean(np.maximum(-given, 0))
        correlation = _correlation(added, taken, self.n)
        value = added.scale * added.rate - taken.scale * taken.rate
        below = _joined(added.scale * added.below, taken.scale * taken.above, correlation)
        above = _joined(added.scale * added.above, taken.scale * taken.below, correlation)
        return Estimate(value, max(-taken.scale, value - below), min(added.scale, value + above), self.level)

    def _mean(self, weights: Floats) -> _Mean:
        """Return the mean of the cells with `weights` of at least 0, which need not add up to 1."""
        scale = float(weights.sum())
        values = self._outcomes @ weights / scale if scale else np.zeros(self.n)
        rate = float(np.clip(values.mean(), 0.0, 1.0))
        low, high = _effective_wilson(rate, float(values.var()), self.n, self.level)
        return _Mean(scale, values, rate, rate - low, high - rate)


class _Mean(NamedTuple):
    """A weighted mean of success rates, with the distances to the ends of its interval."""

    scale: float
    """Sum of the weights, by which the mean is multiplied in the combination."""
    values: Floats
    """The mean of each start, shape (n,), in [0, 1]."""
    rate: float
    below: float
    above: float


def _effective_wilson(rate: float, variance: float, n: int, level: float) -> tuple[float, float]:
    """Return Wilson's interval of a mean in [0, 1] of `n` starts, with the effective sample size.

    The ratio of the variance to that of one success rate is at most 1, so the effective size is at least `n`. A few
    failures say little about the ratio. So it is estimated as if there were two more starts, for which it is 1.
    """
    spread = rate * (1 - rate)
    ratio = (n * variance + _PRIOR_SPREAD) / (n * spread + _PRIOR_SPREAD)
    low, high, _ = wilson_of_rate(rate, n / min(1.0, ratio), level)
    return min(rate, low), max(rate, high)


def _correlation(one: _Mean, other: _Mean, n: int) -> float:
    """Return the correlation of two means over the starts, with Newcombe's continuity correction if it is positive."""
    scale = sqrt(float(one.values.var()) * float(other.values.var()))
    if scale <= _NO_SPREAD:
        return 0.0
    covariance = float(np.mean((one.values - one.rate) * (other.values - other.rate)))
    return (covariance if covariance < 0 else max(0.0, covariance - 1 / (2 * n))) / scale


def _joined(one: float, other: float, correlation: float) -> float:
    """Return the length of the sum of two distances with opposite signs. Rounding may make its square negative."""
    return sqrt(max(0.0, one**2 - 2 * correlation * one * other + other**2))


def area_weights(levels: Sequence[float]) -> Floats:
    """Return the weights of the rates at `levels` in the area under the curve that joins them by straight lines.

    The area is divided by the distance between the first and the last level, so it is a mean success rate in [0, 1].

    Args:
        levels: At least two, increasing.
    """
    steps = np.diff(np.asarray(levels, np.float64))
    weights = np.zeros(len(levels))
    weights[:-1] += steps / 2
    weights[1:] += steps / 2
    return np.asarray(weights / steps.sum())


class Halving(NamedTuple):
    """The level at which the success rate has fallen to half of that at the first level."""

    at: float | None
    """First such level, between two levels on a straight line; None if the curve does not fall that far."""
    low: float | None
    """Lower end of the interval; None if it, too, is beyond the last level, or if there is no success to halve."""
    high: float | None
    """Upper end of the interval; None if it is beyond the last level."""


def halving(cells: Cells, levels: Sequence[float]) -> Halving:
    """Return the level at which the success rate halves, with the interval of `cells.level`.

    The interval holds the levels whose success rate, on the straight line between neighbouring levels, cannot be told
    from half of the rate at the first level (Fieller's argument, with the interval of `Cells` as the test). If the
    curve rises and falls, the interval reaches from the first such level to the last one.

    Args:
        cells: One cell for each level, the unperturbed one first.
        levels: Increasing.

    Source: Fieller 1954, J. R. Stat. Soc. B 16(2), 175-185.
    """
    if cells.rates[0] == 0:
        return Halving(None, None, None)
    points = _grid(levels)
    excess = [cells.combination(_excess_weights(levels, point)) for point in points]
    crossing = next((i for i, each in enumerate(excess) if each.value <= 0), None)
    first = next((i for i, each in enumerate(excess) if each.low <= 0), None)
    last = max(i for i, each in enumerate(excess) if each.high >= 0)
    return Halving(
        at=None if crossing is None else _crossing(points, [each.value for each in excess], crossing),
        low=None if first is None else points[max(0, first - 1)],
        high=points[last + 1] if last + 1 < len(points) else None,
    )


def matched_exact(control: NDArray[np.bool_], perturbed: NDArray[np.bool_]) -> float:
    """Return the two-sided exact p-value of "the perturbation changes nothing", over all its levels together.

    Each start has one outcome under control and L outcomes under perturbation. If the perturbation changes nothing,
    these L + 1 outcomes are exchangeable: with s successes among them, the one under control is a success with
    probability s / (L + 1), independently for each start. This gives the exact distribution of the number of successes
    under control. With L = 1 the test is the exact McNemar test.

    Args:
        control: Outcome of each start under control, shape (n,).
        perturbed: Outcomes of each start under perturbation, shape (n, L).

    Source: Miettinen 1969, Biometrics 25(2), 339-355, "Individual matching with multiple controls in the case of
    all-or-none responses".
    """
    size = 1 + perturbed.shape[1]
    successes = control.astype(np.int64) + perturbed.sum(axis=1)
    starts = np.bincount(successes, minlength=size + 1)
    null = np.ones(1)
    for count in range(1, size):
        null = np.convolve(null, binomial_probabilities(int(starts[count]), count / size))
    return _two_sided(null, int(control.sum()) - int(starts[size]))


def sign_flip_exact(differences: NDArray[np.int64]) -> float:
    """Return the two-sided exact p-value of "A and B are equally good", from one difference for each start.

    If A and B may be exchanged, the sign of each difference is a fair coin toss. With differences of -1, 0 and 1, the
    test is the exact McNemar test.

    Args:
        differences: Number of cells in which only B succeeded minus number in which only A did, shape (n,).

    Source: Fisher 1935, The Design of Experiments, section 21; Pitman 1937, J. R. Stat. Soc. Suppl. 4.
    """
    sizes, starts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    null = np.ones(1)
    for size, number in zip(sizes.tolist(), starts.tolist(), strict=True):
        spread = np.zeros(size * number + 1)
        spread[::size] = binomial_probabilities(number, 0.5)
        null = np.convolve(null, spread)
    return _two_sided(null, int(differences[differences > 0].sum()))


def _grid(levels: Sequence[float]) -> list[float]:
    """Return the levels, with points between neighbouring ones."""
    between = [np.linspace(low, high, _GRID, endpoint=False) for low, high in pairwise(levels)]
    return [*np.concatenate(between).tolist(), float(levels[-1])]


def _excess_weights(levels: Sequence[float], point: float) -> Floats:
    """Return the weights of the success rate at `point`, on straight lines, minus half of that at the first level."""
    weights = np.array([np.interp(point, levels, row) for row in np.eye(len(levels))])
    weights[0] -= 0.5
    return weights


def _crossing(points: Sequence[float], values: Sequence[float], index: int) -> float:
    """Return where the straight line from the point before `index` to that at `index` reaches 0."""
    before, after = values[index - 1], values[index]
    return float(points[index - 1] + (points[index] - points[index - 1]) * before / (before - after))


def _two_sided(null: Floats, observed: int) -> float:
    """Return twice the smaller tail probability of `observed`, at most 1; `null` are the probabilities of 0, 1, …."""
    tails = float(null[: observed + 1].sum()), float(null[observed:].sum())
    return min(1.0, 2 * min(tails))
