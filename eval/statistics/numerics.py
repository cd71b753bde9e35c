"""Numerical functions that several statistics share."""

from __future__ import annotations

from collections.abc import Callable
from math import lgamma

import numpy as np
from numpy.typing import NDArray


def log_beta(a: float, b: float) -> float:
    """Return the logarithm of the beta function B(a, b)."""
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def boundary(holds: Callable[[float], bool], outside: float, inside: float) -> float:
    """Return the point between two points at which a condition starts to hold, by bisection to neighbouring floats.

    Args:
        holds: The condition. It holds from some point between the two up to `inside`, and nowhere before that point.
        outside: Point that is returned if the condition already holds there.
        inside: Point at which the condition holds.

    Returns:
        The last float at which the condition does not hold, so that rounding never narrows an interval.
    """
    if holds(outside):
        return outside
    while True:
        middle = (outside + inside) / 2
        if middle in (outside, inside):
            return outside
        outside, inside = (outside, middle) if holds(middle) else (middle, inside)


def binomial_probabilities(n: int, p: float) -> NDArray[np.float64]:
    """Return the probabilities of 0 … `n` successes in `n` trials, shape (n + 1,)."""
    from scipy.special import gammaln, xlog1py, xlogy

    k = np.arange(n + 1)
    ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return np.asarray(np.exp(ways + xlogy(k, p) + xlog1py(n - k, -p)))
