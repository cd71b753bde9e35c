"""Numerical functions that several statistics share."""

from __future__ import annotations

from collections.abc import Callable
from math import lgamma


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
