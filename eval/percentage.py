"""Differences of success rates as users type and read them: `5pp`, `5%` and `0.05` are the same."""

from __future__ import annotations

from typing import Annotated

from tyro.constructors import PrimitiveConstructorSpec

from eval.statistics import Interval

_UNITS = ("percentage points", "pp", "%")


def parse_points(text: str) -> float:
    """Return the difference that `text` means, in (0, 1).

    Args:
        text: Percentage points such as "5pp" or "5%", or a fraction such as "0.05".

    Raises:
        ValueError: If it is no such thing. A bare "5" is refused, since 5 percentage points are 0.05.
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


def rate_text(successes: int, n: int, interval: Interval) -> str:
    """Return a success rate with its count and the ends of its 95 % interval, in percent; the method is left to say."""
    low, high = map(points_text, interval[:2])
    return f"{successes}/{n}   {points_text(successes / max(n, 1))} %   95 % interval [{low}, {high}]"


def points_text(value: float, *, sign: bool = False) -> str:
    """Return `value`, a fraction, in percentage points to one decimal, with its sign if asked."""
    return f"{100 * value:+.1f}" if sign else f"{100 * value:.1f}"


Points = Annotated[
    float | None,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="PP",
        instance_from_str=lambda words: parse_points(words[0]),
        is_instance=lambda value: value is None or isinstance(value, float),
        str_from_instance=lambda value: ["none" if value is None else f"{100 * value:g}pp"],
    ),
]
"""Type of a command's option that takes `5pp`, `5%` or `0.05`; its value is a fraction, or None if it is not given."""
