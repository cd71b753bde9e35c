"""The figure of the guide to robustness, as SVG: success over level, a panel for each axis.

`benchmarks.success.battery_guide` writes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.success.battery_table import TABLE
from benchmarks.tables import read_csv

_COLUMNS, _WIDTH, _HEIGHT, _TOP = 4, 216, 168, 76  # panels in a row, size of a panel, height of the title [px]
_LEFT, _RIGHT, _ABOVE, _PLOT = 34, 14, 30, 96  # of a panel: margins, and height of the plot [px]
_LAST_LEVEL = 4  # batteries of the figure end there
_STYLE = """
svg { font: 11px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
text { fill: #5c626c; } .end { text-anchor: end; } .middle { text-anchor: middle; }
.axis { fill: #17191d; font-weight: 600; font-size: 12px; } .unit { fill: #5c626c; font-weight: 400; }
.title { fill: #17191d; font-size: 13px; }
.grid { stroke: #e3e4e1; } .line { fill: none; stroke-width: 2; } .band { stroke-width: 2; opacity: 0.35; }
.expert { fill: none; stroke: #9aa1ac; stroke-width: 1.5; stroke-dasharray: 4 3; }
"""


@dataclass(frozen=True)
class Look:
    """How a policy is drawn."""

    label: str
    colour: str
    shift: float
    """Horizontal shift of its points [px], so that intervals of several policies stay apart."""


LOOKS = {
    "bc-pick-place-image": Look("BC CNN", "#0f766e", -3),
    "vla-pick-place": Look("vla-pick-place", "#c2410c", 0),
    "vla-robust": Look("vla-robust", "#2b50c8", 3),
    "vla-robust synchronous=true": Look("vla-robust, synchronous", "#a21caf", 0),
}
"""The policies of the figure, by their names in the table."""


@dataclass(frozen=True)
class Point:
    """One cell of a battery."""

    level: int
    magnitude: str
    successes: int
    n: int
    low: float
    high: float
    expert: int | None

    @property
    def rate(self) -> float:
        """Share of the starts that succeeded."""
        return self.successes / self.n


Curves = dict[str, dict[str, list[Point]]]
"""Name of each axis to the points of each policy, by level."""


def read_curves(environment: str) -> Curves:
    """Return the cells of the table in one environment."""
    curves: Curves = {}
    for row in read_csv(TABLE):
        if row["environment"] == environment:
            curves.setdefault(row["axis"], {}).setdefault(row["policy"], []).append(_point(row))
    return curves


def _point(row: dict[str, str]) -> Point:
    return Point(
        level=int(row["level"]),
        magnitude=row["magnitude"],
        successes=int(row["successes"]),
        n=int(row["n"]),
        low=float(row["wilson_low"]),
        high=float(row["wilson_high"]),
        expert=int(row["expert"]) if row["expert"] else None,
    )


def figure(curves: Curves) -> str:
    """Return the figure as SVG: a panel for each axis of `curves` that a policy of `LOOKS` has run."""
    shown = {axis: {name: policies[name] for name in LOOKS if name in policies} for axis, policies in curves.items()}
    shown = {axis: policies for axis, policies in shown.items() if policies}
    width, height = _COLUMNS * _WIDTH, _TOP + -(-len(shown) // _COLUMNS) * _HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Success over level of {len(shown)} perturbations">',
        f"<style>{_STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#fdfdfc"/>',
        *_legend([name for name in LOOKS if any(name in policies for policies in shown.values())]),
    ]
    for number, (axis, policies) in enumerate(shown.items()):
        row, column = divmod(number, _COLUMNS)
        parts += [
            f'<g transform="translate({column * _WIDTH} {_TOP + row * _HEIGHT})">',
            *_panel(axis, policies),
            "</g>",
        ]
    return "\n".join([*parts, "</svg>\n"])


def _legend(names: Sequence[str]) -> Iterator[str]:
    title = "Success in PickPlace [%] over the size of a perturbation, with 95 % intervals"
    yield f'<text class="title" x="{_LEFT}" y="24">{title}</text>'
    x = _LEFT
    for look in (LOOKS[name] for name in names):
        yield f'<circle cx="{x + 5}" cy="48" r="4" fill="{look.colour}"/><text x="{x + 15}" y="52">{look.label}</text>'
        x += 40 + 6 * len(look.label)  # wide enough for the font
    yield f'<path class="expert" d="M{x} 48h26"/>'
    yield f'<text x="{x + 33}" y="52">scripted expert, which knows the true state</text>'


def _panel(axis: str, policies: Mapping[str, Sequence[Point]]) -> Iterator[str]:
    """Yield the drawing of one axis, from the upper left corner of its panel."""
    points = [point for found in policies.values() for point in found]
    unit = points[0].magnitude.partition(" ")[2]
    yield f'<text class="axis" x="{_LEFT}" y="16">{escape(axis)} <tspan class="unit">{escape(unit)}</tspan></text>'
    for rate in (0.0, 0.5, 1.0):
        yield f'<path class="grid" d="M{_LEFT} {_y(rate):.1f}H{_WIDTH - _RIGHT}"/>'
        yield f'<text class="end" x="{_LEFT - 6}" y="{_y(rate) + 4:.1f}">{100 * rate:.0f}</text>'
    for level, magnitude in {point.level: point.magnitude.partition(" ")[0] for point in points}.items():
        yield f'<text class="middle" x="{_x(level):.1f}" y="{_y(0) + 18}">{magnitude}</text>'
    yield from _ceiling(points)
    for name, found in policies.items():
        yield from _curve(found, LOOKS[name])


def _ceiling(points: Sequence[Point]) -> Iterator[str]:
    """Yield the line of the expert, from the battery with most starts at each level."""
    ordered = sorted((point for point in points if point.expert is not None), key=lambda point: point.n)
    rates = {point.level: (point.expert or 0) / point.n for point in ordered}
    if rates:
        yield f'<path class="expert" d="{_path([(_x(level), _y(rates[level])) for level in sorted(rates)])}"/>'


def _curve(points: Sequence[Point], look: Look) -> Iterator[str]:
    places = [(_x(point.level) + look.shift, _y(point.rate)) for point in points]
    yield f'<path class="line" stroke="{look.colour}" d="{_path(places)}"/>'
    for (x, y), point in zip(places, points, strict=True):
        yield f'<path class="band" stroke="{look.colour}" d="M{x:.1f} {_y(point.low):.1f}V{_y(point.high):.1f}"/>'
        title = f"{look.label}, {point.magnitude}: {point.successes} of {point.n}"
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{look.colour}"><title>{escape(title)}</title></circle>'


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)


def _x(level: int) -> float:
    return _LEFT + 8 + (_WIDTH - _LEFT - _RIGHT - 16) * level / _LAST_LEVEL


def _y(rate: float) -> float:
    return _ABOVE + _PLOT * (1 - rate)
