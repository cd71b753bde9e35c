"""Rates and differences of rates as text: parsing "5pp", "5%" and "0.05", and printing percentages."""

from __future__ import annotations

from collections.abc import Sequence

_UNITS = ("percentage points", "pp", "%")


def parse_points(text: str) -> float:
    """Parse a difference of rates and return it as a fraction in (0, 1).

    Args:
        text: Percentage points such as "5pp" or "5%", or a fraction such as "0.05".

    Raises:
        ValueError: If `text` has another form. A bare "5" is refused, since it could mean 5 or 500 percentage points.
    """
    number, scale = text.strip(), 1
    for unit in _UNITS:
        if number.endswith(unit):
            number, scale = number.removesuffix(unit), 100
            break
    try:
        value = float(number) / scale
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise ValueError(f"expected percentage points such as 5pp or 5%, or a fraction such as 0.05; got {text!r}")
    return value


def points_text(value: float, *, sign: bool = False) -> str:
    """Return the fraction `value` in percent or percentage points, to one decimal, with a + or - if `sign` is true."""
    return f"{100 * value:+z.1f}" if sign else f"{100 * value:z.1f}"  # z: no negative zero


def rate_text(successes: int, n: int, interval: Sequence[float], rate: float | None = None) -> str:
    """Return a success rate with its count and its 95 % interval, in percent.

    Args:
        successes: Number of successes.
        n: Number of episodes.
        interval: Lower and upper end, as fractions; more entries are ignored.
        rate: The rate, if it is not the share of successes but an average.
    """
    low, high = map(points_text, interval[:2])
    rate = successes / max(n, 1) if rate is None else rate
    return f"{successes}/{n}   {points_text(rate)} %   95 % interval [{low}, {high}]"
