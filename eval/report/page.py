"""A report as one HTML page that needs no other file and no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eval.comparison.replay import replay_both
from eval.episodes.results import HELD_STEPS
from eval.report.contents import Report, RunReport
from eval.report.places import MOST_EPISODES, Places
from eval.report.templating import environment, page_parts
from eval.report.videos import Videos

MOST_ROWS = 1000
"""Episodes in the table of a run; JSON lists all."""

_MOST_COMMAND = 2000  # characters of a command that is in each row of a table
_MOST_IMAGE_BYTES = 1_000_000  # of all receipts of a run, in base64
_MARGIN = 0.03  # [m], around the points of a map


def render_page(report: Report) -> str:
    """Return `report` as an HTML page."""
    comparisons, runs = [item.comparison for item in report.comparisons], [item.run for item in report.runs]
    return (
        environment()
        .get_template("report.html.jinja")
        .render(
            report=report,
            videos=Videos.choose(comparisons, runs),
            maps=_maps,
            receipts=_receipts,
            replay_both=replay_both,
            held_steps=HELD_STEPS,
            most_rows=MOST_ROWS,
            most_command=_MOST_COMMAND,
            most_places=MOST_EPISODES,
            **page_parts(),
        )
    )


@dataclass(frozen=True)
class _Point:
    x: float
    """To the right on the page [mm]."""
    y: float
    """Downwards on the page [mm]."""
    succeeded: bool
    title: str


@dataclass(frozen=True)
class _Map:
    """The scene from above: the outcome of each episode, drawn at the position of one object or goal at the start."""

    places: Places
    points: tuple[_Point, ...]
    """Failures last, so that they are drawn on top."""
    view: tuple[float, float, float, float]
    """Left, top, width and height [mm]."""


def _maps(report: RunReport) -> list[_Map]:
    """Return a map for each entry of `report.places`, all to the same scale."""
    if not report.places:
        return []
    ends = [(place.xy.min(axis=0), place.xy.max(axis=0)) for place in report.places]
    low = [min(float(first[axis]) for first, _ in ends) - _MARGIN for axis in range(2)]
    high = [max(float(last[axis]) for _, last in ends) + _MARGIN for axis in range(2)]
    view = (-1000 * high[1], -1000 * high[0], 1000 * (high[1] - low[1]), 1000 * (high[0] - low[0]))
    return [_Map(place, _points(report, place), view) for place in report.places]


def _points(report: RunReport, place: Places) -> tuple[_Point, ...]:
    points = [
        # The first coordinate is up on the page and the second to the left, as seen by a robot that looks along x.
        _Point(-1000 * y, -1000 * x, result.status == "success", f"seed {result.seed}: {result.failure or 'success'}")
        for (x, y), result in zip(place.xy.tolist(), report.results, strict=False)
    ]
    return tuple(sorted(points, key=lambda point: not point.succeeded))


def _receipts(report: RunReport) -> list[dict[str, Any]]:
    """Return the receipts as the page shows them; images that would make the page too large are left out."""
    shown, left = [], _MOST_IMAGE_BYTES
    for receipt in report.receipts:
        left -= sum(map(len, receipt.images.values()))
        images = receipt.images if left >= 0 else {}
        features = [feature for vector in receipt.vectors.values() for feature in vector]
        shown.append(vars(receipt) | {"images": images, "features": features})
    return shown
